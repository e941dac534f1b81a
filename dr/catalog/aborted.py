"""A run that was begun and whose process died: the fact it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from dr.evidence.acts import Expiration, Pruning, Repair, Rewind
from dr.evidence.fact import KINDS, Fact
from dr.evidence.record import Drill, ObjectivesThen, Proof, Replication
from dr.late_dataclass import dataclass
from dr.plan.scenario import WHOLE

INTERRUPTED = "the run was interrupted: its process ended without finishing"
#: What some facts must say, though nothing is known of it.
_UNKNOWN: Mapping[type, Mapping[str, Any]] = {
    Replication: {"source": "", "target": ""},
    Proof: {"target": "", "level_asked": 0, "level_reached": 0},
    Rewind: {"target": ""},
    Repair: {"target": ""},
    Expiration: {"target": ""},
    Pruning: {"target": ""},
    Drill: {"objectives": ObjectivesThen(rto_seconds=0, rpo_seconds=0), "sandbox": "swept"},
}


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A run that was begun and has no end yet."""

    run_id: str
    verb: str
    system: str
    started: datetime
    plan_digest: str
    process: str
    scenario: str = ""


def aborted_fact(run: OpenRun, now: datetime) -> Fact:
    """Return the fact of a run that ended without a word: of what is known, all that a fact of its kind can hold."""
    kind = KINDS.get(run.verb, Drill)
    known = {
        "drill_id" if kind is Drill else "run_id": run.run_id,  # a drill's run_id is that of the point it used
        "system": run.system,
        "outcome": "aborted",
        "started": run.started,
        "finished": now,
        "t_loss": run.started,
        "moment": run.started,
        "real": run.verb == "recovery",
        "what": "destruction" if run.run_id.startswith("destruction-") else "rotation",
        "error": INTERRUPTED,
        "plan_digest": run.plan_digest,
        "scenario": run.scenario or WHOLE,
        **_UNKNOWN.get(kind, {}),
    }
    fact: Fact = kind(**{each.name: known[each.name] for each in fields(kind) if each.name in known})
    return fact
