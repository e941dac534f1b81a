"""`dr target history` and `dr target rewind`: what happened to a target, and what is on top there put back."""

from __future__ import annotations

from datetime import datetime

from dr.errors import DrError, UsageError, every_error
from dr.evidence.acts import Rewind
from dr.evidence.record import Outcome
from dr.late_dataclass import dataclass
from dr.operations.lifecycle import Finished, Run, Verb, carry_out, outcome_of, run_of
from dr.plan.declarations import Loaded
from dr.queries.attack_history import named
from dr.run.timetravel.point_in_time import versions_of
from dr.run.timetravel.rewind import RewindStep, Rewound, nothing_there, rewind, steps_to
from dr.run.workspace.toolbox import Place
from dr.session import Session
from dr.tools.s3_versions import S3Versions
from dr.tools.view import View

# -- rewind ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prospect:
    """What a rewind of one system would do: the steps for its repository, and for the evidence beside it."""

    loaded: Loaded
    place: Place
    moment: datetime
    parts: tuple[tuple[S3Versions, list[RewindStep]], ...]
    objects: int
    intact: int

    @property
    def steps(self) -> list[RewindStep]:
        """All of them."""
        return [step for _, steps in self.parts for step in steps]


def foresee_rewind(session: Session, target: str, moment: datetime, *, system: str | None = None) -> list[Prospect]:
    """Return what a rewind would do, system by system. Raises when the target keeps no versions, or held nothing."""
    if target not in session.declarations.targets:
        named(session, target, system or "")
    return [_foresee(session, loaded, name, moment) for loaded, name in named(session, target, system)]


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
    beside = place.driver.versions(place.evidence)
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
