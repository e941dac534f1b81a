"""`dr target history` and `dr target rewind`: what happened to a target, and what is on top there put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from dr.errors import FAILED, INTERRUPTED, DrError, InterruptedRunError, UsageError, every_error
from dr.evidence.acts import Rewind
from dr.evidence.record import Outcome
from dr.orchestrator.lifecycle import Finished, Run, Verb, carry_out, outcome_of, run_of
from dr.orchestrator.session import Session
from dr.plan.load import Loaded
from dr.run.past.history import Change, History, read_history
from dr.run.past.rewind import Rewound, Step, nothing_there, rewind, steps_to
from dr.run.past.travel import versions_of
from dr.run.toolbox import Place, is_away
from dr.tools.s3 import S3Store
from dr.tools.s3_versions import S3Versions
from dr.tools.view import View, hash_in


@dataclass(frozen=True)
class Told:
    """The history of one system on one target; `history` None where no versions are kept, `error` says why else."""

    system: str
    target: str
    history: History | None = None
    error: DrError | None = None


def history(session: Session, name: str) -> list[Told]:
    """Tell the history of a target, or of all targets of a system. Reads only, and needs no passphrase."""
    return [_told(session, loaded, target) for loaded, target in _named(session, name)]


def _named(session: Session, name: str, system: str | None = None) -> list[tuple[Loaded, str]]:
    plans = session.declarations.plans
    if name in session.declarations.targets:
        found = [(loaded, name) for loaded in plans.values() if name in loaded.plan.places]
        found = [pair for pair in found if system in (None, pair[0].plan.system)]
    elif name in plans and system is None:
        found = [(plans[name], target) for target in plans[name].plan.places]
    else:
        known = ", ".join(sorted(session.declarations.targets))
        raise UsageError(f"there is no target {name!r}", hint=f"targets: {known}" if known else "declare one")
    if not found:
        about = f"the system {system!r}" if system else "any system"
        raise UsageError(f"no plan keeps {about} on {name}", hint="see `dr validate` for plans that cannot be read")
    return sorted(found, key=lambda pair: (pair[0].plan.priority, pair[0].plan.system))


def _told(session: Session, loaded: Loaded, target: str) -> Told:
    system = loaded.plan.system
    try:
        with every_error():
            return Told(system, target, history_of(session, session.toolbox(loaded).place(target), system))
    except InterruptedRunError:
        raise
    except DrError as error:
        return Told(system, target, error=error)


def history_of(session: Session, place: Place, system: str) -> History | None:
    """Return the history of a place; None when it keeps no versions, or is a disk that is away."""
    if is_away(place):
        return None
    place.store.reachable()
    versions = versions_of(place)
    if versions is None:
        return None
    copies = [copy for point in session.catalog.points([system]) for copy in point.copies if copy.target == place.name]
    live = {snapshot for copy in copies for snapshot in copy.ids}
    return read_history(versions.versions(), live=live, harmless=lambda change: _harmless(versions, change))


def _harmless(versions: S3Versions, change: Change) -> bool:
    """Whether an object was junk from the first, or was overwritten by the same bytes."""
    promised, first = hash_in(change.name), versions.sha256_of(change.first)
    if promised and first != promised:
        return True
    return change.what == "overwritten" and versions.sha256_of(change.became) == first


def way_back(system: str, target: str, before: datetime, to: str = "DIR") -> str:
    """Return what to type to recover a system from a target as it was."""
    return f"dr recover {system} --target {target} --at {before.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} --to {to}"


def attacked(session: Session, loaded: Loaded, targets: Iterable[str]) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield which of these targets were attacked, by their versions: each with since when, and the last moment before.

    For what is said of an error: what cannot be asked is passed over.
    """
    for name in targets:
        found = _told(session, loaded, name).history
        if found and found.onset and found.before:
            yield name, found.onset, found.before


def attacks(session: Session, loaded: Loaded, targets: Iterable[str]) -> list[str]:
    """Say of each of these targets that was attacked since when, and what to type; nothing of the others."""
    system = loaded.plan.system
    return [
        f"objects on {name} were deleted or overwritten since {onset:%Y-%m-%d %H:%M:%SZ}: "
        f"see `dr target history {system}`; all is as it was before with `{way_back(system, name, before)}`"
        for name, onset, before in attacked(session, loaded, targets)
    ]


# -- rewind ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prospect:
    """What a rewind of one system would do: the steps for its repository, and for the evidence beside it."""

    loaded: Loaded
    place: Place
    moment: datetime
    parts: tuple[tuple[S3Versions, list[Step]], ...]
    objects: int
    intact: int

    @property
    def steps(self) -> list[Step]:
        """All of them."""
        return [step for _, steps in self.parts for step in steps]


def foresee_rewind(session: Session, target: str, moment: datetime, *, system: str | None = None) -> list[Prospect]:
    """Return what a rewind would do, system by system. Raises when the target keeps no versions, or held nothing."""
    if target not in session.declarations.targets:
        _named(session, target, system or "")
    return [_foresee(session, loaded, name, moment) for loaded, name in _named(session, target, system)]


def _foresee(session: Session, loaded: Loaded, target: str, moment: datetime) -> Prospect:
    place = session.toolbox(loaded).place(target)
    place.store.reachable()
    versions = versions_of(place)
    if versions is None:
        raise UsageError(
            "this target keeps no versions: there is nothing to go back to",
            place.store.where,
            hint="recover from another target; and turn versioning on for the next time",
        )
    parts, objects, intact = [], 0, 0
    beside = S3Versions.of(place.evidence) if isinstance(place.evidence, S3Store) else None
    for each in filter(None, (versions, beside)):
        listed = list(each.versions())
        view = View.of(listed, moment)
        if each is versions and "config" not in view.objects:
            raise nothing_there(place.store.where, moment)
        steps, right = steps_to(listed, view)
        parts.append((each, steps))
        objects, intact = objects + len(view.objects), intact + right
    return Prospect(loaded, place, moment, tuple(parts), objects, intact)


def rewind_all(session: Session, prospects: list[Prospect]) -> list[Finished[Rewind]]:
    """Put back what was foreseen, one system after the other; each is on record, whatever happened.

    The `details` say of single objects why they failed.
    """
    by_system = {prospect.loaded.plan.system: prospect for prospect in prospects}
    return session.each([x.loaded for x in prospects], lambda x: _rewind_one(session, by_system[x.plan.system]), jobs=1)


def _rewind_one(session: Session, prospect: Prospect) -> Finished[Rewind]:
    nothing = Rewound(counts={}, verified=0, failed={})
    verb = Verb(
        name="rewind",
        prefix="rewind-",
        nothing=lambda run, error, outcome: _fact(run, prospect, nothing, error, outcome=outcome),
    )
    with session.locked(prospect.loaded.plan.system):
        return carry_out(run_of(session, prospect.loaded, verb), verb, lambda run: _put_back(run, prospect))


def _put_back(run: Run, prospect: Prospect) -> Rewind:
    done, error = _all_steps(prospect)
    outcome: Outcome = outcome_of(error) if error else "degraded" if done.failed else "ok"
    if outcome == "ok":
        run.reached.append(prospect.place)
    run.exit_code = None if error is None else INTERRUPTED if outcome == "aborted" else FAILED
    run.details = {name: (why,) for name, why in done.failed.items()}
    return _fact(run, prospect, done, error, outcome=outcome)


def _all_steps(prospect: Prospect) -> tuple[Rewound, DrError | None]:
    """Do all steps; return what was done until an error ended it."""
    done = Rewound(counts={}, verified=0, failed={})
    for place, steps in prospect.parts:
        try:
            with every_error():
                done = _sum(done, rewind(place, steps))
        except DrError as error:
            return done, error
    return done, None


def _sum(one: Rewound, other: Rewound) -> Rewound:
    counts = {key: one.counts.get(key, 0) + other.counts.get(key, 0) for key in {*one.counts, *other.counts}}
    return Rewound(counts=counts, verified=one.verified + other.verified, failed=one.failed | other.failed)


def _fact(run: Run, prospect: Prospect, done: Rewound, error: DrError | None, *, outcome: Outcome) -> Rewind:
    return Rewind(
        run_id=run.run_id,
        system=run.system,
        target=prospect.place.name,
        started=run.started,
        finished=run.session.clock(),
        outcome=outcome,
        moment=prospect.moment,
        objects=prospect.objects,
        intact=prospect.intact,
        uncovered=done.counts.get("uncovered", 0),
        copied=done.counts.get("copied", 0),
        hidden=done.counts.get("hidden", 0),
        verified=done.verified,
        failed=tuple(sorted(done.failed)[:1000]),
        error=str(error) if error else None,
        error_hint=error.hint if error else "",
        plan_digest=prospect.loaded.digest,
        versions=dict(run.session.versions_here),
    )
