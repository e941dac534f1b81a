"""The targets of a backup: reached before anything is captured, and seen afterwards not to rest on what was lost."""

from __future__ import annotations

import logging
from dataclasses import replace

from dr.errors import DamageError, DrError, InterruptedRunError
from dr.run.backup import stock
from dr.run.backup.progress import BackupProgress, BackupRequest
from dr.run.points.left_behind import in_words as left_in_words
from dr.run.points.presence import (
    PresenceSeen,
    found_in_words,
    in_words,
    look_closely,
    require_repository,
    strangers_in_words,
)
from dr.run.workspace.each_target import everywhere
from dr.run.workspace.stale_locks import remove_stale
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools.restic import make_if_absent
from dr.tools.s3_actions import denied, denied_to_restic

log = logging.getLogger("dr.backup")
_ALLOW = "allow it, at least on locks/*"


def make_ready(toolbox: Toolbox, request: BackupRequest, progress: BackupProgress) -> None:
    """Reach every target, make its repository on first use, and see whether it has what the record says.

    One that had a repository and has none now, or another, is not used: nobody begins it again but a person.
    """

    def ready(place: Place) -> tuple[bool, PresenceSeen]:
        place.reach()
        made = require_repository(place) is None
        if made:
            place = _made(place)
        else:
            _heal(place, progress)
        return made, look_closely(
            place,
            request.points,
            at=request.clock(),
            useless=request.spent,
            own_runs=request.own_runs,
        )

    places = {place.name: place for place in toolbox.places}
    for name, answer in everywhere(places, ready).items():
        if isinstance(answer, DrError):
            progress.lose(name, answer)
            continue
        made, seen = answer
        progress.ready[name] = places[name]
        progress.made |= {name} if made else set()
        progress.looks.append(seen.look)
        progress.met[name] = seen.new
        if seen.left:
            progress.left += seen.left
            progress.healed.append(left_in_words(seen.left, name))
            log.warning("%s: %s", toolbox.plan.system, progress.healed[-1])
        if made and places[name].known.begun:
            progress.renewed.append(name)
            progress.notes.append(f"the repository on {name} was begun again")
        strange = strangers_in_words(toolbox.plan.system, name, seen.met, own=request.own_runs.installation)
        said = (in_words(seen.look, request.points), found_in_words(seen.look), strange)
        progress.notes.extend(text for text in said if text)


def _made(place: Place) -> Place:
    """Make the repository; return the place as it is known now, for which nobody has to open it."""
    made = make_if_absent(place.repository, exists=lambda: place.store.exists("config"))
    if not made:  # another was sooner
        return place
    return replace(place, known=replace(place.known, id=made, config=place.store.sha256("config")[0], begun=False))


def _heal(place: Place, progress: BackupProgress) -> None:
    """Remove the locks that killed processes left. A backup can do without: one that may not is noted."""
    try:
        if healed := remove_stale(place):
            progress.healed.append(healed)
    except InterruptedRunError:
        raise
    except DrError as error:
        progress.notes.append(f"a lock that an earlier process left on {place.name} stays: {error}")


def note_locks_left(progress: BackupProgress) -> None:
    """Note where restic could not remove its own lock, by its own word."""
    for name, place in progress.ready.items():
        for why in sorted(place.repository.locks_left)[:1]:
            action = denied_to_restic(why)
            what = denied(action, place.name, why).what if action else why
            progress.notes.append(f"restic's own lock stays on {name}, and a prune waits for it: {what}; {_ALLOW}")
            progress.locks_left.add(name)


def take_stock(toolbox: Toolbox, request: BackupRequest, progress: BackupProgress) -> None:
    """See at each target that the point does not rest on what was lost there: restic would not store it again."""

    def look(place: Place) -> stock.Stock:
        stored, beside = progress.snapshots.get(place.name, {}), progress.manifests.get(place.name, {})
        return stock.take_stock(
            toolbox,
            place,
            request,
            stock.point_of(request, place, stored, beside),
            added=progress.added.get(place.name, 0),
            began=place.name in progress.made,
        )

    places = {
        place.name: place
        for place in toolbox.places
        if place.name in progress.ready or isinstance(progress.lost.get(place.name), DamageError)
    }
    for name, answer in everywhere(places, look).items():
        if isinstance(answer, DrError):
            progress.lose(name, progress.lost.get(name, answer))
            continue
        known = {p.run_id for p in request.points for copy in p.copies if copy.target == name and copy.damaged}
        harmed = tuple(run_id for run_id in answer.harmed if run_id not in known)
        progress.looks = [
            replace(each, harmed=harmed, doubtful=answer.doubtful) if each.target == name else each
            for each in progress.looks
        ]
        progress.notes += stock.notes(answer, name, toolbox.plan.system, [x for x in harmed if x != request.run_id])
        if request.run_id in harmed and name in progress.ready:
            progress.lose(name, stock.in_vain(answer, places[name]))
