"""The differences from stock that are accepted, by story, each with the reason; they must stay real."""

from __future__ import annotations

FROM_VALKEY9: dict[str, str] = {
    "3.4 help of client": "stock also explains CAPA, IMPORT-SOURCE and NO-TOUCH, which do not exist on a sentinel port",
}
FROM_REDIS7: dict[str, str] = {}
