"""`dr drill` and `dr recover`: one engine, rehearsed and real."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Literal

from dr.errors import INTERRUPTED, DrError, UsageError
from dr.evidence.record import Drill, ObjectivesThen, Outcome
from dr.operations.lifecycle import Finished, Run, Verb, across, carry_out, run_of
from dr.operations.ransomware_target import scratch_of
from dr.operations.self_backup import save_self
from dr.plan.load import Loaded
from dr.queries.attack_history import attacked, way_back
from dr.queries.elsewhere import lacks_of, what_else, what_is_left
from dr.queries.named import points_for
from dr.queries.target_posture import posture_of
from dr.report.verdict import drill_exit_code
from dr.run.recovery.drill import DrillRequest, run_drill
from dr.run.recovery.place.sandbox import sweep
from dr.run.recovery.recover import RecoverRequest, RecoveryPlan, plan_recover, refuse_live, refuse_unfit, run_recover
from dr.run.recovery.scenario_ransomware import refuse_unready, run_ransomware
from dr.session import Session
from dr.tools.lock import hold

#: So many of the last drills that worked say how long a recovery may take.
_RECENT = 5
_CONTROL_LOSS = "control-loss"


@dataclass(frozen=True, kw_only=True)
class RecoverOptions:
    """How the person wants a recovery. `force` writes over what is in `to`, `replaced` names the live databases
    that may be replaced, `accepted` the objects that may be missing, `as_files` leaves dumps as files.
    """

    to: Path
    at: datetime | None = None
    point: str | None = None
    target: str | None = None
    force: bool = False
    replaced: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()
    as_files: bool = False


@dataclass(frozen=True)
class RecoveryIntent:
    """What a recovery would do, and how long it took in drills: seconds, an estimate, and from how many."""

    would: RecoveryPlan
    estimate_seconds: float | None
    drills: int


@dataclass(frozen=True, kw_only=True)
class DrillOptions:
    """What the person asked for; None leaves it to the plan."""

    scenario: str | None = None
    at: datetime | None = None
    point: str | None = None
    target: str | None = None
    keep: bool = False
    kit: Path | None = None
    shares: tuple[Path, ...] = ()
    scratch: str | None = None


def drill(session: Session, items: list[Loaded], options: DrillOptions) -> list[Finished[Drill]]:
    """Drill systems side by side. A drill that could not run is recorded as failed, not left out.

    Raises `UsageError`, with nothing touched, when a scratch target is not safe to attack.
    """
    for loaded in items:
        if (options.scenario or loaded.plan.drill.scenario) == "ransomware":
            refuse_unready(scratch_of(session, loaded, options), session.state)
    session.catalog.close_abandoned(None, now=session.clock())
    sweep(session.state)
    return across(session, items, lambda loaded: drill_one(session, loaded, options))


def refuse_unfit_options(items: list[Loaded], options: DrillOptions) -> None:
    """Raise `UsageError`, with nothing touched, for options that do not go together."""
    from dr.operations import control_loss

    for loaded in items:
        scenario = options.scenario or loaded.plan.drill.scenario
        if options.point and scenario in ("ransomware", _CONTROL_LOSS):
            raise UsageError(f"the scenario {scenario} finds its point by itself", "--point", hint="leave it out")
        if scenario == _CONTROL_LOSS:
            control_loss.refuse_unfit(options.kit, options.shares, keep=options.keep)
        elif options.kit or options.shares:
            raise UsageError(
                f"the scenario {scenario} has no use for a kit", "--kit", hint="say --scenario control-loss"
            )


def drill_one(session: Session, loaded: Loaded, options: DrillOptions) -> Finished[Drill]:
    """Drill one system."""
    scenario = options.scenario or loaded.plan.drill.scenario
    verb = _verb("drill", options, scenario)
    return carry_out(
        run_of(session, loaded, verb), verb, lambda run: _drilled(run, options, scenario), scenario=scenario
    )


def _drilled(run: Run, options: DrillOptions, scenario: str) -> Drill:
    session, loaded = run.session, run.loaded
    request = DrillRequest(
        drill_id=run.run_id,
        scenario=scenario,
        at=options.at,
        point=options.point,
        lacks=lacks_of(session, options.point),
        target=options.target,
        keep=options.keep,
        kit=options.kit,
        shares=options.shares,
        t_loss=run.started,
        clock=session.clock,
    )
    fact = _held(session, loaded, request, options)
    if fact.outcome != "aborted":
        fact = replace(fact, posture=posture_of(session, fact.target, system=run.system))
    return _of_plan(run, fact)


def _ransomware(session: Session, loaded: Loaded, request: DrillRequest, options: DrillOptions) -> Drill:
    """Hold a ransomware drill, alone in its scratch place: a second of the same system waits for another time."""
    scratch, system = scratch_of(session, loaded, options), loaded.plan.system
    refuse_unready(scratch, session.state)
    with hold(session.state / "locks" / f"{system}.ransomware.lock", what=f"a ransomware drill of {system} is at work"):
        return run_ransomware(session.toolbox(loaded), session.points(loaded), request, scratch)


def _held(session: Session, loaded: Loaded, request: DrillRequest, options: DrillOptions) -> Drill:
    """Hold the drill that its scenario asks for."""
    if request.scenario == "ransomware":
        return _ransomware(session, loaded, request, options)
    if request.scenario == _CONTROL_LOSS:
        from dr.operations.control_loss import hold

        return hold(session, loaded, request)
    toolbox = session.toolbox(loaded)
    return run_drill(toolbox, points_for(session, loaded, toolbox, request.point), request)


def recover(session: Session, loaded: Loaded, options: RecoverOptions) -> Finished[Drill]:
    """Recover a system for real. `UsageError` before anything is touched when something is in the way."""
    refuse_unfit(options.to, system=loaded.plan.system, force=options.force)
    verb = _verb("recovery", options)
    run = run_of(session, loaded, verb)
    toolbox, request = session.toolbox(loaded), _request(session, options, run.run_id, run.started)
    refuse_live(toolbox, request)

    def act(run: Run) -> Drill:
        return _of_plan(run, run_recover(toolbox, points_for(session, loaded, toolbox, options.point), request))

    done = carry_out(run, verb, act)
    save_self(session)
    return done


def intent(session: Session, loaded: Loaded, options: RecoverOptions) -> RecoveryIntent:
    """Return what `recover` would do; raises what stands in its way. Touches nothing."""
    request = _request(session, options, "", session.clock())
    try:
        toolbox = session.toolbox(loaded)
        would = plan_recover(toolbox, points_for(session, loaded, toolbox, options.point), request)
    except UsageError:
        raise
    except DrError as error:
        error.hint = "; ".join(filter(None, (error.hint, _way_back(session, loaded, options))))
        raise
    records = session.catalog.facts(("drill", "recovery"), systems=[loaded.plan.system])
    known = [record.fact for record in records if isinstance(record.fact, Drill)]
    taken = [fact.rta_seconds for fact in known if fact.rta_seconds and fact.scenario == "system-loss"][-_RECENT:]
    return RecoveryIntent(would, median(taken) if taken else None, len(taken))


def _ways_on(session: Session, loaded: Loaded, options: RecoverOptions | DrillOptions, fact: Drill) -> str:
    """Return what to type when a recovery failed: the way back before an attack, or what else there is."""
    if (hint := _way_back(session, loaded, options)) or isinstance(options, DrillOptions):
        return hint
    if options.at is not None:
        return ""
    forced = options.target is not None or options.point is not None
    return what_else(session, loaded, fact, to=options.to) if forced else what_is_left(loaded, fact, to=options.to)


def _way_back(session: Session, loaded: Loaded, options: RecoverOptions | DrillOptions) -> str:
    """Return what to type when a recovery failed and a target was attacked; nothing when none was."""
    if options.at:
        return ""
    places = loaded.plan.places if options.target is None else [options.target]
    to = str(options.to) if isinstance(options, RecoverOptions) else "DIR"
    for target, _, before in attacked(session, loaded, places):
        typed = way_back(loaded.plan.system, target, before, to)
        return f"the objects on {target} were deleted or overwritten: go back to before that with `{typed}`"
    return ""


def _request(session: Session, options: RecoverOptions, drill_id: str, t_loss: datetime) -> RecoverRequest:
    return RecoverRequest(
        drill_id=drill_id,
        to=options.to,
        at=options.at,
        point=options.point,
        lacks=lacks_of(session, options.point),
        target=options.target,
        force=options.force,
        replaced=options.replaced,
        accepted=options.accepted,
        as_files=options.as_files,
        t_loss=t_loss,
        clock=session.clock,
    )


def _of_plan(run: Run, fact: Drill) -> Drill:
    """Return the record with its plan; note where it goes: to the target it restored from, or to each it may know."""
    if fact.outcome in ("ok", "degraded"):
        with run.session.beside(run.system):  # the record is in the catalog, and the next run sends it
            places = run.session.toolbox(run.loaded).everywhere
            run.reached += [place for place in places if place.name == fact.target] or places
    return replace(fact, plan_digest=run.loaded.digest)


def _verb(
    name: Literal["drill", "recovery"], options: DrillOptions | RecoverOptions, scenario: str = "system-loss"
) -> Verb[Drill]:
    """Return the verb of a drill, or of a recovery."""

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Drill:
        wanted = run.loaded.plan.objectives
        return Drill(
            drill_id=run.run_id,
            system=run.system,
            scenario=scenario,
            real=name == "recovery",
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
        )

    def hint(run: Run, fact: Drill) -> str:
        asked = fact.outcome == "failed" and (fact.real or scenario != "ransomware")
        return _ways_on(run.session, run.loaded, options, fact) if asked else ""

    def code(fact: Drill) -> int:
        return INTERRUPTED if fact.outcome == "aborted" else drill_exit_code(fact)

    return Verb(name=name, prefix=f"{name}-", nothing=nothing, hint=hint, code=code)
