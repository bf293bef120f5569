"""A new connection at the client port: served, or turned away (commands.md 1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trio_sentinel.ports import Handler, Transport
from trio_sentinel.runtime.clients import House
from trio_sentinel.runtime.session import Session
from trio_sentinel.runtime.session_acl import note_unknown_certificate
from trio_sentinel.runtime.session_rights import names_in
from trio_sentinel.runtime.transport import TlsTransport
from trio_sentinel.wire import resp


def admit(house: House, transport: Transport) -> Handler:
    """A new connection: its session, or a handler that hears nothing because it was turned away."""
    refusal = house.refusal_of(transport)
    if refusal is None:
        session = Session(house, transport)
        if isinstance(transport, TlsTransport):
            _know_by_certificate(session, transport.peer_certificate)
        return session
    house.clients.rejected += 1
    transport.send(resp.error(refusal))
    transport.close(flush=True)
    return TurnedAway()


def _know_by_certificate(session: Session, certificate: Mapping[str, Any]) -> None:
    """Log in the user whom a client certificate names, where the configuration says so (V9)."""
    house = session.house
    names = names_in(certificate, house.directives.tls_auth_clients_user)
    user = house.rights.certified(names)
    if user is not None:
        session.log_in(user)
    elif names:
        note_unknown_certificate(session, names[0])


class TurnedAway:
    """The handler of a connection that was refused and is being closed."""

    def received(self, data: bytes) -> None:
        """Not read."""

    def ended(self) -> None:
        """No matter."""

    def drained(self) -> None:
        """No matter."""

    def lost(self, reason: str) -> None:
        """No matter."""
