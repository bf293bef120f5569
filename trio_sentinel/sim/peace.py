"""The peace that takes all harm back, and how single faults are put right."""

from __future__ import annotations

import functools

import attrs

from trio_sentinel.model import inputs as i
from trio_sentinel.model.values import Address
from trio_sentinel.sim.cluster import Cluster, SimSentinel
from trio_sentinel.sim.options import Options
from trio_sentinel.sim.redis import Mood

SECOND = "-again"
"""The tail of a second name."""


def make_peace(cluster: Cluster, options: Options) -> None:
    """Everything runs, is connected and is set as at first; only what the sentinels made of it stays."""
    cluster.note("peace")
    cluster.peaceful = True
    cluster.network.heal()
    for host in list(cluster.network.names.wrong):
        tell_the_truth(cluster, host)
    cluster.network.names.heal()
    for server in cluster.servers.values():
        server.info_lag_ms = 0
        server.paused_until_ms = min(server.paused_until_ms, cluster.world.now_ms)
        server.frozen = False
        cluster.network.awake(server)
        if server.feed is not None:
            server.feed.hurry(cluster.world.now_ms + cluster.network.latency_ms[1])
        server.refuses_orders = False
        if not server.up:
            server.restart(cluster.new_id())
        server.mood = Mood.WELL
        server.priority = server.priority or 100
    for sentinel in cluster.sentinels.values():
        sentinel.disk_fails = False
        sentinel.save_ms = options.save_ms
        sentinel.trap = None
        sentinel.thaw()
        own_identity(sentinel)
        if not sentinel.up:
            sentinel.start()
        sentinel.ask(lambda n: i.CrashPointsSetAsked(n, False, False))
        own_address(sentinel)
        forget_second_names(sentinel)
    for name in sorted(cluster.settings):
        _agree_on_address(cluster, name)
        for sentinel in cluster.sentinels.values():
            restore_settings(cluster, sentinel, name)


def _agree_on_address(cluster: Cluster, name: str) -> None:
    """Every sentinel watches `name` again. MONITOR gives an address without an epoch, so nothing that sentinels say can
    settle two such addresses: the operator who gave them does (core.md Q25)."""
    monitored = [s.engine.state.masters[name] for s in cluster.each_up() if name in s.engine.state.masters]
    home = next(address for address, owner in cluster.homes.items() if owner == name)
    newest = max(monitored, key=lambda m: (m.config_epoch, _plays_master(cluster, m.current_address)), default=None)
    address = home if newest is None else newest.current_address
    for sentinel in cluster.sentinels.values():
        master = sentinel.engine.state.masters.get(name)
        if master is not None and newest is not None and newest.config_epoch == 0 and master.address != address:
            cluster.seen["an operator settles two addresses without an epoch"] += 1
            sentinel.ask(lambda n: i.RemoveAsked(n, name))
            master = None
        if master is None:
            monitor_again(cluster, sentinel, name, address)


def _plays_master(cluster: Cluster, address: Address) -> bool:
    server = cluster.servers.get(address)
    return server is not None and server.master is None


def tell_the_truth(cluster: Cluster, host: str) -> None:
    """A name is right again, and where it led has nothing to do with it any more: connections there end."""
    names = cluster.network.names
    place = names.place(names.wrong.pop(host, names.addresses[host]))
    if place != host:
        for sentinel in cluster.each_up():
            sentinel.leave_astray(host, place)


def own_address(sentinel: SimSentinel) -> None:
    """The operator sees the mistake: it announces itself as before."""
    settings = attrs.evolve(sentinel.engine.state.settings, announce_ip=None)
    if settings != sentinel.engine.state.settings:
        sentinel.ask(lambda n: i.GlobalsSetAsked(n, settings))


def forget_second_names(sentinel: SimSentinel) -> None:
    """The operator sees the mistake: one name is enough."""
    for name in list(sentinel.engine.state.masters):
        if name.endswith(SECOND):
            sentinel.ask(functools.partial(i.RemoveAsked, name=name))


def own_identity(sentinel: SimSentinel) -> None:
    """The operator sees the mistake: the copy gets the id of its process back."""
    if sentinel.disk.my_id != sentinel.own_id:
        sentinel.crash()
        sentinel.disk = attrs.evolve(sentinel.disk, my_id=sentinel.own_id)
        sentinel.start()


def monitor_again(cluster: Cluster, sentinel: SimSentinel, name: str, address: Address) -> None:
    """SENTINEL MONITOR and SET, as after a REMOVE."""
    if not sentinel.up or address.port == 0:
        return
    settings = cluster.settings[name]
    sentinel.ask(lambda n: i.MonitorAsked(n, name, address, settings.quorum))
    restore_settings(cluster, sentinel, name)


def restore_settings(cluster: Cluster, sentinel: SimSentinel, name: str) -> None:
    """SENTINEL SET back to what everybody was told at first."""
    settings = cluster.settings[name]
    words = (
        ("quorum", str(settings.quorum)),
        ("down-after-milliseconds", str(settings.down_after_ms)),
        ("failover-timeout", str(settings.failover_timeout_ms)),
        ("parallel-syncs", str(settings.parallel_syncs)),
    )
    sentinel.ask(lambda n: i.SetAsked(n, name, words))
