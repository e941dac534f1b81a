"""What one backup is asked for: what is on record of the system, held against what its targets show."""

from __future__ import annotations

from collections.abc import Sequence

from dr.evidence.look import Look
from dr.evidence.record import Point
from dr.operations.makers import own_runs
from dr.operations.proof_memory import memory_of
from dr.queries.expired import expired_now, missed_by
from dr.queries.key_posture import removed_keys
from dr.run.backup.progress import BackupRequest
from dr.run.points.presence import live_ids_on
from dr.run.workspace.toolbox import Toolbox
from dr.session import Session


def request_of(session: Session, toolbox: Toolbox, run_id: str) -> BackupRequest:
    """Return the request of a run of a system, whose lock is held."""
    catalog, system = session.catalog, toolbox.plan.system
    points = catalog.points([system])

    def missed(looks: Sequence[Look]) -> dict[str, tuple[Point, ...]]:
        """Note what was seen, and return what the targets lack by that."""
        catalog.looked(system, looks)
        names = [place.name for place in toolbox.places] if len(toolbox.places) > 1 else []
        return {name: tuple(reversed(missed_by(session, toolbox.plan, name))) for name in names}

    return BackupRequest(
        run_id=run_id,
        clock=session.clock,
        reuse=session.state.manifests(system),
        missed=missed,
        points=tuple(points),
        spent=frozenset(expired_now(session, toolbox.plan)),
        own_runs=own_runs(session, system, [place.name for place in toolbox.places]),
        history=catalog.change_history(system, list(toolbox.plan.sources), now=session.clock()),
        held={place.name: live_ids_on(points, place.name) for place in toolbox.places},
        dropped_keys=frozenset(removed_keys(session, system)),
        proven=lambda target: memory_of(catalog, system, target).needed,
    )
