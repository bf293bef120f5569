"""Opinions, epochs and votes: objectively down, and who leads (core.md 7.2, 9, 10).

The property that matters most: one vote for each master and epoch, and a vote counts only in the epoch it was given
for. Upstream compares a peer's vote with the *current* epoch, so that votes of a newer epoch are added to an older
self vote and two sentinels lead under one epoch (core.md Q1). ``votes_for_me`` compares with the attempt's own epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from trio_sentinel.model.events import (
    Abort,
    AgreedDown,
    EpochRaised,
    Event,
    FailoverAborted,
    FailoverStarted,
    LeaderElected,
    NoLongerAgreed,
    SelectionBegun,
    VoteCast,
)
from trio_sentinel.model.observations import Opinion
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Failover, Manner, Master, WaitingForVotes
from trio_sentinel.model.values import MAX_EPOCH, Address, Epoch, Millis, RunId

DESYNC_MS = 1000
"""`failover_start_time` is moved by a random 0..999 ms (core.md 10.4)."""
STAND_STEP_MS = 30
"""Candidates stand one after the other, each this much later than the one before: long enough for a vote to be
written and to arrive, so that the later ones vote instead of splitting the votes."""
STAND_JITTER_MS = 10
STAND_ROUND_TRIPS = 3
"""The step is at least so many times what the slowest answer to my question took: a vote needs a question, too, and a
save on either side. On a machine that is at its limits a fixed step lets everybody stand ..."""
MOST_STAND_STEP_MS = 300
"""... up to this: the first one may be dead."""
CROWD_STEP_MS = 20
"""The step grows by so much for each other master that is down: the first candidate has that many elections to win."""
MOST_CROWD_STEP_MS = 2000
BATCH_MS = 1000
"""How long elections of mine that are not decided yet keep others from beginning, at most."""
RETRY_MS = (50, 100)
"""After an election that nobody can win any more I stand again this soon (at least, and a random part on top) ..."""
QUICK_RETRIES = 5
"""... so many times in a row; then the wait is at least stock's."""
RETRY_SPREAD = 3
"""The random part is at least so many times what the lost election took, and doubles with each after the second: where
disks or links are slow, candidates must stand that much further apart for one of them to get the others' votes."""


def agreed(s: Situation, master: Master) -> int:
    """How many sentinels say that the master is down, I included (core.md 7.2)."""
    return 1 + _voices(s, master, lambda opinion: opinion.master_down)


def _voices(s: Situation, master: Master, says: Callable[[Opinion], bool]) -> int:
    """How many peers say so, and said it lately. A process that is known under two ids has one voice: when sentinels
    trade their addresses, a dead one's id may be left at the address of one that lives."""
    places = set()
    for run_id, peer in master.peers.items():
        opinion = s.opinion(master, run_id)
        if says(opinion) and s.fresh(opinion):
            places.add(s.state.place(peer.address))
    return len(places)


def check_objectively_down(s: Situation, master: Master) -> Iterator[Event]:
    """AgreedDown and NoLongerAgreed."""
    count = agreed(s, master) if master.s_down else 0
    down = master.s_down and count >= master.settings.quorum
    if down == master.o_down:
        return
    subject = s.state.subject_of_master(master)
    if not down:
        yield NoLongerAgreed(subject=subject)
        return
    yield AgreedDown(
        subject=subject,
        agreed=count,
        quorum=master.settings.quorum,
        stand_at_ms=s.now_ms + _stand_delay_ms(s, master),
        at_ms=s.now_ms,
    )


def _stand_delay_ms(s: Situation, master: Master) -> Millis:
    """My turn among the candidates: by id, and moved with each election of this master that led to nothing, so that a
    lame first one does not stay first. Whoever sees no replica to promote would win for nothing, and stands last.

    Otherwise it is the same for all masters, and the steps are longer where many are down: one sentinel then takes one
    epoch after the other. Several would take epochs from each other, and who has seen a higher one does not vote under
    a lower.
    """
    if not master.peers:
        return 0
    ids = sorted([s.state.my_id, *master.peers])
    moved = master.leader_epoch if master.leader_epoch > master.config_epoch else 0
    turn = (ids.index(s.state.my_id) + moved) % len(ids)
    if not _sees_a_successor(s, master):
        turn += len(ids)
    step_ms = max(STAND_STEP_MS, min(STAND_ROUND_TRIPS * _slowest_answer_ms(s, master), MOST_STAND_STEP_MS))
    others_down = sum(other.s_down for other in s.state.masters.values()) - 1
    step_ms += min(CROWD_STEP_MS * others_down, MOST_CROWD_STEP_MS)
    return turn * step_ms + s.dice.below(STAND_JITTER_MS)


def _sees_a_successor(s: Situation, master: Master) -> bool:
    """Whether I have a connection to a replica that may be promoted. How fresh its INFO is does not matter yet: a
    leader waits for the next one."""
    for replica in master.replicas.values():
        sense = s.server(master, replica.address)
        if sense.command.open and sense.priority != 0 and not replica.s_down:
            return True
    return False


def _slowest_answer_ms(s: Situation, master: Master) -> Millis:
    """How long a peer that agrees took to say so: its machine and the way there are as busy for votes."""
    opinions = [s.opinion(master, run_id) for run_id in master.peers]
    return max(
        (
            opinion.answered_at_ms - opinion.asked_at_ms
            for opinion in opinions
            if opinion.master_down and opinion.asked_at_ms is not None and not opinion.ask_in_flight
        ),
        default=0,
    )


def may_stand_at_ms(s: Situation, master: Master) -> Millis | None:
    """When an automatic attempt may start, if at all (core.md 11.1, property 11)."""
    if not master.o_down or master.failover is not None or s.state.disk_failing or master.stand_at_ms is None:
        return None
    if s.state.current_epoch >= MAX_EPOCH:
        return None  # a liar used the numbers up (core.md Q6): voting and watching go on
    at_ms = max(master.stand_at_ms, _batch_until_ms(s))
    if master.attempt_at_ms is None:
        return at_ms
    timeout_ms = master.settings.failover_timeout_ms
    wait_ms = 2 * timeout_ms
    if not _sees_a_successor(s, master):
        wait_ms += timeout_ms // 2  # others first: with a clock that is fast I would win each time, and for nothing
    return max(at_ms, master.attempt_at_ms + wait_ms)


def stands(master: Master) -> bool:
    """Whether I am a candidate for `master` and it is not decided yet."""
    running = master.failover
    return running is not None and running.manner is Manner.AUTOMATIC and isinstance(running.phase, WaitingForVotes)


def _batch_until_ms(s: Situation) -> Millis:
    """Until when my elections that are not decided yet keep others from beginning. Mostly they are decided long before,
    and the engine looks at once at those that wait.

    Where many masters fall at once, all that become ready meanwhile stand together and under one epoch. With an epoch
    for each, candidates overtake each other: who has seen a higher epoch does not vote under a lower.
    """
    asked = (s.state.masters[name].failover for name in s.candidacies)
    return max((BATCH_MS + one.phase_since_ms for one in asked if one is not None and one.asks_for_votes), default=0)


def check_candidacy(s: Situation, master: Master) -> Iterator[Event]:
    """Stand for election when it is time."""
    at_ms = may_stand_at_ms(s, master)
    if at_ms is not None and s.now_ms >= at_ms:
        yield from start_attempt(s, master, Manner.AUTOMATIC)


def start_attempt(s: Situation, master: Master, manner: Manner) -> Iterator[Event]:
    """A new epoch, the attempt, and my own vote in it; all on disk before anybody hears of it (core.md Q4)."""
    subject = s.state.subject_of_master(master)
    epoch = s.state.current_epoch
    if manner is not Manner.AUTOMATIC or not _may_share_epoch(s, master):
        epoch += 1
        yield EpochRaised(epoch=epoch, subject=subject)
    yield FailoverStarted(
        subject=subject,
        epoch=epoch,
        manner=manner,
        attempt_at_ms=s.now_ms + s.dice.below(DESYNC_MS),
        at_ms=s.now_ms,
    )
    yield VoteCast(subject=subject, candidate=s.state.my_id, epoch=epoch, attempt_at_ms=None)


def _may_share_epoch(s: Situation, master: Master) -> bool:
    """Whether the current epoch is one that I raised for an election of another master just now, and that nobody has
    heard of yet: votes are kept for each master, so it is as good as a new one, unless it was voted in here."""
    epoch = s.state.current_epoch
    return (
        s.senses.untold_epoch == epoch
        and master.leader_epoch < epoch
        and not _voted_under_another_name(s, master, epoch, s.state.my_id)
    )


def vote(s: Situation, master: Master, epoch: Epoch, candidate: RunId) -> Iterator[Event]:
    """The vote rule (core.md 10.2): whoever asks first under a new epoch gets it, whether or not the master is down.

    A candidate's delay before its own next attempt starts here too, so that a leader at work is not overtaken.
    """
    subject = s.state.subject_of_master(master)
    if epoch > s.state.current_epoch:
        yield EpochRaised(epoch=epoch, subject=subject)
    if (
        master.leader_epoch < epoch
        and s.state.current_epoch <= epoch
        and not _voted_under_another_name(s, master, epoch, candidate)
    ):
        attempt_at_ms = None if candidate == s.state.my_id else s.now_ms + s.dice.below(DESYNC_MS)
        yield VoteCast(subject=subject, candidate=candidate, epoch=epoch, attempt_at_ms=attempt_at_ms)


def means_another(s: Situation, master: Master, asked: Address, candidate: RunId) -> bool:
    """Whether a candidate that asks about `asked` means another master than the one that I know there: see its hellos.

    Candidates ask by address (core.md 7.3). A name that leads to the wrong place for a moment would get a candidate
    the votes of another deployment, beside those that were given in its own.
    """
    if s.state.told_as_one(master.address, asked):
        return False
    meant = [name for name in s.state.masters if _names(s.senses.opinions.get((name, candidate)), asked)]
    return bool(meant) and master.name not in meant


def _names(opinion: Opinion | None, address: Address) -> bool:
    said = None if opinion is None else opinion.stale
    return said is not None and (said.master_host.lower(), said.master_port) == (address.host.lower(), address.port)


def _voted_under_another_name(s: Situation, master: Master, epoch: Epoch, candidate: RunId) -> bool:
    """Whether the same servers, watched under a second name, had my vote of this epoch for somebody else.

    Candidates ask by address (core.md 7.3). After a switch of one name the other is still at the old address, and
    would answer for the same deployment with a vote of its own (Q19, property 3).
    """
    return any(
        other.leader_epoch == epoch and other.voted_for != candidate and _is_namesake(s, master, other)
        for other in s.state.masters.values()
    )


def _is_namesake(s: Situation, master: Master, other: Master) -> bool:
    """Whether servers of `master` are watched under the name of `other`, too."""
    servers, theirs = (master.address, *master.replicas), (other.address, *other.replicas)
    return other is not master and any(s.state.same_address(one, two) for one in servers for two in theirs)


def bequeath(s: Situation, master: Master) -> Iterator[Event]:
    """`master` is about to be removed. Its last vote goes to the other names of its servers: it may have been told, or
    will be once it is on disk, and the file will know this name no more."""
    if master.voted_for is None:
        return
    for other in s.state.masters.values():
        if other.leader_epoch < master.leader_epoch and _is_namesake(s, master, other):
            yield VoteCast(
                subject=s.state.subject_of_master(other),
                candidate=master.voted_for,
                epoch=master.leader_epoch,
                attempt_at_ms=None,
            )


def votes_for_me(s: Situation, master: Master, failover: Failover) -> int:
    """The fresh votes of known peers for me in the epoch of this attempt, and my own if it is mine (property 7)."""
    me = s.state.my_id
    own = int(master.voted_for == me and master.leader_epoch == failover.epoch)
    return own + _voices(s, master, lambda said: said.voted_for == me and said.vote_epoch == failover.epoch)


def election_deadline_ms(s: Situation, master: Master) -> Millis:
    """When an attempt that has not won is given up (core.md 11.2)."""
    assert master.attempt_at_ms is not None
    return master.attempt_at_ms + s.election_ms(master)


def check_election(s: Situation, master: Master) -> Iterator[Event]:
    """Count the votes of a running attempt."""
    failover = master.failover
    if failover is None or not isinstance(failover.phase, WaitingForVotes):
        return
    subject = s.state.subject_of_master(master)
    if not failover.phase.vote_saved:
        if s.state.disk_failing:
            yield FailoverAborted(subject=subject, reason=Abort.NOT_ELECTED, at_ms=s.now_ms)
        return
    votes = votes_for_me(s, master, failover)
    if failover.manner is Manner.FORCED or votes >= master.votes_needed:
        yield LeaderElected(subject=subject, votes=votes, voters=master.voters, at_ms=s.now_ms)
        yield SelectionBegun(subject=subject)
    elif _is_lost(s, master, failover, votes):
        yield FailoverAborted(
            subject=subject, reason=Abort.NOT_ELECTED, retry_at_ms=_retry_at_ms(s, master, failover), at_ms=s.now_ms
        )
    elif s.now_ms > election_deadline_ms(s, master):
        yield FailoverAborted(subject=subject, reason=Abort.NOT_ELECTED, at_ms=s.now_ms)


def _undecided(s: Situation, master: Master, failover: Failover) -> int:
    """How many peers may still vote, or may have voted unheard, under this epoch. One that has been down since before
    the attempt did not."""
    return sum(
        1
        for run_id, peer in master.peers.items()
        if s.opinion(master, run_id).vote_epoch < failover.epoch
        and not (peer.s_down and peer.s_down_since_ms is not None and peer.s_down_since_ms <= failover.phase_since_ms)
    )


def _is_lost(s: Situation, master: Master, failover: Failover, votes: int) -> bool:
    """Whether the votes that can still come are too few: peers that voted for another under this epoch or under a
    higher one will not change that, so nobody has to wait for the deadline."""
    if master.leader_epoch > failover.epoch:
        return True  # I voted for another meanwhile: it must not be overtaken
    return votes + _undecided(s, master, failover) < master.votes_needed


def _nobody_won(s: Situation, master: Master, failover: Failover) -> bool:
    """Whether no other candidate can have a majority under this epoch either: the votes are split for good."""
    ballots = Counter(
        opinion.voted_for
        for opinion in (s.opinion(master, run_id) for run_id in master.peers)
        if opinion.vote_epoch == failover.epoch and opinion.voted_for != s.state.my_id
    )
    most = max(ballots.values(), default=0)
    return most + _undecided(s, master, failover) < master.votes_needed


def _retry_at_ms(s: Situation, master: Master, failover: Failover) -> Millis | None:
    """When I may stand again after my own lost election: soon, under a new epoch (the new property 11), but only when
    nobody won it and enough voters are up, and never after a vote for another: a leader at work must not be
    overtaken. Otherwise after stock's wait, but not all losers in the same second."""
    if failover.manner is not Manner.AUTOMATIC or master.leader_epoch > failover.epoch:
        return None
    if not _nobody_won(s, master, failover):
        return None
    assert master.attempt_at_ms is not None
    least_ms, spread_ms = RETRY_MS
    timeout_ms, took_ms = master.settings.failover_timeout_ms, s.now_ms - failover.phase_since_ms
    spread_ms = max(spread_ms, RETRY_SPREAD * took_ms) << min(max(0, master.lost_elections - 1), QUICK_RETRIES)
    apart_ms = s.dice.below(min(spread_ms, 2 * timeout_ms))
    up = 1 + sum(1 for peer in master.peers.values() if not peer.s_down)
    if up < master.votes_needed or master.lost_elections >= QUICK_RETRIES:
        return max(s.now_ms, master.attempt_at_ms) + 2 * timeout_ms + apart_ms
    return s.now_ms + least_ms + apart_ms


def due(s: Situation, master: Master) -> Iterator[Millis]:
    """When an opinion grows too old, when I may stand, when an attempt is given up."""
    if (at_ms := may_stand_at_ms(s, master)) is not None:
        yield at_ms
    running = master.failover
    if running is not None and isinstance(running.phase, WaitingForVotes) and running.phase.vote_saved:
        yield election_deadline_ms(s, master) + 1
    if master.o_down:
        validity_ms = 5 * s.state.timing.ask_period_ms
        for run_id in master.peers:
            opinion = s.opinion(master, run_id)
            if opinion.master_down and s.fresh(opinion):
                yield opinion.answered_at_ms + validity_ms + 1
