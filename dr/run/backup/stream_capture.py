"""The capture of a stream: read once, and poured into every target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dr.errors import DrError
from dr.evidence import manifest
from dr.evidence.record import SourceCapture
from dr.run.backup import emptiness
from dr.run.backup.change import Watch
from dr.run.backup.fanout import hold_size, pour
from dr.run.backup.progress import BackupProgress, gather
from dr.run.backup.source_capture import source_fact, weighed, with_omissions
from dr.run.workspace.each_target import everywhere
from dr.run.workspace.toolbox import Place
from dr.sources.driver import MANIFEST, SourceDriver, Stream
from dr.tools.restic_events import Stored


def store_stream(
    stream: Stream, doors: SourceDriver, progress: BackupProgress, tags: Mapping[str, str], *, work: Path, watch: Watch
) -> SourceCapture:
    """Store a stream on every target that is ready, and its manifest beside it; return what came of it."""
    backups = {
        name: place.repository.backup_stream(stream.filename, tags={**tags, "part": "data"}, work=work)
        for name, place in progress.ready.items()
    }
    try:
        digest, size, results = pour(watch.passing(stream.chunks()), backups)
    finally:
        stream.close()
    stored = gather(progress, results, doors.name)
    manifest.write_stream(
        work / MANIFEST,
        source=doors.name,
        kind=doors.kind,
        started=stream.started,
        filename=stream.filename,
        size=size,
        sha256=digest,
    )

    whole = "no" if any(omission.partial for omission in stream.omissions) else "yes"

    def store(place: Place) -> Stored:
        hold_size(place.repository, stored[place.name].snapshot_id, size)
        beside = (MANIFEST, *stream.sidecars)
        return place.repository.backup_tree(beside, cwd=work, tags={**tags, "part": "manifest", "whole": whole})

    places = {name: place for name, place in progress.ready.items() if name in stored}
    for name, result in everywhere(places, store).items():
        if isinstance(result, DrError):
            stored.pop(name, None)
            progress.snapshots[name].pop(doors.name, None)
            progress.lose(name, result)
        else:
            progress.manifests.setdefault(name, {})[doors.name] = result.snapshot_id
    fact = source_fact(doors, progress, stored, files=1, size=size)
    fact = weighed(with_omissions(fact, stream.omissions), emptiness.of_stream(watch.begin, size, work))
    return replace(fact, change=watch.stream(work, stored))
