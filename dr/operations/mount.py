"""`dr mount SYSTEM DIR`: recovery points as folders to look into and copy from. Put on record as it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dr.errors import UsageError
from dr.evidence.acts import Mounting
from dr.evidence.point_there import PointThere
from dr.late_dataclass import dataclass
from dr.operations.lifecycle import put_on_record
from dr.operations.self_backup import save_self
from dr.operations.trust import who
from dr.plan.declarations import Loaded
from dr.queries.recovery_points import require_point
from dr.run.points.there import HeldThere, Say, first_with_points
from dr.run.recovery.checks.pattern import bases_of
from dr.run.recovery.point_folders import claimed, fill, refuse_unfit
from dr.run.workspace.toolbox import Place
from dr.session import Session, new_id
from dr.tools.fuse import require_fuse
from dr.tools.restic_mount import Serving, mounted


@dataclass(frozen=True)
class MountRequest:
    """What a person asks for: the directory, one point or all, one target or the first that answers, and why."""

    at: Path
    point: str | None = None
    target: str | None = None
    because: str = ""


@dataclass(frozen=True)
class Mounted:
    """What stands in the directory, until `serving` ends."""

    system: str
    target: str
    at: Path
    points: tuple[PointThere, ...]
    serving: Serving


@contextmanager
def mount(session: Session, loaded: Loaded, request: MountRequest, *, say: Say) -> Iterator[Mounted]:
    """Have recovery points shown in a directory; in the end it is as it was before.

    `say` hears of targets that could not be used, and of points that are not shown. Raises `UsageError` for a directory
    that is not fit, `MachineError` where this machine cannot mount, and as the targets do; nothing is mounted then.
    """
    require_point(session, [loaded], request.point)
    _refuse_captured(session, request.at)
    refuse_unfit(request.at)
    require_fuse()
    with claimed(request.at) as repository:
        place, held = first_with_points(
            session.toolbox(loaded),
            session.points(loaded),
            session.clock(),
            target=request.target,
            named=request.point,
            say=say,
        )
        tags = (f"dr-system={place.system}", "dr-part=data", *([f"dr-run={request.point}"] if request.point else []))
        with mounted(place.repository, repository, tags=tags) as serving:
            _record(session, loaded, request, place, held)
            fill(repository.parent, held.points)
            yield Mounted(place.system, place.name, repository.parent, held.points, serving)


def _refuse_captured(session: Session, at: Path) -> None:
    """Refuse a directory in what a plan backs up: the next backup would walk through all points."""
    at = at.resolve()
    for loaded in session.declarations.plans.values():
        plan = loaded.plan
        for name, source in plan.sources.items():
            if source.kind != "files" or plan.host_of(name) is not None:
                continue
            if any(at.is_relative_to(Path(base).resolve()) for base in bases_of(source)):
                raise UsageError(
                    f"the directory lies in what {plan.system} backs up ({name}), which would store the points again",
                    str(at),
                    hint="name a directory elsewhere, such as one below /mnt",
                )


def _record(session: Session, loaded: Loaded, request: MountRequest, place: Place, held: HeldThere) -> None:
    """Put on record that they can be read from now on, before anybody is told where."""
    now = session.clock()
    fact = Mounting(
        run_id=new_id("mount-", now),
        system=place.system,
        target=place.name,
        started=now,
        finished=now,
        points=len(held.points),
        oldest=held.points[-1].run_id,
        newest=held.points[0].run_id,
        because=request.because.strip(),
        by=who(),
    )
    put_on_record(session, fact, lambda: (place,))
    save_self(session)
