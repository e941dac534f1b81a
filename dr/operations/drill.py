"""`dr drill` and `dr recover`: one engine, rehearsed and real."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Literal

from dr.errors import INTERRUPTED, DrError
from dr.evidence.record import Drill, ObjectivesThen, Outcome
from dr.operations.heal import heal
from dr.operations.lifecycle import Finished, Run, Verb, carry_out, run_of
from dr.operations.scenarios import driver_of, refuse_unfit
from dr.operations.self_backup import save_self
from dr.operations.side_by_side import across, restoring
from dr.plan.declarations import Loaded
from dr.plan.scenario import SCENARIOS
from dr.queries.recovery_points import known_here, lacks_of, points_for, ways_on
from dr.queries.target_posture import posture_of
from dr.report.verdict import drill_exit_code
from dr.run.recovery.recover import refuse_live, run_recover
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session

#: Among so many of the last drills is the last of a sample that was done.
_RECENT, _DONE = 50, ("ok", "degraded")


def drill(session: Session, items: list[Loaded], request: RecoveryRequest) -> list[Finished[Drill]]:
    """Drill systems side by side. A drill that could not run is recorded as failed, not left out.

    Raises `UsageError`, with nothing touched, for what does not go together, or is not safe to do.
    """
    for loaded in items:
        refuse_unfit(session, loaded, _of(loaded, request))
    heal(session, far=True)
    return across(session, items, lambda loaded: drill_one(session, loaded, request, alone=len(items) == 1))


def drill_one(session: Session, loaded: Loaded, request: RecoveryRequest, *, alone: bool = False) -> Finished[Drill]:
    """Drill one system; unless it is `alone`, once there is room for it beside the others of this command."""
    request = _of(loaded, request)
    verb = _verb(request)
    with nullcontext() if alone else restoring(session, loaded):
        run = run_of(session, loaded, verb)
        return carry_out(run, verb, lambda run: _drilled(run, _begun(run, request)), scenario=request.assumes)


def _of(loaded: Loaded, request: RecoveryRequest) -> RecoveryRequest:
    """Return what is asked of one system: the scenario is its plan's where none was named."""
    return replace(request, scenario=request.scenario or loaded.plan.drill.scenario)


def _begun(run: Run, request: RecoveryRequest) -> RecoveryRequest:
    """Return what is asked with what is known once it begins: its id, the moment of loss, and what the record says."""
    session = run.session
    return replace(
        request,
        drill_id=run.run_id,
        t_loss=run.started,
        clock=run.clock,
        lacks=lacks_of(session, request.point),
        own_runs=known_here(session),
        sample_from=0 if request.real else _turn_of(run),
    )


def _turn_of(run: Run) -> int:
    """Return where the last drill of a sample ended: there the next one goes on."""
    if run.loaded.plan.drill.sample is None:
        return 0
    known = run.session.catalog.newest(("drill",), [run.system], since=None, number=_RECENT)
    facts = [sealed.fact for sealed in (stored.sealed() for stored in known)]
    ends = [fact.sampled.end for fact in facts if isinstance(fact, Drill) and fact.sampled and fact.outcome in _DONE]
    return int(ends[-1], 16) if ends else 0


def _drilled(run: Run, request: RecoveryRequest) -> Drill:
    fact = driver_of(request.assumes).hold(run.session, run.loaded, request)
    if fact.outcome != "aborted":
        fact = replace(fact, posture=posture_of(run.session, fact.target, system=run.system))
    return _of_plan(run, fact)


def recover(session: Session, loaded: Loaded, request: RecoveryRequest) -> Finished[Drill]:
    """Recover a system for real. `UsageError` before anything is touched when something is in the way."""
    verb = _verb(request)
    run = run_of(session, loaded, verb)
    toolbox = session.toolbox(loaded, known=bool(request.paths) and not request.in_place)
    begun = _begun(run, request)
    refuse_live(toolbox, session.points(loaded), begun)
    if request.in_place:
        heal(session, loaded.plan.system, far=True)

    def act(run: Run) -> Drill:
        return _of_plan(run, run_recover(toolbox, points_for(session, loaded, toolbox, request.point), begun))

    done = carry_out(run, verb, act)
    save_self(session)
    return done


def _of_plan(run: Run, fact: Drill) -> Drill:
    """Return the record with its plan; note where it goes: to the target it restored from, or to each it may know."""
    if fact.outcome in ("ok", "degraded"):
        with run.session.beside(run.system):  # the record is in the catalog, and the next run sends it
            places = run.session.toolbox(run.loaded, known=True).everywhere
            run.reached += [place for place in places if place.name == fact.target] or places
    return replace(fact, plan_digest=run.loaded.digest)


def _verb(request: RecoveryRequest) -> Verb[Drill]:
    """Return the verb of a drill, or of a recovery."""
    name: Literal["drill", "recovery"] = "recovery" if request.real else "drill"
    scenario = request.assumes

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Drill:
        wanted = run.loaded.plan.objectives
        return Drill(
            drill_id=run.run_id,
            system=run.system,
            scenario=scenario,
            real=request.real,
            outcome=outcome,
            t_loss=run.started,
            started=run.started,
            finished=run.session.clock(),
            objectives=ObjectivesThen(rto_seconds=wanted.rto, rpo_seconds=wanted.rpo, mtd_seconds=wanted.mtd),
            sandbox="not used",
            error=str(error),
            error_hint=error.hint,
            error_code=error.exit_code,
            plan_digest=run.loaded.digest,
            because=request.because,
            selected=request.selected,
            in_place=request.in_place,
        )

    def hint(run: Run, fact: Drill) -> str:
        asked = fact.outcome == "failed" and (fact.real or not SCENARIOS[scenario].attacks_scratch)
        return ways_on(run.session, run.loaded, request, fact) if asked else ""

    def code(fact: Drill) -> int:
        return INTERRUPTED if fact.outcome == "aborted" else drill_exit_code(fact)

    return Verb(name=name, prefix=f"{name}-", nothing=nothing, hint=hint, code=code)
