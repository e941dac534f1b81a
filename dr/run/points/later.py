"""Later points that a target holds and that no record here tells of.

A state that was brought back from an older copy has forgotten what was stored since. A recovery by it would bring back
old data without a word: so whoever is about to use a point asks the target what else is there.
"""

from __future__ import annotations

from datetime import datetime

from dr.evidence.record import Point
from dr.plan.units import counted
from dr.run.points.choose import in_words
from dr.run.points.left_behind import OwnRuns
from dr.run.workspace.toolbox import Place
from dr.tools.restic_events import Snapshot


def later_in_words(place: Place, point: Point, own: OwnRuns) -> str | None:
    """Say what was stored at a place after a point and is on no record here; None where there is no such thing.

    What is stored there is read, which takes the passphrase. A run that is at work now is on record.
    """
    found = _unknown(place, point.consistency_time, own)
    if not found:
        return None
    newest = max(found.values(), key=lambda each: each.time)
    maker = newest.tags.get("installation", "")
    by = _by(newest, own)
    adopt = f" --adopt {maker}" if maker else ""
    return (
        f"{place.name} holds {counted(len(found), 'later point')} that no record here tells of, the newest "
        f"{newest.tags['run']} of {in_words(newest.time)}{by}; `dr points rebuild{adopt}` takes what is there over"
    )


def _unknown(place: Place, after: datetime, own: OwnRuns) -> dict[str, Snapshot]:
    """Return a snapshot of each run that nobody here knows and that stored after a moment."""
    found = {}
    for each in place.repository.snapshots(()):
        run = each.tags.get("run", "")
        if run and each.tags.get("system") == place.system and each.time > after and not own.is_known(run):
            found[run] = each
    return found


def _by(newest: Snapshot, own: OwnRuns) -> str:
    maker = newest.tags.get("installation", "")
    if maker == own.installation:
        return ": this state was brought back from an older copy, or a clone of it stores there too"
    return f", made by the installation {maker} on {newest.tags.get('on', 'another host')}" if maker else ""
