"""What a recovery would do, and how long it may take: for whoever is asked whether to go on."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from dr.errors import DrError, UsageError
from dr.evidence.record import Drill
from dr.plan.declarations import Loaded
from dr.plan.scenario import WHOLE
from dr.queries.recovery_points import back_before_attack, known_here, lacks_of, points_for
from dr.run.recovery.foresee import RecoveryPlan, plan_recover
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session

#: So many of the last drills that worked say how long a recovery may take.
_RECENT = 5


def intent(session: Session, loaded: Loaded, request: RecoveryRequest) -> RecoveryPlan:
    """Return what `recover` would do, and how long drills took; raises what stands in its way. Touches nothing."""
    lacks = lacks_of(session, request.point)
    asked = replace(request, t_loss=session.clock(), clock=session.clock, lacks=lacks, own_runs=known_here(session))
    try:
        toolbox = session.toolbox(loaded)
        would = plan_recover(toolbox, points_for(session, loaded, toolbox, request.point), asked)
    except UsageError:
        raise
    except DrError as error:
        error.hint = "; ".join(filter(None, (error.hint, back_before_attack(session, loaded, request))))
        raise
    records = session.catalog.facts(("drill", "recovery"), systems=[loaded.plan.system])
    known = [record.fact for record in records if isinstance(record.fact, Drill)]
    taken = [fact.rta_seconds for fact in known if fact.rta_seconds and fact.scenario == WHOLE and not fact.sampled][
        -_RECENT:
    ]
    return replace(would, estimate_seconds=median(taken) if taken else None, drills=len(taken))
