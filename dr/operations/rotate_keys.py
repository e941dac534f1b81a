"""`dr keys rotate`, and what each backup does for the keys: who can open what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

from dr.errors import (
    DEGRADED,
    INTERRUPTED,
    DrError,
    InterruptedRunError,
    LockedError,
    UsageError,
    code_of,
    every_error,
    worst,
)
from dr.evidence.acts import KeyChange, KeyEvent
from dr.evidence.record import Outcome, worst_outcome
from dr.operations.lifecycle import Finished, Run, Verb, carry_out, put_on_record, run_of
from dr.operations.self_backup import save_self
from dr.plan.declarations import Loaded
from dr.run.keys.escrow import Ensured, ensure_escrow, renew_escrow
from dr.run.keys.key_versions import kept_versions
from dr.run.keys.recipient import recipient_of
from dr.run.keys.rotation import Rotated, finish, rotate
from dr.run.points.presence import refuse_exchanged
from dr.run.workspace.each_target import everywhere
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session, new_id


@contextmanager
def changing(session: Session, system: str) -> Iterator[None]:
    """Be the only one to change a system's keys; `LockedError` at once when another does."""
    session.state.make()
    with session.state.hold(f"{system}.keys", what=f"the keys of {system} are being changed"):
        yield


# -- at each backup ----------------------------------------------------------------------------------


def keep_keys(session: Session, toolbox: Toolbox, names: Sequence[str]) -> list[str]:
    """Finish rotations that were begun and see that each repository has its escrow key; return problems in words.

    Called while the system is locked, after its point is on record: nothing here takes the point away.
    """
    system, started = toolbox.plan.system, session.clock()
    places = {place.name: place for place in toolbox.places if place.name in names}
    problems: list[str] = []
    changes: list[KeyChange] = []
    try:
        with changing(session, system):
            for name, kept in everywhere(places, lambda place: _keep(session, toolbox, place)).items():
                if isinstance(kept, DrError):
                    problems.append(f"the escrow key on {name} could not be seen to: {kept}")
                else:
                    problems += kept[1]
                    changes += kept[0]
    except (InterruptedRunError, LockedError) as error:
        return [f"the keys were not seen to: {error.what}"]
    if changes:
        _record_escrow(session, tuple(places.values()), system, changes, started)
    return problems


def _record_escrow(
    session: Session, places: tuple[Place, ...], system: str, changes: Sequence[KeyChange], started: datetime
) -> None:
    """Put it on record, and beside the repositories now: the record of the backup is there already."""
    put_on_record(
        session,
        key_event(
            session,
            system,
            "escrow",
            worst_outcome([change.outcome for change in changes]),
            run_id=new_id("keys-", started),
            started=started,
            changes=changes,
            versions=session.versions,
        ),
        lambda: places,
    )


def _keep(session: Session, toolbox: Toolbox, place: Place) -> tuple[list[KeyChange], list[str]]:
    changes, problems = [], []
    if rotated := finish(place, session.state, _replicas_of(toolbox, place)):
        if rotated.removed:
            changes.append(_rotation(place, rotated))
        if rotated.waits:
            problems.append(f"{place.name} still opens with the old passphrase: {_WAITS}")
    ensured = ensure_escrow(place, session.state)
    if ensured.done == "made" or ensured.removed:
        changes.append(_escrow(place, ensured))
    return changes, [*problems, *ensured.notes]


def _replicas_of(toolbox: Toolbox, place: Place) -> tuple[Place, ...]:
    return toolbox.replicas if place.name == toolbox.places[0].name else ()


_WAITS = "put the new one in the place that the plan names, then rotate again"


# -- rotation ----------------------------------------------------------------------------------------


def rotate_keys(
    session: Session, loaded: Loaded, *, target: str | None = None, escrow: bool = False, given: str | None = None
) -> Finished[KeyEvent]:
    """Change a system's passphrase, or its escrow key, on each target; recorded whatever happened.

    Backups that run meanwhile go on. A target that fails keeps its keys; what was begun there is finished later.
    """
    if escrow and recipient_of(session.state) is None:
        raise UsageError("escrow is switched off", "escrow/recipient", hint="take the word `none` out of that file")
    verb = key_verb("escrow" if escrow else "rotation")
    with changing(session, loaded.plan.system):
        toolbox = session.toolbox(loaded)
        places = [place for place in toolbox.places if target in (None, place.name)]

        def act(run: Run) -> KeyEvent:
            changed = _each(session, toolbox, places, escrow=escrow, given=given)
            changes = [change for change, _ in changed]
            run.reached += [toolbox.place(each.target) for each in changes if each.outcome != "failed"]
            outcome = _whole([change.outcome for change in changes])
            run.exit_code = DEGRADED if outcome == "degraded" else worst([code for _, code in changed])
            return of_run(run, "escrow" if escrow else "rotation", outcome, changes=changes, versions=toolbox.versions)

        done = carry_out(run_of(session, loaded, verb), verb, act)
    save_self(session)  # a recovery without this host needs the new passphrase
    return done


KeyAct = Literal["escrow", "rotation", "destruction"]


def key_event(
    session: Session,
    system: str,
    what: KeyAct,
    outcome: Outcome,
    *,
    run_id: str,
    started: datetime,
    versions: Mapping[str, str],
    changes: Sequence[KeyChange] = (),
    **more: Any,
) -> KeyEvent:
    """Return the record of a change of keys that ends now: the one place where it is put together."""
    return KeyEvent(
        run_id=run_id,
        system=system,
        what=what,
        outcome=outcome,
        started=started,
        finished=session.clock(),
        targets=tuple(changes),
        versions=dict(versions),
        **more,
    )


def of_run(run: Run, what: KeyAct, outcome: Outcome, *, versions: Mapping[str, str], **more: Any) -> KeyEvent:
    """Return the same of a run."""
    return key_event(
        run.session, run.system, what, outcome, run_id=run.run_id, started=run.started, versions=versions, **more
    )


def key_verb(what: KeyAct) -> Verb[KeyEvent]:
    """Return the verb of a change of keys."""

    def nothing(run: Run, error: DrError, outcome: Outcome) -> KeyEvent:
        versions = run.session.versions_here
        return of_run(run, what, outcome, versions=versions, error=str(error), error_hint=error.hint)

    return Verb(name="keys", prefix="destruction-" if what == "destruction" else "keys-", nothing=nothing)


def _each(
    session: Session, toolbox: Toolbox, places: Sequence[Place], *, escrow: bool, given: str | None
) -> list[tuple[KeyChange, int]]:
    """Change the keys place by place; an interruption leaves out those that come after."""
    changed = list[tuple[KeyChange, int]]()
    for place in places:
        changed.append(_one(session, toolbox, place, escrow=escrow, given=given))
        if changed[-1][1] == INTERRUPTED:
            break
    return changed


def _one(session: Session, toolbox: Toolbox, place: Place, *, escrow: bool, given: str | None) -> tuple[KeyChange, int]:
    def unused() -> bool:
        return not session.state.is_held(place.system)

    def act() -> KeyChange:
        place.store.reachable()
        refuse_exchanged(place)
        if escrow:
            return _escrow(place, renew_escrow(place, session.state))
        replicas = _replicas_of(toolbox, place)
        return _rotation(place, rotate(place, session.state, given=given, unused=unused, replicas=replicas))

    return guarded(place.name, act)


def guarded(target: str, act: Callable[[], KeyChange]) -> tuple[KeyChange, int]:
    """Do something to the keys on one target; what fails is a fact, with the exit code it deserves."""
    try:
        with every_error():
            change = act()
        return change, code_of(change.outcome)
    except InterruptedRunError as error:
        return KeyChange(target=target, outcome="aborted", error=str(error)), INTERRUPTED
    except DrError as error:
        failed = KeyChange(target=target, outcome="failed", error=str(error), error_hint=error.hint)
        return failed, error.exit_code


def _rotation(place: Place, rotated: Rotated) -> KeyChange:
    notes = kept_versions(place, rotated.removed)
    if rotated.waits:
        notes = (*notes, f"the new passphrase opens the repository, and so does the old: {_WAITS}")
    elif rotated.left or rotated.why:
        notes = (*notes, f"the old passphrase still opens the repository: {rotated.why}")
    return KeyChange(
        target=place.name,
        outcome="degraded" if rotated.left or rotated.why else "ok",
        added=rotated.added,
        removed=rotated.removed,
        left=rotated.left,
        shown=("the new passphrase opens the repository",),
        notes=notes,
    )


def _escrow(place: Place, ensured: Ensured) -> KeyChange:
    return KeyChange(
        target=place.name,
        outcome="degraded" if ensured.record.stale else "ok",
        added=(ensured.record.escrow,) if ensured.done == "made" else (),
        removed=ensured.removed,
        left=ensured.record.stale,
        shown=("restic opened the repository with the escrow key when it was made",),
        notes=(*ensured.notes, *kept_versions(place, ensured.removed)),
    )


def _whole(outcomes: Sequence[Outcome]) -> Outcome:
    """Done on some targets and not on others is done in part."""
    whole = worst_outcome(list(outcomes))
    return "degraded" if whole == "failed" and set(outcomes) - {"failed"} else whole
