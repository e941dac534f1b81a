"""Posture: how a target is kept, looked at without a change, and whether it is offsite.

What is looked at depends on the target's kind: see the drivers (`dr.targets`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from dr.errors import DrError
from dr.evidence.posture import Finding, Probe, Severity, TargetPosture
from dr.targets.kinds import driver_of
from dr.tools.network import is_this_host
from dr.tools.state_dir import StateDir

if TYPE_CHECKING:
    from dr.plan.target import Target


def look(
    target: Target, *, now: datetime, below: str = "", probe: Probe | None = None, state: StateDir | None = None
) -> TargetPosture:
    """Return how a target is kept. `below` draws the sample of objects from one system's repository alone;
    on a machine where a recovery kit was opened, `state` is where it left what opens the target.

    Raises what `reachable` and the credentials raise: what cannot be looked at has no posture.
    """
    found = [*driver_of(target, state).look(now, below), *_place(target)]
    return judged(target.target, found, now=now, probe=probe)


def judged(target: str, findings: Iterable[Finding], *, now: datetime, probe: Probe | None = None) -> TargetPosture:
    """Put findings together: a high or medium one, or one of the probe, makes it degraded."""
    whole = TargetPosture(target=target, outcome="ok", checked=now, findings=tuple(findings), probe=probe)
    if whole.worst in ("high", "medium"):
        whole = TargetPosture(target=target, outcome="degraded", checked=now, findings=whole.findings, probe=probe)
    return whole


def unseen(target: str, error: DrError, *, now: datetime) -> TargetPosture:
    """Return the posture of a target that could not be looked at."""
    return TargetPosture(target=target, outcome="failed", checked=now, error=str(error), error_hint=error.hint)


# -- where it is -------------------------------------------------------------------------------------


def _place(target: Target) -> Iterator[Finding]:
    """Whether what destroys this host's place destroys the target too, as declared and as its address says."""
    what, hint = "place", "use a service in another place, or write `offsite: false`"
    if target.offline or target.is_offsite(is_this_host):
        return
    if target.lies_here(is_this_host):
        observed = "not offsite: the service is on this very host, and what destroys this host destroys it too"
        severity: Severity = "medium" if target.offsite else "low"
        yield Finding(what=what, severity=severity, observed=observed, hint=hint if target.offsite is not False else "")
    elif target.declared.directory is None:
        yield Finding(what=what, severity="low", observed="not offsite, as declared")
    else:
        observed = "not offsite: what destroys this host destroys it too"
        yield Finding(what=what, severity="low", observed=observed, hint="add an s3 target, or declare `offsite: true`")
