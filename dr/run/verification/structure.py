"""Level 1: whether the repository's structure is sound, and whose damage it is where not."""

from __future__ import annotations

from collections.abc import Sequence

from dr.errors import DrError, InterruptedRunError, LockedError, RefusedError, TargetDownError
from dr.evidence.record import Damage
from dr.run.verification.findings import Findings, IndexDamage
from dr.run.verification.memory import pack_name
from dr.run.verification.rebuilt_index import rebuilt
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools import activity
from dr.tools.restic_events import Checked


def prove_structure(place: Place, found: Findings, gone: Sequence[str]) -> Checked | None:
    """Level 1. A repository that cannot even be opened is damaged; the bytes are still looked at.

    restic checks with an empty cache of its own: what it finds is what the target gives. `gone` are keys that were
    there: a passphrase that opens nothing any more is not a wrong one then.
    """
    try:
        with activity.step("check structure"):
            checked = place.repository.check()
    except (InterruptedRunError, TargetDownError, LockedError):
        raise
    except RefusedError:
        if not gone:
            raise
        found.damage += [Damage(object=name, problem="missing") for name in gone]
        return None
    except DrError as error:
        found.problems.append(str(error))
        found.hint = found.hint or error.hint
        return None
    if checked.clean:
        found.level = 1
        return checked
    found.damage += [Damage(object=pack_name(pack), problem="missing") for pack in checked.missing]
    found.damage += [
        Damage(object=pack_name(pack), problem="truncated" if got < want else "corrupt")
        for pack, (got, want) in checked.truncated.items()
    ]
    named = {*checked.missing, *checked.truncated}
    found.damage += [Damage(object=pack_name(p), problem="corrupt") for p in checked.broken_packs if p not in named]
    if not found.damage:
        found.problems.append(checked.errors[0][:300] if checked.errors else "the structure is not sound")
    return checked


def told_apart(toolbox: Toolbox, place: Place, found: Findings, checked: Checked | None) -> IndexDamage | None:
    """Tell index damage from data damage, by making the index anew beside it; None where there is none, or no telling.

    What the packs hold stands in the packs themselves: an index file that is lost or spoilt loses nothing.
    """
    if checked is None or not (checked.index_broken or checked.blobs or checked.trees):
        return None
    bad = [item.object for item in found.real]
    try:
        hit = None if checked.index_broken else frozenset(place.repository.lacking(checked))
        with rebuilt(place, toolbox.state, hidden=bad) as there:
            return IndexDamage(hit, there.lacking)
    except (InterruptedRunError, RefusedError, TargetDownError):
        raise
    except DrError:
        return None  # what cannot be told apart is not vouched for
