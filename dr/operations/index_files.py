"""A backup's manifests taken into the index of files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dr.catalog.file_index import FileIndex
from dr.evidence import manifest
from dr.evidence.record import BackupRun, Point
from dr.session import Session


def index_files(session: Session, run: BackupRun, points: Sequence[Point]) -> None:
    """Take the manifests of a run into the index of files, where that has what was before it.

    Else whoever asks for files first brings what is lacking from the targets. `points` are those before it, the newest
    first. Raises `DrError` as the index does.
    """
    with FileIndex(session.state, run.system) as index:
        for source in [each.source for each in run.sources if each.snapshot_id]:
            listed = session.state.manifests(run.system) / source
            before = next((point.run_id for point in points if source in point.kinds), None)
            known = before is None or index.seq_of(source, before) is not None
            if run.consistency_time and known and _is_of(run, listed):
                index.take_in(source, run.run_id, run.consistency_time, listed)


def _is_of(run: BackupRun, listed: Path) -> bool:
    """Whether a kept manifest is of this run: that of a capture that misses much is not kept for the next."""
    return listed.is_file() and datetime.fromisoformat(manifest.header(listed)["started"]) >= run.started
