"""The harm: one function for each fault.

A fault draws what it hits and for how long. Some of what it breaks stays broken until peace comes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs

from trio_sentinel.model import inputs as i
from trio_sentinel.model.values import Address, Hello, RunId
from trio_sentinel.sim.cluster import SERVER_PORT, Cluster, FakeServer, SimSentinel
from trio_sentinel.sim.crash_points import CRASH_POINTS, SAVE_DONE, SAVE_HALF, Trap
from trio_sentinel.sim.names import SOON_MS
from trio_sentinel.sim.options import FAULTS, Options
from trio_sentinel.sim.peace import (
    SECOND,
    forget_second_names,
    monitor_again,
    own_address,
    own_identity,
    tell_the_truth,
)
from trio_sentinel.sim.redis import Mood

FOREVER = 10**9
OVERTAKE_MS, OVERTAKE_STEP_MS = 5000, 5
"""How long the second of two operators waits for the new master, and how often he looks."""


class Harm:
    """Bad luck for one cluster until ``end_ms``."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.options = options
        self.dice = random.Random(f"{options.seed} fault")
        self.end_ms = cluster.world.now_ms + options.harm_ms
        self.names = [name for name, _ in options.weights]
        self.shares = [share for _, share in options.weights]

        self.count = 0

    def begin(self) -> None:
        """Plan the first fault."""
        self.world.after(self._pause_ms(), self._strike)

    def _pause_ms(self) -> int:
        return 1 + int(self.dice.expovariate(1 / self.options.pause_ms))

    def _strike(self) -> None:
        """One fault. Each has dice of its own, so that leaving one out changes none of the others' plans."""
        if self.world.now_ms >= self.end_ms:
            return
        self.count += 1
        self.dice = random.Random(f"{self.options.seed} fault {self.count}")
        self.world.after(self._pause_ms(), self._strike)
        if self.count in self.options.spared:
            return
        name = self.dice.choices(self.names, self.shares)[0]
        told = DEEDS[name](self)
        if told:
            self.cluster.faults.append(self.count)
            self.cluster.note(f"{self.count}. {name}: {told}")
            self.cluster.seen[f"fault {name}"] += 1

    def _length_ms(self) -> int:
        """How long something lasts: around the lengths that matter here."""
        scale_ms = self.dice.choice(
            (
                100,
                1000,
                self.options.down_after_ms,
                2 * self.options.down_after_ms,
                self.options.failover_timeout_ms,
                20_000,
            )
        )
        return 1 + int(self.dice.uniform(0.3, 2.0) * scale_ms)

    def _then(self, action: Callable[..., object], *args: Any) -> str:
        """Take it back after a while, or leave it to peace; says which."""
        if self.dice.random() < 0.1:
            return "until peace"
        length_ms = self._length_ms()
        self.world.after(length_ms, action, *args)
        return f"for {length_ms} ms"

    # ------------------------------------------------------------ servers

    def _server(self) -> FakeServer | None:
        """A running server, masters more often."""
        servers = [server for server in self.cluster.servers.values() if server.up]
        masters = [server for server in servers if server.master is None]
        if masters and self.dice.random() < 0.6:
            servers = masters
        return self.dice.choice(servers) if servers else None

    def kill_server(self, *, with_host: bool = False, empty: bool = False) -> str:
        """A server dies and comes back, perhaps slowly."""
        server = self._server()
        if server is None:
            return ""
        server.kill(with_host=with_host)
        loading_ms = self.dice.choice((0, 0, 500, 3000, 10_000))
        length_ms = self.dice.choice((0, 0, 1)) * self._length_ms() + self.dice.randrange(1, 400)
        if self.dice.random() < 0.1:
            return f"{server.address} until peace"
        self.world.after(length_ms, self._restart, server, server.life, empty, loading_ms)
        return f"{server.address} for {length_ms} ms, then loading for {loading_ms} ms"

    def _restart(self, server: FakeServer, life: int, empty: bool, loading_ms: int) -> None:
        if not server.up and server.life == life:
            server.restart(self.cluster.new_id(), empty=empty, loading_ms=loading_ms)

    def freeze_server(self) -> str:
        """SIGSTOP."""
        server = self._server()
        if server is None:
            return ""
        server.frozen, server.touched_at_ms = True, self.world.now_ms
        return f"{server.address} {self._then(self._thaw_server, server)}"

    def _thaw_server(self, server: FakeServer) -> None:
        if server.frozen:
            server.frozen, server.touched_at_ms = False, self.world.now_ms
            self.cluster.network.awake(server)

    def mood(self) -> str:
        """A server answers, but not as it should."""
        server = self._server()
        if server is None:
            return ""
        server.mood = self.dice.choice((Mood.LOADING, Mood.BUSY, Mood.STALE, Mood.LOCKED))
        server.touched_at_ms = self.world.now_ms
        return f"{server.address} {server.mood.name} {self._then(self._cheer_up, server)}"

    def _cheer_up(self, server: FakeServer) -> None:
        server.mood, server.touched_at_ms = Mood.WELL, self.world.now_ms

    def pause_writes(self) -> str:
        """CLIENT PAUSE WRITE by somebody else: PUBLISH waits, and what is behind it."""
        server = self._server()
        if server is None:
            return ""
        length_ms = self._length_ms()
        server.paused_until_ms = self.world.now_ms + length_ms
        server.touched_at_ms = server.paused_until_ms
        return f"{server.address} for {length_ms} ms"

    def priorities(self) -> str:
        """Somebody changes a priority, often to 0."""
        server = self.dice.choice(list(self.cluster.servers.values()))
        server.priority = self.dice.choice((0, 0, 1, 100, 100))
        return f"{server.address} {server.priority}"

    def astray(self) -> str:
        """Somebody sends a server REPLICAOF another, or NO ONE."""
        server = self._server()
        if server is None:
            return ""
        home = self.cluster.homes[server.address]
        others = [a for a, name in self.cluster.homes.items() if a != server.address and name == home]
        target = self.dice.choice([None, *others])
        server.follow(target)
        server.touched_at_ms = self.world.now_ms
        return f"{server.address} follows {target}"

    def info_lag(self) -> str:
        """INFO tells yesterday's offsets and replicas."""
        server = self.dice.choice(list(self.cluster.servers.values()))
        server.info_lag_ms = self._length_ms()
        return f"{server.address} by {server.info_lag_ms} ms"

    def refuse_orders(self) -> str:
        """An ACL without the commands that sentinels need."""
        server = self.dice.choice(list(self.cluster.servers.values()))
        server.refuses_orders = True
        return f"{server.address} {self._then(setattr, server, 'refuses_orders', False)}"

    # ------------------------------------------------------------ sentinels

    def _sentinel(self) -> SimSentinel | None:
        sentinels = self.cluster.each_up()
        return self.dice.choice(sentinels) if sentinels else None

    def crash_sentinel(self, *, with_host: bool = False) -> str:
        """A sentinel dies; in the middle of a save the file is the old one or the new one."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        sentinel.crash(with_host=with_host)
        if self.dice.random() < 0.1:
            return f"{sentinel.name} until peace"
        length_ms = self.dice.choice((10, self._length_ms()))
        self.world.after(length_ms, self._restart_sentinel, sentinel)
        return f"{sentinel.name} for {length_ms} ms"

    def _restart_sentinel(self, sentinel: SimSentinel) -> None:
        if not sentinel.up:
            sentinel.start()

    def trap(self) -> str:
        """A sentinel, or each of them, will die at a certain point."""
        sentinels = self.cluster.each_up()
        if not sentinels:
            return ""
        chosen = sentinels if self.dice.random() < 0.5 else [self.dice.choice(sentinels)]
        for sentinel in chosen:
            sentinel.trap = Trap(self.dice.choice(CRASH_POINTS), self.dice.choice((1, 1, 2, 3)))
        return ", ".join(f"{s.name} {s.trap.point}, time {s.trap.left}" for s in chosen if s.trap is not None)

    def torn_write(self) -> str:
        """The power of a sentinel's host will fail in the middle of a save, or right after it."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        point = self.dice.choice((SAVE_HALF, SAVE_HALF, SAVE_DONE))
        sentinel.trap = Trap(point, self.dice.choice((1, 1, 2)), with_host=True)
        return f"{sentinel.name} {point}, time {sentinel.trap.left}"

    def freeze_sentinel(self) -> str:
        """A process pause: below or beyond what makes it doubt its clock."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        length_ms = self._length_ms() if self.dice.random() < 0.9 else None
        sentinel.freeze(length_ms)
        return f"{sentinel.name} for {length_ms} ms"

    def failing_disk(self) -> str:
        """No space left on device."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        sentinel.disk_fails = True
        return f"{sentinel.name} {self._then(self._mend_disk, sentinel)}"

    def _mend_disk(self, sentinel: SimSentinel) -> None:
        sentinel.disk_fails = False

    def slow_disk(self) -> str:
        """fsync takes its time."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        sentinel.save_ms = self.dice.choice(((50, 200), (500, 3000), (3000, 9000)))
        return f"{sentinel.name} {sentinel.save_ms} {self._then(self._hurry_disk, sentinel)}"

    def _hurry_disk(self, sentinel: SimSentinel) -> None:
        sentinel.save_ms = self.options.save_ms

    def wall_clock_step(self) -> str:
        """NTP, or somebody with `date`."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        step_ms = self.dice.choice((-3_600_000, -5000, -1500, 1500, 2500, 5000, 86_400_000))
        sentinel.wall_offset_ms += step_ms
        return f"{sentinel.name} by {step_ms} ms"

    def copied_file(self) -> str:
        """An operator starts a sentinel from another one's file: the same identity twice."""
        sentinels = list(self.cluster.sentinels.values())
        if len(sentinels) < 2:
            return ""
        one, other = self.dice.sample(sentinels, 2)
        assert one.disk.my_id is not None and other.disk.my_id is not None
        self.cluster.checker.ledger.doubles |= {one.disk.my_id, other.disk.my_id}
        other.crash()
        other.disk = one.disk
        other.start()
        self.world.after(self._length_ms(), own_identity, other)
        return f"{other.name} runs with the file of {one.name}"

    def new_identity(self) -> str:
        """A sentinel's file is lost and written anew: another id at the same address."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        sentinel.crash()
        my_id = sentinel.own_id = RunId(self.cluster.new_id())
        self.cluster.identities.add(my_id)
        masters = tuple(
            attrs.evolve(known, config_epoch=0, leader_epoch=0, replicas=(), peers=())
            for known in sentinel.disk.masters
        )
        sentinel.disk = attrs.evolve(sentinel.disk, my_id=my_id, current_epoch=0, masters=masters)
        sentinel.start()
        return sentinel.name

    # ------------------------------------------------------------ the network

    def _hosts(self) -> list[str]:
        return [address.host for address in self.cluster.network.processes]

    def cut(self, *, both_ways: bool) -> str:
        """One host does not reach another."""
        one, other = self.dice.sample(self._hosts(), 2)
        pairs = {(one, other), (other, one)} if both_ways else {(one, other)}
        return f"{one} to {other} {self._cut(pairs)}"

    def _cut(self, pairs: set[tuple[str, str]]) -> str:
        for one, other in sorted(pairs):
            for host in (one, other):
                server = self.cluster.servers.get(Address(host, 6379))
                if server is not None:
                    server.touched_at_ms = self.world.now_ms
        self.cluster.network.cut |= pairs
        return self._then(self._join, pairs)

    def _join(self, pairs: set[tuple[str, str]]) -> None:
        self.cluster.network.cut -= pairs

    def isolate(self) -> str:
        """One host is alone, or hears without being heard, or the other way round."""
        hosts = self._hosts()
        alone = self.dice.choice(hosts)
        way = self.dice.choice(("both", "both", "out", "in"))
        pairs: set[tuple[str, str]] = set()
        for other in [*hosts, *(writer.host for writer in self.cluster.writers.values())]:
            if other != alone and way != "in":
                pairs.add((alone, other))
            if other != alone and way != "out":
                pairs.add((other, alone))
        return f"{alone} {way} {self._cut(pairs)}"

    def partition(self) -> str:
        """Two halves."""
        hosts = [*self._hosts(), *(writer.host for writer in self.cluster.writers.values())]
        left = [host for host in hosts if self.dice.random() < 0.5]
        right = [host for host in hosts if host not in left]
        pairs = {(one, other) for one in left for other in right} | {(one, other) for one in right for other in left}
        return f"{left} from the others {self._cut(pairs)}"

    def slow_link(self) -> str:
        """Packets take long."""
        one, other = self.dice.sample(self._hosts(), 2)
        delay_ms = self._length_ms()
        self.cluster.network.slow[one, other] = delay_ms
        return f"{one} to {other} by {delay_ms} ms {self._then(self._hurry, one, other)}"

    def _hurry(self, one: str, other: str) -> None:
        self.cluster.network.slow.pop((one, other), None)

    def lossy_link(self) -> str:
        """Some packets are lost and sent again later, one way; and sometimes most of them."""
        one, other = self.dice.sample(self._hosts(), 2)
        part = self.dice.choice((0.05, 0.3, 0.7))
        self.cluster.network.lossy[one, other] = part
        return f"{part:.0%} of {one} to {other} {self._then(self._mend_link, one, other)}"

    def _mend_link(self, one: str, other: str) -> None:
        self.cluster.network.lossy.pop((one, other), None)

    # ------------------------------------------------------------ names

    def slow_names(self) -> str:
        """The name service takes its time."""
        names = self.cluster.network.names
        names.delay_ms = self.dice.choice(((50, 300), (500, 3000), (3000, 9000)))
        return f"{names.delay_ms} {self._then(setattr, names, 'delay_ms', SOON_MS)}"

    def names_fail(self) -> str:
        """The name service does not know a server any more, or none at all."""
        names = self.cluster.network.names
        known = list(names.addresses)
        failing = set(known if self.dice.random() < 0.3 else self.dice.sample(known, min(1, len(known))))
        names.failing |= failing
        told = self._then(names.failing.difference_update, failing)
        return f"{', '.join(sorted(failing))} {told}" if failing else ""

    def wrong_name(self) -> str:
        """A name leads to another server, or to nobody, and its connections are made anew just then."""
        names = self.cluster.network.names
        if not names.addresses:
            return ""
        host, ip = self.dice.choice(list(names.addresses)), self.dice.choice(["10.250.0.1", *names.places])
        names.wrong[host] = ip
        server = self.cluster.servers[Address(host, SERVER_PORT)]
        if server.up and self.dice.random() < 0.7:
            server.kill(with_host=False)
            self.world.after(self.dice.randrange(1, 400), self._restart, server, server.life, False, 0)
        return f"{host} is {ip} {self._then(tell_the_truth, self.cluster, host)}"

    # ------------------------------------------------------------ operators

    def _name(self) -> str:
        return self.dice.choice(sorted(self.cluster.settings))

    def operator_failover(self, *, coordinated: bool = False) -> str:
        """SENTINEL FAILOVER."""
        sentinel, name = self._sentinel(), self._name()
        if sentinel is None:
            return ""
        server = self.cluster.servers.get(_address(sentinel, name))
        if server is not None:
            server.touched_at_ms = self.world.now_ms
        sentinel.ask(lambda n: i.FailoverAsked(n, name, coordinated))
        return f"{name} at {sentinel.name}"

    def operator_overtakes(self) -> str:
        """SENTINEL FAILOVER, and again at another sentinel as soon as that one has heard of the new master: the first
        leader may still bring replicas over, above all when one of them does not obey."""
        sentinel, name = self._sentinel(), self._name()
        others = [other for other in self.cluster.each_up() if other is not sentinel]
        replicas = [server for server in self.cluster.servers.values() if server.master is not None]
        if sentinel is None or not others:
            return ""
        other, before = self.dice.choice(others), _address(sentinel, name)
        told = f"{name} at {sentinel.name}, then at {other.name}"
        if replicas and self.dice.random() < 0.7:
            stubborn = self.dice.choice(replicas)
            stubborn.refuses_orders = True
            self.world.after(self._length_ms(), setattr, stubborn, "refuses_orders", False)
            told += f"; {stubborn.address} does not obey"
        sentinel.ask(lambda n: i.FailoverAsked(n, name, False))
        self._overtake(other, name, before, self.world.now_ms + OVERTAKE_MS)
        return told

    def _overtake(self, sentinel: SimSentinel, name: str, before: Address, until_ms: int) -> None:
        if self.cluster.peaceful or self.world.now_ms >= until_ms:
            return
        if not sentinel.up or _address(sentinel, name) == before:
            self.world.after(OVERTAKE_STEP_MS, self._overtake, sentinel, name, before, until_ms)
        else:
            sentinel.ask(lambda n: i.FailoverAsked(n, name, False))

    def operator_set(self) -> str:
        """SENTINEL SET at one sentinel only."""
        sentinel, name = self._sentinel(), self._name()
        if sentinel is None:
            return ""
        option, values = self.dice.choice(
            (
                ("quorum", (1, 2, len(self.cluster.sentinels))),
                ("down-after-milliseconds", (300, 1000, 10_000)),
                ("failover-timeout", (1000, 5000, 20_000)),
                ("parallel-syncs", (1, 2, 4)),
            )
        )
        words = option, str(self.dice.choice(values))
        sentinel.ask(lambda n: i.SetAsked(n, name, (words,)))
        return f"{name} {words} at {sentinel.name}"

    def operator_reset(self) -> str:
        """SENTINEL RESET."""
        sentinel, name = self._sentinel(), self._name()
        if sentinel is None:
            return ""
        sentinel.ask(lambda n: i.ResetAsked(n, (name,)))
        return f"{name} at {sentinel.name}"

    def operator_remove(self) -> str:
        """SENTINEL REMOVE, and MONITOR again after a while."""
        sentinel, name = self._sentinel(), self._name()
        if sentinel is None:
            return ""
        address = _address(sentinel, name)
        sentinel.ask(lambda n: i.RemoveAsked(n, name))
        self.world.after(self.dice.choice((1, 500, 5000)), self._monitor, sentinel, name, address)
        return f"{name} at {sentinel.name}"

    def _monitor(self, sentinel: SimSentinel, name: str, address: Address) -> None:
        monitor_again(self.cluster, sentinel, name, address)

    def announced_elsewhere(self) -> str:
        """SENTINEL CONFIG SET announce-ip: an address where nobody is, or where another sentinel is."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        others = [other.address.host for other in self.cluster.sentinels.values() if other is not sentinel]
        host = self.dice.choice(["10.9.8.7", *others])
        settings = attrs.evolve(sentinel.engine.state.settings, announce_ip=host)
        sentinel.ask(lambda n: i.GlobalsSetAsked(n, settings))
        return f"{sentinel.name} as {host} {self._then(own_address, sentinel)}"

    def second_name(self) -> str:
        """SENTINEL MONITOR of a master that is watched already, under another name (core.md Q19)."""
        sentinel, name = self._sentinel(), self._name()
        if sentinel is None or name not in sentinel.engine.state.masters:
            return ""
        address, quorum = _address(sentinel, name), self.cluster.settings[name].quorum
        sentinel.ask(lambda n: i.MonitorAsked(n, f"{name}{SECOND}", address, quorum))
        return f"{name}{SECOND} at {sentinel.name} {self._then(forget_second_names, sentinel)}"

    def bad_hello(self) -> str:
        """A hello under the next configuration epoch, with an address that nobody can use (core.md Q5): somebody
        announces host names, and the others do not resolve any."""
        sentinel, name = self._sentinel(), self._name()
        if sentinel is None or len(self.cluster.sentinels) < 2 or name not in sentinel.engine.state.masters:
            return ""
        speaker = self.dice.choice([other for other in self.cluster.sentinels.values() if other is not sentinel])
        hello = Hello(
            host=speaker.address.host,
            port=speaker.address.port,
            run_id=speaker.engine.state.my_id,
            current_epoch=sentinel.engine.state.current_epoch,
            master=name,
            master_host=self.dice.choice(("db-1.example", "10.0.0.999")),
            master_port=6379,
            config_epoch=sentinel.engine.state.masters[name].config_epoch + self.dice.choice((1, 1, 2)),
        )
        sentinel.feed(i.HelloHeard(hello))
        return f"{hello} at {sentinel.name}"

    def operator_crash_points(self) -> str:
        """SENTINEL SIMULATE-FAILURE."""
        sentinel = self._sentinel()
        if sentinel is None:
            return ""
        election = self.dice.random() < 0.5
        sentinel.ask(lambda n: i.CrashPointsSetAsked(n, election, not election))
        return f"{sentinel.name} after {'election' if election else 'promotion'}"


def _address(sentinel: SimSentinel, name: str) -> Address:
    master = sentinel.engine.state.masters.get(name)
    return Address("0.0.0.0", 0) if master is None else master.current_address


DEEDS: dict[str, Callable[[Harm], str]] = {
    "kill server": Harm.kill_server,
    "power off server": lambda harm: harm.kill_server(with_host=True),
    "freeze server": Harm.freeze_server,
    "server in a mood": Harm.mood,
    "server loses data": lambda harm: harm.kill_server(empty=True),
    "pause writes": Harm.pause_writes,
    "priorities": Harm.priorities,
    "replica astray": Harm.astray,
    "info lag": Harm.info_lag,
    "crash sentinel": Harm.crash_sentinel,
    "power off sentinel": lambda harm: harm.crash_sentinel(with_host=True),
    "trap sentinel": Harm.trap,
    "freeze sentinel": Harm.freeze_sentinel,
    "failing disk": Harm.failing_disk,
    "slow disk": Harm.slow_disk,
    "wall clock step": Harm.wall_clock_step,
    "copied file": Harm.copied_file,
    "new identity": Harm.new_identity,
    "one-way cut": lambda harm: harm.cut(both_ways=False),
    "cut": lambda harm: harm.cut(both_ways=True),
    "isolate host": Harm.isolate,
    "partition": Harm.partition,
    "slow link": Harm.slow_link,
    "operator failover": Harm.operator_failover,
    "operator coordinated": lambda harm: harm.operator_failover(coordinated=True),
    "operator set": Harm.operator_set,
    "operator reset": Harm.operator_reset,
    "operator remove": Harm.operator_remove,
    "operator crash points": Harm.operator_crash_points,
    "orders refused": Harm.refuse_orders,
    "announced elsewhere": Harm.announced_elsewhere,
    "second name": Harm.second_name,
    "bad hello": Harm.bad_hello,
    "torn write": Harm.torn_write,
    "operator overtakes": Harm.operator_overtakes,
    "slow names": Harm.slow_names,
    "names fail": Harm.names_fail,
    "wrong name": Harm.wrong_name,
    "lossy link": Harm.lossy_link,
}
assert tuple(DEEDS) == FAULTS
