"""The roster of all links to servers and peers, and the executor of every effect that is about one.

1. A link lives under a lease, held by the supervisor of a master. The link to a server ends with the lease of its
   master; the link to a peer, which masters share, with the last lease of a master that knows that peer. Without a
   lease nothing is opened.
2. An order for a link that is not open is dropped: the model learns of the link itself, and orders are repeated.
3. The mind is never spoken to while an effect is executed, because it is in the middle of a thought then. What
   fails at once is told through the reactor's `defer`.
4. Orders for one connection are gathered until `flush`, so that one thought makes at most one write per connection.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, TypeAlias

from attrs import Factory, define

from trio_sentinel.model.effects import (
    AskPeer,
    CloseLink,
    HandOver,
    KillClients,
    KillScript,
    OpenLink,
    PauseWriters,
    PollInfo,
    Promote,
    ReleaseWriters,
    Repoint,
    SayHello,
    SendPing,
)
from trio_sentinel.model.inputs import LinkLost, LinkOpened
from trio_sentinel.model.values import Channel, LinkId, PeerLink, ServerLink
from trio_sentinel.ports import Handler, Mind, Transport
from trio_sentinel.runtime.dialing import Dialing
from trio_sentinel.runtime.link import MAX_AWAITED, CommandConnection, PubSubConnection
from trio_sentinel.runtime.reactor import Reactor
from trio_sentinel.wire import orders
from trio_sentinel.wire.orders import Order, Renamed

NOT_LEASED: Final = "nobody watches it any more"
UNRESOLVED: Final = "Failed to resolve hostname"
NO_PORT: Final = "the port is 0"
TOO_FAR_BEHIND: Final = "too many replies are owed"

LinkEffect: TypeAlias = (
    OpenLink
    | CloseLink
    | SendPing
    | PollInfo
    | KillScript
    | SayHello
    | AskPeer
    | Promote
    | Repoint
    | PauseWriters
    | ReleaseWriters
    | HandOver
    | KillClients
)


class End(Protocol):
    """One connection of a link at any age: not yet there, there, or refused."""

    closed: bool

    def close(self) -> None:
        """Close; nobody is told."""


@define(eq=False)
class Refused:
    """A connection that cannot even be tried, until that has been told."""

    closed: bool = False

    def close(self) -> None:
        """Say nothing after all."""
        self.closed = True


@define(eq=False)
class Lease:
    """The connections that end with it."""

    ends: dict[tuple[LinkId, Channel], End] = Factory(dict)


class Switchboard:
    """See the head of the file. `own_password` is this process's requirepass, the fallback towards peers (core.md 2.3).

    `tls` is the client context when ``tls-replication`` is on; `source_address` is ``bind-source-addr``.
    """

    def __init__(
        self,
        reactor: Reactor,
        mind: Mind,
        *,
        tls: ssl.SSLContext | None = None,
        source_address: str | None = None,
        own_password: str | None = None,
    ) -> None:
        self._reactor = reactor
        self._mind = mind
        self._tls = tls
        self._source_address = source_address
        self._own_password = own_password
        self._leases: dict[str, Lease] = {}  # by the name of the master
        self._peers = Lease()
        self._peer_leases: Counter[str] = Counter()  # by the name of the master that shares the links to its peers
        self._commands: dict[LinkId, CommandConnection] = {}
        self._unflushed: list[CommandConnection] = []
        self._on_lost: Final = self._lost_connection  # one for all of them
        self.deeds: Final[dict[type[Any], Callable[[Any], None]]] = {
            OpenLink: self._open,
            CloseLink: self._close,
            SendPing: self._ping,
            PollInfo: self._info,
            SayHello: self._hello,
            AskPeer: self._ask,
            Promote: self._promote,
            Repoint: self._repoint,
            PauseWriters: self._pause_writers,
            ReleaseWriters: self._release_writers,
            HandOver: self._hand_over,
            KillClients: self._kill_clients,
            KillScript: self._kill_script,
        }
        """Effect type -> what executes it."""

    # ------------------------------------------------------------ for the bridge and the supervisors

    def carry_out(self, effect: LinkEffect) -> None:
        """Do what one effect says. Never calls the mind; what fails comes back later as an input."""
        self.deeds[type(effect)](effect)

    def use(self, tls: ssl.SSLContext | None) -> None:
        """Open links by this context from now on."""
        self._tls = tls

    def flush(self) -> None:
        """Send what was ordered since the last time. To be called after each thought of the mind."""
        if self._unflushed:
            connections, self._unflushed = self._unflushed, []
            for connection in connections:
                connection.flush()

    @contextlib.contextmanager
    def lease_master(self, name: str) -> Iterator[None]:
        """Allow links to the servers of one master within the block; its end closes them, silently."""
        before = self._leases.get(name)
        if before is not None:  # a master removed and monitored anew before its old supervisor came to its end
            self._end(before)
        lease = self._leases[name] = Lease()
        try:
            yield
        finally:
            if self._leases.get(name) is lease:
                del self._leases[name]
            self._end(lease)

    @contextlib.contextmanager
    def lease_peers(self, name: str) -> Iterator[None]:
        """Share the links to the peers of one master within the block.

        Its end closes, silently, those that no other leased master knows.
        """
        self._peer_leases[name] += 1
        try:
            yield
        finally:
            self._peer_leases[name] -= 1
            if not self._peer_leases[name]:
                del self._peer_leases[name]
                self._end_unshared()

    def close(self) -> None:
        """Close every link, silently, and end every lease."""
        for lease in (*self._leases.values(), self._peers):
            self._end(lease)
        self._leases.clear()
        self._peer_leases.clear()

    @property
    def open_links(self) -> int:
        """How many command connections are open."""
        return len(self._commands)

    # ------------------------------------------------------------ leases

    def _lease_of(self, link: LinkId) -> Lease | None:
        if isinstance(link, ServerLink):
            return self._leases.get(link.master)
        return self._peers if self._peer_leases else None

    def _end(self, lease: Lease) -> None:
        for key in list(lease.ends):
            self._drop(lease, key)

    def _end_unshared(self) -> None:
        masters = self._mind.state.masters
        for key in list(self._peers.ends):
            link = key[0]
            assert isinstance(link, PeerLink)
            if not any(name in masters and link.run_id in masters[name].peers for name in self._peer_leases):
                self._drop(self._peers, key)

    def _drop(self, lease: Lease, key: tuple[LinkId, Channel]) -> None:
        end = lease.ends.pop(key, None)
        if end is not None:
            if self._commands.get(key[0]) is end:
                del self._commands[key[0]]
            end.close()

    # ------------------------------------------------------------ opening and closing

    def _open(self, effect: OpenLink) -> None:
        link, channel = effect.link, effect.channel
        lease = self._lease_of(link)
        if lease is None:
            lost = LinkLost(link, channel, NOT_LEASED)
            self._reactor.defer(lambda: self._mind.hear(lost))
            return
        key = (link, channel)
        self._drop(lease, key)  # orders may be repeated
        ip = self._mind.state.ip(effect.address.host)
        if not ip or not effect.address.port:
            self._refuse(lease, key, NO_PORT if ip else UNRESOLVED)
            return
        dialing: Dialing | None = None

        def connected(transport: Transport) -> Handler:
            return self._connected(lease, key, transport)

        def failed(reason: str) -> None:
            self._lost(lease, key, dialing, reason)

        dialing = self._reactor.dial(
            (ip, effect.address.port),
            connected,
            on_failed=failed,
            tls=self._tls,
            source_address=self._source_address,
        )
        lease.ends[key] = dialing

    def _refuse(self, lease: Lease, key: tuple[LinkId, Channel], reason: str) -> None:
        refused = lease.ends[key] = Refused()
        self._reactor.defer(lambda: self._lost(lease, key, refused, reason))

    def _connected(self, lease: Lease, key: tuple[LinkId, Channel], transport: Transport) -> Handler:
        """Introduce ourselves and tell the mind, whose first orders then leave together with the introduction."""
        link, channel = key
        connection: CommandConnection | PubSubConnection
        if channel is Channel.COMMAND:
            connection = CommandConnection(link, self._mind, transport, self._on_lost)
            self._commands[link] = connection
            self._put(connection, self._introduction(link, channel))
        else:
            assert isinstance(link, ServerLink)
            connection = PubSubConnection(link, self._mind, transport, self._on_lost)
            connection.introduce(self._introduction(link, channel))
        lease.ends[key] = connection
        self._mind.hear(LinkOpened(link, channel, transport.local_host))
        self.flush()
        return connection

    def _lost(self, lease: Lease, key: tuple[LinkId, Channel], end: End | None, reason: str) -> None:
        """Tell the mind, unless the connection was closed or replaced since."""
        if lease.ends.get(key) is end:
            self._drop(lease, key)
            self._mind.hear(LinkLost(key[0], key[1], reason))

    def _lost_connection(self, connection: CommandConnection | PubSubConnection, reason: str) -> None:
        """The same for one that was there. With a lease all its connections were closed, so it is still the lease."""
        lease = self._lease_of(connection.link)
        if lease is not None:
            self._lost(lease, (connection.link, connection.channel), connection, reason)

    def _close(self, effect: CloseLink) -> None:
        lease = self._lease_of(effect.link)
        if lease is not None:
            for channel in Channel if effect.channel is None else (effect.channel,):
                self._drop(lease, (effect.link, channel))

    def _introduction(self, link: LinkId, channel: Channel) -> Order:
        user, password = self._credentials(link)
        return orders.introduction(self._mind.state.my_id, channel, user, password, self._renamed(link))

    def _credentials(self, link: LinkId) -> tuple[str | None, str | None]:
        if isinstance(link, ServerLink):
            master = self._mind.state.masters.get(link.master)
            return (None, None) if master is None else (master.settings.auth_user, master.settings.auth_pass)
        settings = self._mind.state.settings
        if settings.sentinel_pass is not None:
            return settings.sentinel_user, settings.sentinel_pass
        return None, self._own_password or None

    def _renamed(self, link: LinkId) -> Renamed | None:
        if isinstance(link, PeerLink):
            return None
        master = self._mind.state.masters.get(link.master)
        if master is None or not master.settings.renamed_commands:
            return None
        return master.settings.renamed

    # ------------------------------------------------------------ orders

    def _put(self, connection: CommandConnection, order: Order) -> None:
        if connection.owed > MAX_AWAITED:
            self._reactor.defer(lambda: connection.fail(TOO_FAR_BEHIND))
        elif connection.queue(order):
            self._unflushed.append(connection)

    def _ping(self, effect: SendPing) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.ping(self._renamed(effect.link)))

    def _info(self, effect: PollInfo) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.info(self._renamed(effect.link)))

    def _hello(self, effect: SayHello) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.say_hello(effect, connection.local_host, self._renamed(effect.link)))

    def _ask(self, effect: AskPeer) -> None:
        connection = self._commands.get(effect.peer)
        if connection is not None:
            self._put(connection, orders.ask(effect))

    def _promote(self, effect: Promote) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.promote(self._renamed(effect.link)))

    def _repoint(self, effect: Repoint) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.repoint(effect, self._renamed(effect.link)))

    def _pause_writers(self, effect: PauseWriters) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.pause_writers(effect, self._renamed(effect.link)))

    def _release_writers(self, effect: ReleaseWriters) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.release_writers(effect, self._renamed(effect.link)))

    def _hand_over(self, effect: HandOver) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.hand_over(effect, self._renamed(effect.link)))

    def _kill_clients(self, effect: KillClients) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.kill_clients(self._renamed(effect.link)))

    def _kill_script(self, effect: KillScript) -> None:
        connection = self._commands.get(effect.link)
        if connection is not None:
            self._put(connection, orders.kill_script(self._renamed(effect.link)))
