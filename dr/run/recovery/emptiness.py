"""Whether a source that was brought back holds nothing: what holds nothing proves no recovery."""

from __future__ import annotations

import os
import stat

from dr.evidence.hollow import LARGEST, hollow
from dr.run.backup.emptiness import described, of_facts
from dr.run.recovery.checks.context import Restored
from dr.run.recovery.place.restore_host import RestoreHost
from dr.run.recovery.place.tree import RestoredTree


def of_restored(item: Restored, land: RestoreHost) -> str:
    """Return why a source that was brought back holds nothing, as it lies there now.

    Of a sample nothing is said: what was not restored may hold something.
    """
    if item.poured:
        return hollow(b"", item.poured.size) or _of_service(item)
    if item.only is not None and item.listed > item.files:
        return ""
    if item.bytes and item.files != 1:
        return ""
    survey = land.survey(item.root)
    with survey.reachable():
        return _of_survey(survey, item.bytes, beside=item.beside)


def _of_survey(survey: RestoredTree, size: int, *, beside: frozenset[str]) -> str:
    found = [(path, status) for path, status in survey.files() if os.fsdecode(path) not in beside]
    if any(stat.S_ISLNK(status.st_mode) for _, status in found):
        return ""
    regular = [(path, status.st_size) for path, status in found if stat.S_ISREG(status.st_mode)]
    if size == 0:
        return described(len(regular))
    ((path, size),) = regular
    with survey.opened(path) as descriptor:
        return hollow(os.pread(descriptor, LARGEST + 1, 0), size)


def _of_service(item: Restored) -> str:
    """Ask what was restored only where the capture found nothing: counting rows takes time."""
    if not of_facts(item.instance.captured()):
        return ""
    return of_facts(item.instance.facts()) or ""
