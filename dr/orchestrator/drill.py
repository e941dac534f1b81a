"""`dr drill` and `dr recover`: one engine, rehearsed and real."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import median

from dr.errors import FAILED, INTERRUPTED, DrError, UsageError, every_error
from dr.evidence.record import Drill, ObjectivesThen
from dr.evidence.seal import Sealed
from dr.orchestrator.elsewhere import lacks_of, what_else, what_is_left
from dr.orchestrator.named import points_for
from dr.orchestrator.scratch import scratch_of
from dr.orchestrator.selfcopy import save_self
from dr.orchestrator.session import Session, new_id
from dr.orchestrator.targets import posture_of
from dr.orchestrator.travel import attacked, way_back
from dr.plan.load import Loaded
from dr.report.verdict import drill_exit_code
from dr.run.drill import DrillRequest, run_drill
from dr.run.ransomware import refuse_unready, run_ransomware
from dr.run.recover import RecoverRequest, RecoveryPlan, plan_recover, refuse_live, refuse_unfit, run_recover
from dr.run.sandbox import sweep
from dr.tools.lock import hold

#: So many of the last drills that worked say how long a recovery may take.
_RECENT = 5
_CONTROL_LOSS = "control-loss"


@dataclass(frozen=True)
class DrillResult:
    """One drill or recovery, its sealed record, and the exit code it deserves."""

    drill: Drill
    sealed: Sealed
    exit_code: int
    hint: str = ""


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
class Intent:
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


def drill(session: Session, items: list[Loaded], options: DrillOptions) -> list[DrillResult]:
    """Drill systems side by side. A drill that could not run is recorded as failed, not left out.

    Raises `UsageError`, with nothing touched, when a scratch target is not safe to attack.
    """
    for loaded in items:
        if (options.scenario or loaded.plan.drill.scenario) == "ransomware":
            refuse_unready(scratch_of(session, loaded, options))
    session.catalog.close_abandoned(None, now=session.clock())
    sweep(session.state)
    results = session.each(items, lambda loaded: drill_one(session, loaded, options))
    save_self(session)
    return results


def refuse_unfit_options(items: list[Loaded], options: DrillOptions) -> None:
    """Raise `UsageError`, with nothing touched, for options that do not go together."""
    from dr.orchestrator import control_loss

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


def drill_one(session: Session, loaded: Loaded, options: DrillOptions) -> DrillResult:
    """Drill one system."""
    t_loss = session.clock()
    drill_id = new_id("drill-", t_loss)
    scenario = options.scenario or loaded.plan.drill.scenario
    session.begin(loaded, "drill", drill_id, started=t_loss, scenario=scenario)
    try:
        with every_error():
            request = DrillRequest(
                drill_id=drill_id,
                scenario=scenario,
                at=options.at,
                point=options.point,
                lacks=lacks_of(session, options.point),
                target=options.target,
                keep=options.keep,
                kit=options.kit,
                shares=options.shares,
                t_loss=t_loss,
                clock=session.clock,
            )
            fact = _held(session, loaded, request, options)
            if fact.outcome != "aborted":
                fact = replace(fact, posture=posture_of(session, fact.target, system=loaded.plan.system))
    except DrError as error:
        fact = _failed(session, loaded, drill_id, error, t_loss=t_loss, scenario=scenario, real=False)
    done = _recorded(session, loaded, fact)
    asked = fact.outcome == "failed" and scenario != "ransomware"
    return replace(done, hint=_ways_on(session, loaded, options, fact)) if asked else done


def _ransomware(session: Session, loaded: Loaded, request: DrillRequest, options: DrillOptions) -> Drill:
    """Hold a ransomware drill, alone in its scratch place: a second of the same system waits for another time."""
    scratch, system = scratch_of(session, loaded, options), loaded.plan.system
    refuse_unready(scratch)
    with hold(session.state / "locks" / f"{system}.ransomware.lock", what=f"a ransomware drill of {system} is at work"):
        return run_ransomware(session.toolbox(loaded), session.points(loaded), request, scratch)


def _held(session: Session, loaded: Loaded, request: DrillRequest, options: DrillOptions) -> Drill:
    """Hold the drill that its scenario asks for."""
    if request.scenario == "ransomware":
        return _ransomware(session, loaded, request, options)
    if request.scenario == _CONTROL_LOSS:
        from dr.orchestrator.control_loss import hold

        return hold(session, loaded, request)
    toolbox = session.toolbox(loaded)
    return run_drill(toolbox, points_for(session, loaded, toolbox, request.point), request)


def recover(session: Session, loaded: Loaded, options: RecoverOptions) -> DrillResult:
    """Recover a system for real. `UsageError` before anything is touched when something is in the way."""
    refuse_unfit(options.to, system=loaded.plan.system, force=options.force)
    t_loss = session.clock()
    drill_id = new_id("recovery-", t_loss)
    toolbox, request = session.toolbox(loaded), _request(session, options, drill_id, t_loss)
    refuse_live(toolbox, request)
    session.begin(loaded, "recovery", drill_id, started=t_loss)
    try:
        with every_error():
            fact = run_recover(toolbox, points_for(session, loaded, toolbox, options.point), request)
    except DrError as error:
        fact = _failed(session, loaded, drill_id, error, t_loss=t_loss, scenario="system-loss", real=True)
    done = _recorded(session, loaded, fact)
    save_self(session)
    return replace(done, hint=_ways_on(session, loaded, options, fact)) if fact.outcome == "failed" else done


def intent(session: Session, loaded: Loaded, options: RecoverOptions) -> Intent:
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
    return Intent(would, median(taken) if taken else None, len(taken))


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


def _recorded(session: Session, loaded: Loaded, fact: Drill) -> DrillResult:
    fact = replace(fact, plan_digest=loaded.digest)
    sealed = session.catalog.record(fact)
    with session.beside(loaded.plan.system):  # the record is in the catalog, and the next run sends it
        toolbox = session.toolbox(loaded)
        known = fact.target if fact.target in {place.name for place in toolbox.everywhere} else None
        reachable = [p for p in toolbox.everywhere if known in (None, p.name)]
        session.send_evidence(reachable if fact.outcome in ("ok", "degraded") else [], loaded.plan.system)
    code = INTERRUPTED if fact.outcome == "aborted" else drill_exit_code(fact)
    return DrillResult(fact, sealed, code)


def _failed(
    session: Session,
    loaded: Loaded,
    drill_id: str,
    error: DrError,
    *,
    t_loss: datetime,
    scenario: str,
    real: bool,
) -> Drill:
    wanted = loaded.plan.objectives
    return Drill(
        drill_id=drill_id,
        system=loaded.plan.system,
        scenario=scenario,
        real=real,
        outcome="aborted" if error.exit_code == INTERRUPTED else "failed",
        t_loss=t_loss,
        started=t_loss,
        finished=session.clock(),
        objectives=ObjectivesThen(rto_seconds=wanted.rto, rpo_seconds=wanted.rpo, mtd_seconds=wanted.mtd),
        sandbox="not used",
        error=str(error),
        error_hint=error.hint,
        error_code=error.exit_code,
    )


__all__ = ["FAILED", "DrillOptions", "DrillResult", "drill", "drill_one", "recover"]
