"""Why the model refuses a request, as data: it raises only for bugs of ours."""

from __future__ import annotations

import enum


class Refusal(enum.Enum):
    """Why a request was refused; the value is the error reply."""

    NO_SUCH_MASTER = "ERR No such master with that name"
    DUPLICATE_MASTER = "ERR Duplicate master name."
    IN_PROGRESS = "INPROG Failover already in progress"
    NO_GOOD_REPLICA = "NOGOODSLAVE No suitable replica to promote"
    NO_HANDOVER = "NOGOODPRIMARY Primary does not support FAILOVER command"
    NO_MORE_EPOCHS = "ERR No epoch is left for another failover"
    NOT_SAVED = "ERR Failed to save config file. Check server logs."
