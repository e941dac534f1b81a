"""How targets are kept, and what their keys could destroy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dr.errors import DrError, InterruptedRunError, LockedError, UsageError, code_of
from dr.evidence.posture import Probe, TargetPosture
from dr.late_dataclass import dataclass
from dr.run.immutability.posture import look, unseen
from dr.run.immutability.probe_state import is_fresh, keep_probe, last_probe
from dr.session import Session
from dr.targets.driver import TargetDriver
from dr.targets.kinds import driver_of

if TYPE_CHECKING:
    from dr.plan.target import Target

log = logging.getLogger("dr.targets")


@dataclass(frozen=True)
class Checked:
    """One target's posture, and the exit code it deserves; what to do where it could not be looked at."""

    posture: TargetPosture
    exit_code: int
    hint: str = ""


def chosen(session: Session, names: Sequence[str]) -> list[Target]:
    """Return the targets named, or all but those where drills attack a copy.

    `UsageError` for one that is not declared, or when there is none.
    """
    known = session.declarations.targets
    for name in names:
        if name not in known:
            hint = f"targets: {', '.join(sorted(known))}" if known else "add its file in targets/"
            raise UsageError(f"there is no usable target {name!r}", str(session.config / "targets"), hint=hint)
    if not known:
        raise UsageError(
            f"there are no targets in {session.config / 'targets'}", hint="run `dr init` to make a first one"
        )
    attacked = {loaded.plan.drill.scratch for loaded in session.declarations.plans.values()}
    all_but = [name for name in sorted(known) if name not in attacked] or sorted(known)
    return [known[name] for name in (dict.fromkeys(names) if names else all_but)]


def check(session: Session, targets: Sequence[Target], *, probing: bool = True) -> list[Checked]:
    """Look at targets, one after the other, and try their keys unless `probing` is off."""
    return [_check(session, target, probing=probing) for target in targets]


def _check(session: Session, target: Target, *, probing: bool) -> Checked:
    now = session.clock()
    try:
        tried = _probed(session, target, fresh=False) if probing else _last(session, target)
        posture = look(target, now=now, probe=tried, state=session.state)
    except InterruptedRunError:
        raise
    except DrError as error:
        return Checked(unseen(target.target, error, now=now), error.exit_code, error.hint)
    return Checked(posture, code_of(posture.outcome))


def _last(session: Session, target: Target) -> Probe | None:
    can = driver_of(target).can_probe
    return last_probe(session.state, target.target, target.place) if can else None


def _probed(session: Session, target: Target, *, fresh: bool) -> Probe | None:
    """Return what the keys could do: from the last time when it is fresh and that is enough, else tried now."""
    driver = driver_of(target, session.state)
    if not driver.can_probe:
        return None
    last, now = _last(session, target), session.clock()
    if fresh and is_fresh(last, now):
        return last
    driver.open().store.reachable()
    session.state.make()
    try:
        with session.state.hold(f"probe-{target.target}", what="another run tries this target now"):
            found = _tried(driver, now)
            keep_probe(session.state, target.target, target.place, found)
    except LockedError:
        return last
    return found


def _tried(driver: TargetDriver, now: datetime) -> Probe:
    """Try it; keys that may not even write or list a canary are told, a service that is down is raised."""
    try:
        return driver.probe(now) or Probe(tried=now)
    except InterruptedRunError:
        raise
    except DrError as error:
        if error.retryable:
            raise
        return Probe(tried=now, error=f"not tried: {error}", error_hint=error.hint)


def posture_of(session: Session, name: str | None, *, system: str) -> TargetPosture | None:
    """Return the posture of the target a drill used, for its evidence; None when it used none.

    What cannot be looked at is said in it: a drill does not fail by it. The probe is tried when the last is older than
    a day: it writes a canary beside the repositories, never into one.
    """
    target = session.declarations.targets.get(name or "")
    if target is None:
        return None
    try:
        tried = _probed(session, target, fresh=True)
        return look(target, now=session.clock(), below=f"{system}/", probe=tried, state=session.state)
    except InterruptedRunError as error:
        return unseen(target.target, error, now=session.clock())
    except DrError as error:
        log.warning("%s: the target's posture could not be looked at: %s", system, error)
        return unseen(target.target, error, now=session.clock())
