"""What happened to the objects on a target: since when they were deleted or overwritten, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from dr.errors import DrError, InterruptedRunError, UsageError, every_error
from dr.late_dataclass import dataclass
from dr.plan.declarations import Loaded
from dr.run.timetravel.attack_history import History, ObjectChange, read_history
from dr.run.timetravel.point_in_time import versions_of
from dr.run.workspace.toolbox import Place, is_detached
from dr.session import Session
from dr.tools.s3_versions import S3Versions
from dr.tools.view import hash_in


@dataclass(frozen=True)
class AttackHistory:
    """The history of one system on one target; `history` None where no versions are kept, `error` says why else."""

    system: str
    target: str
    history: History | None = None
    error: DrError | None = None


def history(session: Session, name: str) -> list[AttackHistory]:
    """Tell the history of a target, or of all targets of a system. Reads only, and needs no passphrase."""
    return [_told(session, loaded, target) for loaded, target in named(session, name)]


def named(session: Session, name: str, system: str | None = None) -> list[tuple[Loaded, str]]:
    """Return the plans and targets that a name stands for: a target's, or a system's. `UsageError` for any other."""
    plans = session.declarations.plans
    if name in session.declarations.targets:
        found = [(loaded, name) for loaded in plans.values() if name in loaded.plan.places]
        found = [pair for pair in found if system in (None, pair[0].plan.system)]
    elif name in plans and system is None:
        found = [(plans[name], target) for target in plans[name].plan.places]
    else:
        known = ", ".join(sorted(session.declarations.targets))
        raise UsageError(f"there is no target {name!r}", hint=f"targets: {known}" if known else "declare one")
    if not found:
        about = f"the system {system!r}" if system else "any system"
        raise UsageError(f"no plan keeps {about} on {name}", hint="see `dr validate` for plans that cannot be read")
    return sorted(found, key=lambda pair: (pair[0].plan.priority, pair[0].plan.system))


def _told(session: Session, loaded: Loaded, target: str) -> AttackHistory:
    system = loaded.plan.system
    try:
        with every_error():
            return AttackHistory(system, target, history_of(session, session.toolbox(loaded).place(target), system))
    except InterruptedRunError:
        raise
    except DrError as error:
        return AttackHistory(system, target, error=error)


def history_of(session: Session, place: Place, system: str) -> History | None:
    """Return the history of a place; None when it keeps no versions, or is a disk that is away."""
    if is_detached(place):
        return None
    place.reach()
    versions = versions_of(place)
    if versions is None:
        return None
    copies = [copy for point in session.catalog.points([system]) for copy in point.copies if copy.target == place.name]
    live = {snapshot for copy in copies for snapshot in copy.ids}
    return read_history(versions.versions(), live=live, harmless=lambda change: _harmless(versions, change))


def _harmless(versions: S3Versions, change: ObjectChange) -> bool:
    """Whether an object was junk from the first, or was overwritten by the same bytes."""
    promised, first = hash_in(change.name), versions.sha256_of(change.first)
    if promised and first != promised:
        return True
    return change.what == "overwritten" and versions.sha256_of(change.became) == first


def way_back(system: str, target: str, before: datetime, to: str = "DIR") -> str:
    """Return what to type to recover a system from a target as it was."""
    return f"dr recover {system} --target {target} --at {before.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} --to {to}"


def attacked(session: Session, loaded: Loaded, targets: Iterable[str]) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield which of these targets were attacked, by their versions: each with since when, and the last moment before.

    For what is said of an error: what cannot be asked is passed over.
    """
    for name in targets:
        found = _told(session, loaded, name).history
        if found and found.onset and found.before:
            yield name, found.onset, found.before


def attacks(session: Session, loaded: Loaded, targets: Iterable[str]) -> list[str]:
    """Say of each of these targets that was attacked since when, and what to type; nothing of the others."""
    system = loaded.plan.system
    return [
        f"objects on {name} were deleted or overwritten since {onset:%Y-%m-%d %H:%M:%SZ}: "
        f"see `dr target history {system}`; all is as it was before with `{way_back(system, name, before)}`"
        for name, onset, before in attacked(session, loaded, targets)
    ]
