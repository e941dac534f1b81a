"""Doing what is due of one system, one verb after the other. Loaded only when something is due: it knows every verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from dr.errors import LOCKED
from dr.late_dataclass import dataclass
from dr.operations.backup import backup_one
from dr.operations.drill import drill_one
from dr.operations.due_done import DueDone
from dr.operations.expire import EXPIRY, expire_due_of
from dr.operations.expire_target import ExpireOptions
from dr.operations.replicate import replicate_one
from dr.operations.verify import verify_one
from dr.plan.declarations import Loaded
from dr.queries.schedule import Verb, due_replicas
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session
from dr.tools import command


@dataclass(frozen=True)
class Work:
    """What is wanted, by verb and system; what was done goes into `done`."""

    session: Session
    wanted: Mapping[Verb, Mapping[str, Loaded]]
    done: DueDone

    def of(self, loaded: Loaded) -> None:
        """Do one system's verbs. While another run is at work on it there is nothing to prove or to drill yet."""
        session, wanted, done, system = self.session, self.wanted, self.done, loaded.plan.system
        if system in wanted["backup"] and not command.stopping():
            made = backup_one(session, loaded)
            done.backups.append(made)
            if made.exit_code == LOCKED:
                return
        self._replicate(loaded)
        if system in wanted["verify"] and self._may_begin(loaded, "verify"):
            proofs = verify_one(session, loaded, level=3)
            done.proofs.extend(proofs)
            if any(result.exit_code == LOCKED for result in proofs):
                return
        due = {verb: system in wanted[verb] and self._may_begin(loaded, verb) for verb in EXPIRY}
        done.expirations.extend(expire_due_of(session, loaded, ExpireOptions(**due)))
        drilled = wanted["drill"].get(system)
        if drilled and self._may_begin(loaded, "drill"):
            done.drills.append(drill_one(session, drilled, RecoveryRequest()))

    def _replicate(self, loaded: Loaded) -> None:
        """Replicate when that is due, now that a backup may have been made. Of a disk that is away nothing is said."""
        if due_replicas(self.session, loaded) and self._may_begin(loaded, "replicate"):
            found = replicate_one(self.session, loaded, due_only=True)
            self.done.replications.extend(result for result in found if not result.absent)

    def _may_begin(self, loaded: Loaded, verb: Verb | Literal["replicate"]) -> bool:
        """Whether nobody has asked to stop, and the window is still open after what was done before."""
        return not command.stopping() and not self.session.hold_back(loaded, verb)
