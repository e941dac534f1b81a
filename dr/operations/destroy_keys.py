"""`dr keys destroy`: asked twice, refused while anything must be kept, done on every copy, and recorded."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from dr.errors import FAILED, OK, DrError, UsageError, every_error, worst
from dr.evidence.acts import Hold, KeyChange, KeyEvent
from dr.evidence.record import Outcome
from dr.late_dataclass import dataclass
from dr.operations.lifecycle import Finished, Run, carry_out, run_of
from dr.operations.rotate_keys import changing, guarded, key_verb, of_run
from dr.plan.declarations import Loaded
from dr.run.keys.destruction import LIMITS, Verdict, destroy_here, destroy_on, examine
from dr.run.workspace.toolbox import Toolbox
from dr.session import Session
from dr.tools.secrets import write_private

#: How long the code of the first step is good for.
GOOD_FOR = timedelta(minutes=15)


@dataclass(frozen=True)
class DestructionAsked:
    """What would be destroyed, and the code that the second step must repeat before it expires."""

    verdict: Verdict
    code: str
    expires: datetime


def sentence(system: str) -> str:
    """Return what a person types to confirm a second time."""
    return f"destroy the keys of {system}"


def ask(session: Session, loaded: Loaded) -> DestructionAsked:
    """The first step: look at every copy, and give out a code. Destroys nothing.

    Raises `UsageError` when a hold or a lock forbids it.
    """
    verdict = _examined(session, loaded)
    now = session.clock()
    code = secrets.token_hex(4)
    kept = {"code": code, "expires": (now + GOOD_FOR).isoformat(), "shown": _shown(verdict)}
    write_private(_note(session, loaded), json.dumps(kept).encode())
    return DestructionAsked(verdict, code, now + GOOD_FOR)


def require_code(session: Session, loaded: Loaded, code: str) -> None:
    """Refuse a code that is wrong, expired, or was given out for other points than those there are now."""
    note = _note(session, loaded)
    hint = f"run `dr keys destroy {loaded.plan.system}` again to see what would die now, and for a new code"
    try:
        kept = json.loads(note.read_bytes())
        good, expires, shown = str(kept["code"]), datetime.fromisoformat(kept["expires"]), kept["shown"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError("no code was given out for this", "--confirm-again", hint=hint) from None
    if not secrets.compare_digest(good.encode(), code.encode()):
        raise UsageError("this is not the code that was given out", "--confirm-again", hint=hint)
    if session.clock() > expires:
        raise UsageError("the code has expired", "--confirm-again", hint=hint)
    if shown != _shown(_examined(session, loaded)):
        raise UsageError("the copies are not what they were when the code was given out", hint=hint)


def destroy(session: Session, loaded: Loaded) -> Finished[KeyEvent]:
    """The second step: destroy the keys on every target, then what this machine has of them; recorded.

    Asks the targets and the holds once more. Killed midway, it is begun again with a new code, and goes on.
    """
    verb = key_verb("destruction")
    with session.locked(loaded.plan.system), changing(session, loaded.plan.system):
        verdict = _examined(session, loaded)
        toolbox = session.toolbox(loaded)
        return carry_out(run_of(session, loaded, verb), verb, lambda run: _destroyed(run, toolbox, verdict))


def _destroyed(run: Run, toolbox: Toolbox, verdict: Verdict) -> KeyEvent:
    session, loaded = run.session, run.loaded
    results = [guarded(place.name, lambda p=place: destroy_on(p, session.state)) for place in toolbox.everywhere]  # type: ignore[misc]
    changes = [change for change, _ in results]
    done = all(change.outcome == "ok" for change in changes)
    left, error, hint = _here(session, loaded, toolbox) if done else ([], _UNTOUCHED, "")
    points = {p.run_id for each in verdict.repositories for p in each.points if _gone(changes, each.target)}
    outcome = _outcome(changes, error)
    run.reached += toolbox.everywhere
    run.exit_code = OK if outcome == "ok" else worst([code for _, code in results]) or FAILED
    run.once_kept(lambda: _note(session, loaded).unlink(missing_ok=True))
    return of_run(
        run,
        "destruction",
        outcome,
        versions=toolbox.versions,
        changes=changes,
        points=tuple(sorted(points)),
        limits=(*left, *LIMITS),
        error=error,
        error_hint=hint,
    )


_UNTOUCHED = "not every copy could be destroyed: the passphrases are kept, so that it can be gone on with"


def _outcome(changes: list[KeyChange], error: str | None) -> Outcome:
    if any(change.outcome == "aborted" for change in changes):
        return "aborted"
    return "failed" if error else "ok"


def _gone(changes: list[KeyChange], target: str) -> bool:
    return any(change.target == target and change.outcome == "ok" for change in changes)


def _here(session: Session, loaded: Loaded, toolbox: Toolbox) -> tuple[list[str], str | None, str]:
    """Destroy what is here; return what is left of it, why it was not done, and what to do about that."""
    try:
        with every_error():
            return destroy_here(toolbox, _others(session, loaded), now=session.clock()), None, ""
    except DrError as error:
        return [], f"the keys are destroyed, and what this machine has of the passphrase is not: {error}", error.hint


def _examined(session: Session, loaded: Loaded) -> Verdict:
    catalog, system = session.catalog, loaded.plan.system
    holds = catalog.holds(system)
    verdict = examine(
        session.toolbox(loaded),
        catalog.points([system]),
        holds,
        _others(session, loaded),
        now=session.clock(),
    )
    if verdict.obstacles:
        raise UsageError(
            "its keys may not be destroyed now",
            system,
            "; ".join(verdict.obstacles),
            hint=ways_on(verdict, [hold for hold in holds if hold.holds(session.clock())]),
        )
    return verdict


def ways_on(verdict: Verdict, holds: Sequence[Hold]) -> str:
    """Return what removes each kind of obstacle there is: our own hold, the service's, a lock."""
    service = [each.target for each in verdict.repositories if any(one.legal_hold for one in each.protected)]
    ways = [f"release the hold with `dr hold release {hold.hold_id} --reason TEXT`" for hold in holds]
    if service:
        where = " and ".join(service)
        ways.append(f"lift the legal hold at the service of {where}, with keys that may (s3:PutObjectLegalHold)")
    if any(each.locked_until for each in verdict.repositories):
        ways.append("wait until the locks have run out")
    return "; ".join(ways) or "remove what stands in the way, then run it again"


def _others(session: Session, loaded: Loaded) -> list:  # type: ignore[type-arg]
    plans = session.declarations.plans
    return [other.plan for name, other in plans.items() if name != loaded.plan.system]


def _shown(verdict: Verdict) -> str:
    """Return a digest of what a person was shown: points and places."""
    told = [(each.target, sorted(point.run_id for point in each.points)) for each in verdict.repositories]
    return hashlib.sha256(json.dumps([verdict.system, told]).encode()).hexdigest()


def _note(session: Session, loaded: Loaded) -> Path:
    return session.state.escrow / f"{loaded.plan.system}.destroy"
