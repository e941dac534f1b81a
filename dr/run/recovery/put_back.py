"""Files that were named are put back where they were, once what was restored of them was proven.

On this host (`put_back_here`) or over SSH on the source's own (`put_back_there`). In the end all that was named is
compared where it lies.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import DrError
from dr.run.recovery.checks.context import CheckContext, Restored
from dr.run.recovery.checks.manifest import FULL_MANIFEST
from dr.run.recovery.checks.run import run_check
from dr.run.recovery.compare import chosen
from dr.run.recovery.place.live import LiveHost
from dr.run.recovery.place.restore_host import RestoreHost
from dr.run.recovery.put_back_here import PuttingHere
from dr.run.recovery.putting import Putting
from dr.run.recovery.state import Recovery

if TYPE_CHECKING:
    from dr.evidence.record import Point
    from dr.plan.plan import Plan


def why_not_in_place(plan: Plan, point: Point, name: str) -> DrError | None:
    """Return why files of a source of a point cannot be put back in place; None where they can."""
    declared, kind, hint = plan.sources.get(name), point.kinds.get(name, "files"), "name a directory with --to"
    if declared is None:
        what = f"the plan has no source {name}, so nothing tells where the files of this point's {name} belong"
        return DrError(what, hint=f"declare it again as it was, or {hint}")
    if declared.kind != kind:
        return DrError(f"the source {name} is of the kind {declared.kind} now, and was of {kind} then", hint=hint)
    if kind == "files":
        return None
    what = f"the source {name} is not one of files, and has no place among them"
    return DrError(what, hint=f"{hint}, or another source with --source")


def put_back(recovery: Recovery) -> None:
    """Put the files of all sources back, and prove them in their place.

    Raises `DrError` where nothing may be put back, the disk is full, or the host does not answer: what is there then is
    whole.
    """
    request, plan = recovery.request, recovery.toolbox.plan
    if request.agreed and recovery.chosen.point.run_id != request.agreed:
        raise DrError(
            f"nothing was put back: the point {request.agreed}, whose files were shown, cannot be read",
            plan.system,
            hint=f"look at the next one with --point {recovery.chosen.point.run_id} --dry-run",
        )
    for name in recovery.restored:
        if why := why_not_in_place(plan, recovery.chosen.point, name):
            raise why
    for name, item in recovery.restored.items():
        if item.manifest:
            with _putting(recovery, name, item, item.manifest) as putting:
                putting.carry_out()
                _prove(recovery, item, putting, item.manifest)


def _putting(recovery: Recovery, name: str, item: Restored, listed: Path) -> Putting:
    declared = recovery.toolbox.plan.host_of(name)
    if declared is None:
        return PuttingHere(recovery, name, item, listed)
    from dr.run.recovery.put_back_there import PuttingThere

    return PuttingThere(recovery, name, item, listed, declared=declared)


def _prove(recovery: Recovery, item: Restored, putting: Putting, listed: Path) -> None:
    """Compare what was named with the manifest, where it lies: read there again, whatever was sent."""
    context = CheckContext(
        root=recovery.root, land=_land(recovery, item, putting, listed), plan_dir=recovery.toolbox.plan_dir,
        seed=recovery.request.drill_id, now=recovery.journal.now,
        sources={item.name: replace(item, root=Path("/"), only=putting.only)}, partial=True, names=recovery.names,
    )  # fmt: skip
    for result in run_check(context, FULL_MANIFEST):
        recovery.checks.append(replace(result, expected=f"{result.expected}, where they lie"))
        found = "equal" if result.outcome == "ok" else "not equal"
        recovery.journal.note(f"{item.name} compared where it lies: {found}", timed=True)


def _land(recovery: Recovery, item: Restored, putting: Putting, listed: Path) -> RestoreHost:
    declared = recovery.toolbox.plan.host_of(item.name)
    if declared is None:
        return LiveHost()
    from dr.run.recovery.place.live_there import LiveHostThere

    paths = [entry.path for entry in chosen(listed, putting.only)]
    return LiveHostThere(declared, paths, aside=recovery.root)
