"""The story itself: a cast is started, the master is killed, and what everybody does is watched to its end.

Tasks: one watcher per sentinel, the writer's thread, and a pulse that asks the servers how they are ten times a second.
All of them note what they find in `Story`; who waits for something waits on ``Story.turn``, which every note changes.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable

import trio
from attrs import define, field, frozen
from trio_util import AsyncValue

from trio_sentinel.demo.lines import LineError, ask_once, info, open_line, pairs
from trio_sentinel.demo.options import Options
from trio_sentinel.demo.screen import Now, Screen, SightingLine
from trio_sentinel.demo.stage import LOOPBACK, MASTER_NAME, QUORUM, Child, DemoError, Stage
from trio_sentinel.demo.telling import Sighting, Teller, Weight
from trio_sentinel.demo.writer import KEY, Writer

PULSE_S = 0.1
START_LIMIT_S = 30.0
FAILOVER_LIMIT_S = 60.0
RETURN_LIMIT_S = 60.0
BAR = 30


@frozen(kw_only=True)
class Outcome:
    """What the summary says. Times in ms since the kill; None for what never happened."""

    promoted: str | None
    leader: str | None
    noticed_ms: int | None
    agreed_ms: int | None
    elected_ms: int | None
    promoted_ms: int | None
    told_ms: int | None
    """When the first sentinel told clients of the new master."""
    everybody_ms: int | None
    unavailable_ms: int | None
    acknowledged: int
    lost: int
    """Acknowledged writes that the new master does not hold."""
    same: bool
    """All three servers hold the same writes in the end."""
    returned: bool
    """The old master follows the new one."""

    @property
    def good(self) -> bool:
        """Whether the failover happened, writes went on and the old master came back as a replica."""
        return self.promoted is not None and self.unavailable_ms is not None and self.returned


@define(eq=False)
class Story:
    """Everything noted so far, and who waits for more."""

    options: Options
    screen: Screen
    stage: Stage
    writer: Writer
    teller: Teller
    title: str = "starting"
    staying: bool = False
    """The person at the keyboard has taken over: whatever ends now was meant to."""
    turn: AsyncValue[int] = field(factory=lambda: AsyncValue(0))
    killed_at: float | None = None
    victim: Child | None = None
    sightings: list[Sighting] = field(factory=list)
    untold: list[SightingLine] = field(factory=list)
    telling: trio.Lock = field(factory=trio.Lock)
    roles: dict[str, str] = field(factory=dict)
    views: dict[str, str] = field(factory=dict)
    """Whom each sentinel takes for the master."""
    rates: deque[int] = field(factory=lambda: deque([0] * BAR, maxlen=BAR))

    # ------------------------------------------------------------ noting

    def note(self, sighting: Sighting) -> None:
        """A sentinel published something."""
        self.sightings.append(sighting)
        told = self.teller.tell(sighting)
        if sighting.channel == "+switch-master":
            self.views[sighting.who] = self.teller.server(sighting.payload.split()[4])
        if self.killed_at is not None and (self.options.verbose or told.weight is not Weight.ASIDE):
            self.untold.append((self.after_ms(sighting.at), sighting.who, told, sighting.channel))
        self.turn.value += 1

    async def tell(self) -> None:
        """Show what was noted. In batches and from a thread: drawing takes longer than an election."""
        async with self.telling:
            lines, self.untold = self.untold, []
            if lines:
                await trio.to_thread.run_sync(self.screen.sightings, lines)

    def after_ms(self, at: float) -> int:
        """A moment as ms since the kill."""
        assert self.killed_at is not None
        return round((at - self.killed_at) * 1000)

    def first_ms(self, *channels: str, kind: str = "") -> int | None:
        """When one of `channels` was first heard after the kill, optionally with a payload that begins with `kind`."""
        found = (s for s in self.since_kill() if s.channel in channels and s.payload.startswith(kind))
        sighting = next(found, None)
        return None if sighting is None else self.after_ms(sighting.at)

    def since_kill(self) -> list[Sighting]:
        """What was heard after the kill."""
        return [] if self.killed_at is None else [s for s in self.sightings if s.at >= self.killed_at]

    async def wait(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait until `condition`; False when that takes longer than `limit_s`."""
        with trio.move_on_after(limit_s):
            await self.turn.wait_value(lambda _: condition())
            return True
        return False

    # ------------------------------------------------------------ tasks

    async def watch(self, child: Child) -> None:
        """Note what one sentinel publishes, until it ends."""
        while True:
            try:
                async with open_line(child.port) as line:
                    async for channel, payload in line.messages():
                        if channel[0] in "+-":
                            self.note(Sighting(at=time.monotonic(), who=child.name, channel=channel, payload=payload))
            except LineError:
                await trio.sleep(PULSE_S)

    async def pulse(self) -> None:
        """Ask the servers for their roles, count writes, refresh the panel, and see that nobody died unasked."""
        counted = 0
        while True:
            for server in self.stage.servers:
                self.roles[server.name] = await self._role(server)
            written = len(self.writer.acknowledged)
            self.rates.append(written - counted)
            counted = written
            if not self.staying:
                self.stage.check()
            await self.tell()
            self.screen.show(self._now(written))
            self.turn.value += 1
            await trio.sleep(PULSE_S)

    async def _role(self, server: Child) -> str:
        if server.process is None:
            return "…"
        if server.process.poll() is not None:
            return "killed"
        try:
            said = info(await ask_once(server.port, "INFO", "replication"))
        except LineError:
            return "silent"
        if said["role"] == "master":
            return "master"
        return "replica" if said["master_link_status"] == "up" else "replica, not synced"

    def _now(self, written: int) -> Now:
        last = self.writer.last_ok_at
        silence_ms = 0 if last is None else round((time.monotonic() - last) * 1000)
        return Now(
            title=self.title,
            servers=tuple((s.name, s.address, self.roles.get(s.name, "…")) for s in self.stage.servers),
            sentinels=tuple((s.name, s.address, self.views.get(s.name, "…")) for s in self.stage.sentinels),
            acknowledged=written,
            rates=tuple(self.rates),
            failing_ms=silence_ms if silence_ms > 300 else None,
        )


# ---------------------------------------------------------------- the chapters


async def play(options: Options, screen: Screen, stage: Stage) -> Outcome:
    """Tell the whole story. Raises DemoError when the cast cannot be brought on the stage."""
    story = Story(
        options=options,
        screen=screen,
        stage=stage,
        writer=Writer([child.port for child in stage.sentinels]),
        teller=Teller({s.port: s.name for s in stage.servers}, {}, QUORUM, set()),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(story.pulse, name="pulse")
        try:
            await present_the_cast(story)
            for child in stage.sentinels:
                nursery.start_soon(story.watch, child, name=f"watch {child.name}")
            nursery.start_soon(_write, story.writer, name="writer")
            await warm_up(story)
            await kill_the_master(story)
            await watch_the_failover(story)
            await bring_the_old_master_back(story)
            outcome = await _compare(story)
            tell_the_end(story, outcome)
            if options.stay:
                await stay(story)
        finally:
            story.writer.stop()
        nursery.cancel_scope.cancel()
    return outcome


async def _write(writer: Writer) -> None:
    await trio.to_thread.run_sync(writer.run, abandon_on_cancel=True)


async def present_the_cast(story: Story) -> None:
    """Start servers, then sentinels, and wait until everybody knows everybody."""
    stage, screen = story.stage, story.screen
    screen.chapter("The cast")
    screen.say("Three servers hold the data: a master, and two replicas that follow it.")
    for server in stage.servers:
        server.start()
    if not await story.wait(lambda: list(story.roles.values()) == ["master", "replica", "replica"], START_LIMIT_S):
        raise DemoError(f"the servers do not replicate after {START_LIMIT_S:.0f} s: {story.roles}")
    screen.table([(s.name, f"{s.address}  {story.roles[s.name]}") for s in stage.servers])
    screen.say("Three sentinels watch them. Each is told of the master only, and finds the others itself.")
    began_at = time.monotonic()
    for sentinel in stage.sentinels:
        sentinel.start()
    with trio.move_on_after(START_LIMIT_S) as limit:
        for sentinel in stage.sentinels:
            await _knows_everybody(story, sentinel)
    if limit.cancelled_caught:
        raise DemoError(f"the sentinels have not found each other and the replicas after {START_LIMIT_S:.0f} s")
    screen.table([(s.name, f"{s.address}  knows 2 other sentinels and 2 replicas") for s in stage.sentinels])
    screen.say(f"They found each other in {time.monotonic() - began_at:.1f} s.")


async def _knows_everybody(story: Story, sentinel: Child) -> None:
    while True:
        try:
            run_id = await ask_once(sentinel.port, "SENTINEL", "MYID")
            said = pairs(await ask_once(sentinel.port, "SENTINEL", "MASTER", MASTER_NAME))
        except LineError:
            await trio.sleep(PULSE_S)
            continue
        if said.get("num-other-sentinels") == "2" and said.get("num-slaves") == "2" and said.get("flags") == "master":
            story.teller.sentinels[run_id] = sentinel.name
            story.views[sentinel.name] = story.teller.server(said["port"])
            return
        await trio.sleep(PULSE_S)


async def warm_up(story: Story) -> None:
    """Let the client write for a while."""
    story.title = "writing"
    story.screen.chapter("A client writes")
    story.screen.say("redis-py asks the sentinels for the master, and appends number after number to a list there.")
    if not await story.wait(lambda: len(story.writer.acknowledged) > 0, START_LIMIT_S):
        raise DemoError(f"no write succeeded in {START_LIMIT_S:.0f} s: {story.writer.errors}")
    await trio.sleep(story.options.warm_up_ms / 1000)
    story.screen.say(f"{len(story.writer.acknowledged):,} writes acknowledged so far.")


async def kill_the_master(story: Story) -> None:
    """SIGKILL: no farewell, no last words."""
    victim = story.stage.servers[0]
    story.title = f"{victim.name} was killed"
    down_after_s = story.options.down_after_ms / 1000
    story.screen.chapter(f"The master, {victim.name}, is killed")
    story.screen.say(
        f"{down_after_s:g} s of silence count as down. Two sentinels must agree; the one that acts needs two votes.\n"
        "Times count from the kill."
    )
    story.victim = victim
    story.killed_at = time.monotonic()
    victim.signal(signal.SIGKILL)
    await trio.lowlevel.checkpoint()


async def watch_the_failover(story: Story) -> None:
    """Wait until every sentinel names the new master and writes succeed again."""

    def everybody_switched() -> bool:
        return {s.who for s in story.since_kill() if s.channel == "+switch-master"} == set(story.views)

    def writes_go_on() -> bool:
        assert story.killed_at is not None
        return story.writer.outage(story.killed_at) is not None

    if not await story.wait(lambda: everybody_switched() and writes_go_on(), FAILOVER_LIMIT_S):
        story.stage.keep = True
        story.screen.say(f"No failover within {FAILOVER_LIMIT_S:.0f} s. The logs are in {story.stage.home}.")
        return
    await _settle(story)
    await story.tell()
    outage = story.writer.outage(story.killed_at or 0)
    assert outage is not None
    story.screen.say(f"The client found the new master by itself: writes succeed again {clock_of(story, outage[1])}.")


async def _settle(story: Story) -> None:
    """Wait until the leader has led its failover to the end, which may be after everybody knows the new master."""
    await story.wait(lambda: story.first_ms("+failover-end") is not None, FAILOVER_LIMIT_S / 2)


def clock_of(story: Story, at: float) -> str:
    """A moment in words."""
    return f"{story.after_ms(at) / 1000:.2f} s after the kill"


async def bring_the_old_master_back(story: Story) -> None:
    """Start the killed server again, as the master it was, and wait until it follows the new one."""
    victim = story.victim
    if victim is None or story.first_ms("+switch-master") is None:
        return
    story.title = f"{victim.name} returns"
    story.screen.chapter(f"The old master, {victim.name}, returns")
    story.screen.say("It still takes itself for the master. The sentinels know better and make it a replica.")
    victim.start()
    began_at = time.monotonic()
    if await story.wait(lambda: story.roles[victim.name] == "replica", RETURN_LIMIT_S):
        await story.tell()
        story.screen.say(f"{victim.name} follows the new master, {time.monotonic() - began_at:.1f} s after its start.")
    else:
        story.stage.keep = True
        role = story.roles[victim.name]
        story.screen.say(f"It is still '{role}' after {RETURN_LIMIT_S:.0f} s. The logs are in {story.stage.home}.")


# ---------------------------------------------------------------- the end


async def _compare(story: Story) -> Outcome:
    """Hold the writes against what the servers have. The writer pauses meanwhile, unless it goes on for ``--stay``."""
    acknowledged = list(story.writer.acknowledged)
    promoted = next((name for name, role in story.roles.items() if role == "master"), None)
    if story.victim is not None and promoted == story.victim.name:
        promoted = None
    if not story.options.stay:
        story.writer.stop()
        await trio.sleep(5 * PULSE_S)
        acknowledged = list(story.writer.acknowledged)
    held = {server.name: await _held(server) for server in story.stage.servers}
    kept = held.get(promoted or "", set())
    outage = story.writer.outage(story.killed_at or 0)
    leader = next((s.who for s in story.since_kill() if s.channel == "+elected-leader"), None)
    switches = [s for s in story.since_kill() if s.channel == "+switch-master"]
    return Outcome(
        promoted=promoted,
        leader=leader,
        noticed_ms=story.first_ms("+sdown", kind="master"),
        agreed_ms=story.first_ms("+odown"),
        elected_ms=story.first_ms("+elected-leader"),
        promoted_ms=story.first_ms("+promoted-slave"),
        told_ms=story.first_ms("+switch-master"),
        everybody_ms=story.after_ms(switches[-1].at) if len(switches) >= len(story.views) else None,
        unavailable_ms=None if outage is None else round((outage[1] - outage[0]) * 1000),
        acknowledged=len(acknowledged),
        lost=len(set(acknowledged) - kept),
        same=all(numbers >= set(acknowledged) & kept for numbers in held.values()),
        returned=story.victim is not None and story.roles[story.victim.name] == "replica",
    )


async def _held(server: Child) -> set[int]:
    try:
        return {int(text) for text in await ask_once(server.port, "LRANGE", KEY, "0", "-1", within_s=10)}
    except LineError:
        return set()


def tell_the_end(story: Story, outcome: Outcome) -> None:
    """The summary."""
    story.title = "the end"
    story.screen.chapter("Summary")
    timeline = [
        ("silence noticed", outcome.noticed_ms),
        ("agreed by the quorum", outcome.agreed_ms),
        (f"leader elected ({outcome.leader or 'nobody'})", outcome.elected_ms),
        ("promotion seen by the leader", outcome.promoted_ms),
        ("clients told", outcome.told_ms),
        ("known to every sentinel", outcome.everybody_ms),
    ]
    rows = [(name, "never" if ms is None else f"{ms:,} ms after the kill") for name, ms in timeline]
    gone = "until now" if outcome.unavailable_ms is None else f"for {outcome.unavailable_ms:,} ms"
    rows += [
        ("new master", outcome.promoted or "none"),
        ("votes", _votes(story)),
        ("writes unavailable", gone),
        ("writes acknowledged", f"{outcome.acknowledged:,}"),
        ("acknowledged writes lost", f"{outcome.lost:,}"),
        ("old master", f"a replica of {outcome.promoted}" if outcome.returned else "not a replica"),
        ("all servers hold the same", "yes" if outcome.same else "no"),
    ]
    story.screen.table(rows)
    if outcome.lost:
        story.screen.say("Replication is asynchronous: what was acknowledged but not yet sent to the replica was lost.")
    if outcome.good:
        text = f"failover from {story.stage.servers[0].name} to {outcome.promoted}, led by {outcome.leader}"
        story.screen.verdict(True, f"{text}; writes were unavailable {gone}")
    else:
        story.screen.verdict(False, "the failover did not come to its end")


def _votes(story: Story) -> str:
    """Who voted for whom in the last epoch in which anybody voted."""
    votes = [(s.who, *s.payload.split()) for s in story.since_kill() if s.channel == "+vote-for-leader"]
    if not votes:
        return "none"
    last = max(int(vote[2]) for vote in votes)
    names = story.teller.sentinels
    return ", ".join(f"{who} for {names.get(whom, whom[:8])}" for who, whom, epoch in votes if int(epoch) == last)


async def stay(story: Story) -> None:
    """Leave everything running until Ctrl-C."""
    story.title = "it is yours; Ctrl-C ends everything"
    story.staying = True
    story.screen.chapter("Everything keeps running")
    first = story.stage.sentinels[0]
    master = next((s for s in story.stage.servers if story.roles[s.name] == "master"), story.stage.servers[0])
    story.screen.table(
        [
            ("ask a sentinel", f"redis-cli -p {first.port} sentinel get-master-addr-by-name {MASTER_NAME}"),
            ("watch events", f"redis-cli -p {first.port} psubscribe '*'"),
            ("order a failover", f"redis-cli -p {first.port} sentinel failover {MASTER_NAME}"),
            ("ask the master", f"redis-cli -p {master.port} llen {KEY}"),
            *((s.name, f"kill -9 {s.process.pid}" if s.process else "") for s in story.stage.servers),
            ("in Python", f"redis.sentinel.Sentinel([('{LOOPBACK}', {first.port})]).master_for('{MASTER_NAME}')"),
            ("files", str(story.stage.home)),
        ]
    )
    story.screen.say("Ctrl-C ends everything.")
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return
