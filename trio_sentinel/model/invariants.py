"""What must hold after every input (core.md 20). Split asserts, one fact each; run in every test and in the daemon.

``check_state`` looks at one moment; ``Marks`` remembers what may never go back.
"""

from __future__ import annotations

from attrs import Factory, define

from trio_sentinel.errors import InvariantViolation
from trio_sentinel.model.state import (
    Master,
    ReconfiguringReplicas,
    SendingPromotion,
    SentinelState,
    UpdatingConfig,
    WaitingForPromotion,
)
from trio_sentinel.model.values import MAX_EPOCH, Address, Epoch, RunId


def require(fact: bool, number: int, what: str) -> None:
    """Raise InvariantViolation naming the property of core.md 20 unless `fact` holds."""
    if not fact:
        raise InvariantViolation(f"property {number}: {what}")


def check_state(state: SentinelState, master: Master) -> None:
    """The properties of one master at one moment."""
    require(master.leader_epoch <= state.current_epoch, 5, f"{master.name}: leader epoch above the current epoch")
    require(master.failover_epoch <= state.current_epoch, 5, f"{master.name}: failover epoch above the current epoch")
    require(master.config_epoch <= state.current_epoch, 5, f"{master.name}: config epoch above the current epoch")
    require(0 <= state.current_epoch <= MAX_EPOCH, 6, "epoch out of range")
    require(master.s_down or not master.o_down, 12, f"{master.name}: O_DOWN without S_DOWN")
    require(state.my_id not in master.peers, 27, f"{master.name}: my own id among the peers")
    require(master.address not in master.replicas, 21, f"{master.name}: the master is among its replicas")
    failover = master.failover
    if failover is None:
        return
    require(failover.epoch == master.failover_epoch, 10, f"{master.name}: the attempt lost its epoch")
    chosen = isinstance(failover.phase, SendingPromotion | WaitingForPromotion | ReconfiguringReplicas | UpdatingConfig)
    require(chosen == (failover.promoted is not None), 24, f"{master.name}: a promoted replica outside its phases")
    if failover.promoted is not None:
        require(failover.promoted in master.replicas, 24, f"{master.name}: the promoted replica is unknown")


def check_parallel_syncs(master: Master) -> None:
    """Property 19, right after another replica got its order: `parallel-syncs` may be lowered meanwhile."""
    busy = sum(replica.being_reconfigured for replica in master.replicas.values())
    require(busy <= master.settings.parallel_syncs, 19, f"{master.name}: {busy} replicas are reconfigured at once")


@define(eq=False)
class Marks:
    """The highest epochs seen and the votes given, by master."""

    current_epoch: Epoch = 0
    leader_epochs: dict[str, Epoch] = Factory(dict)
    configurations: dict[str, tuple[Epoch, Address]] = Factory(dict)
    """The configuration epoch and the address that clients and peers are told with it."""
    votes: dict[str, tuple[Epoch, RunId]] = Factory(dict)

    def check(self, state: SentinelState, master: Master) -> None:
        """Compare with what was, then remember what is."""
        name = master.name
        require(state.current_epoch >= self.current_epoch, 1, "the current epoch fell")
        require(master.leader_epoch >= self.leader_epochs.get(name, 0), 2, f"{name}: the leader epoch fell")
        epoch, address = self.configurations.get(name, (0, master.current_address))
        require(master.config_epoch >= epoch, 20, f"{name}: the config epoch fell")
        same = master.config_epoch > epoch or master.current_address == address
        require(same, 21, f"{name}: {address} and {master.current_address} in config epoch {epoch}")
        given = self.votes.get(name)
        if master.voted_for is not None:
            same = given is None or given[0] != master.leader_epoch or given[1] == master.voted_for
            require(same, 3, f"{name}: two votes in epoch {master.leader_epoch}")
            self.votes[name] = (master.leader_epoch, master.voted_for)
        self.current_epoch = state.current_epoch
        self.leader_epochs[name] = master.leader_epoch
        self.configurations[name] = master.config_epoch, master.current_address

    def forget(self, name: str) -> None:
        """The master was removed: its configuration starts anew, its vote epoch does not (core.md Q25)."""
        self.configurations.pop(name, None)
