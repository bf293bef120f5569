"""What sentinels must have said in a failover: config-and-events.md 3.5, with the exact payloads."""

from __future__ import annotations

from collections.abc import Sequence

from .harness import LOOPBACK, MASTER, DataServer, Lab, Sentinel, in_order

Step = str | tuple[str, str]


def replica_text(server: DataServer, master: DataServer) -> str:
    """How events name a replica of `master`."""
    return f"slave {LOOPBACK}:{server.port} {LOOPBACK} {server.port} @ {MASTER} {LOOPBACK} {master.port}"


def master_text(server: DataServer) -> str:
    """How events name a master."""
    return f"master {MASTER} {LOOPBACK} {server.port}"


def switch_text(old: DataServer, new: DataServer) -> str:
    """The payload of ``+switch-master``."""
    return f"{MASTER} {LOOPBACK} {old.port} {LOOPBACK} {new.port}"


def leader_of(sentinels: Sequence[Sentinel]) -> Sentinel:
    """The one that was elected since the events were last forgotten."""
    leaders = [one for one in sentinels if one.alive and "+elected-leader" in one.events.channels()]
    assert len(leaders) == 1, f"elected: {leaders}"
    return leaders[0]


def leader_story(old: DataServer, new: DataServer, others: Sequence[DataServer], *, forced: bool) -> list[Step]:
    """The events of the leader, from the election to the end, `others` being live replicas that had to be moved."""
    promoted, master = replica_text(new, old), master_text(old)
    story: list[Step] = [] if forced else [("+sdown", master), "+odown"]
    story += [
        "+new-epoch",
        ("+try-failover", master),
        "+vote-for-leader",
        ("+elected-leader", master),
        ("+failover-state-select-slave", master),
        ("+selected-slave", promoted),
        ("+failover-state-send-slaveof-noone", promoted),
        ("+failover-state-wait-promotion", promoted),
        ("-role-change", f"{promoted} new reported role is master"),
        ("+promoted-slave", promoted),
        ("+failover-state-reconf-slaves", master),
    ]
    for other in others:
        reconf = replica_text(other, old)
        story += [("+slave-reconf-sent", reconf), ("+slave-reconf-inprog", reconf), ("+slave-reconf-done", reconf)]
    return [*story, ("+failover-end", master), ("+switch-master", switch_text(old, new)), *_new_replicas(old, new)]


def observer_story(old: DataServer, new: DataServer) -> list[Step]:
    """The events of a sentinel that learns of the failover from the leader's hello."""
    return ["+config-update-from", ("+switch-master", switch_text(old, new)), *_new_replicas(old, new)]


def _new_replicas(old: DataServer, new: DataServer) -> list[Step]:
    return [("+slave", replica_text(old, new))]


def check_one_failover(
    lab: Lab,
    sentinels: Sequence[Sentinel],
    servers: Sequence[DataServer],
    *,
    old: DataServer,
    new: DataServer,
    forced: bool = False,
) -> Sentinel:
    """Each of `sentinels` told one failover from `old` to `new` as stock does, and one of them led it; the leader.

    Every other one of `servers` must have been moved by the leader.
    """
    for one in sentinels:
        lab.wait_event(one, "+slave", replica_text(old, new))
    leader = leader_of(sentinels)
    moved = [server for server in servers if server not in (old, new) and server.alive and not server.stopped]
    for one in sentinels:
        story = leader_story(old, new, moved, forced=forced) if one is leader else observer_story(old, new)
        events = one.events.all()
        missing = in_order(story, events)
        told = "\n".join(map(str, events))
        assert missing is None, f"{one.name} did not say in its place: {missing}\nIt said:\n{told}"
        assert one.events.named("+switch-master") == [switch_text(old, new)], told
        check_log_tells_the_same(one)
    assert len(leader.events.named("+elected-leader")) == 1
    return leader


def check_log_tells_the_same(sentinel: Sentinel) -> None:
    """Each event that was published is in the log too, in the same order."""
    missing = in_order([(event.channel, event.payload) for event in sentinel.events.all()], sentinel.logged_events())
    assert missing is None, f"published but not logged in its place by {sentinel.name}: {missing}\n{sentinel.log()}"
