"""What is asked of a drill or a recovery: one form, from the command line to the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path

from dr.late_dataclass import dataclass
from dr.plan.scenario import FILES, SCENARIOS, TABLES, WHOLE
from dr.run.points.left_behind import OwnRuns
from dr.run.timetravel.point_in_time import Travel


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class RecoveryRequest:
    """One drill, or one recovery: that has a directory `to` recover into, or is `in_place`.

    What is left out is left to the plan.
    A person may name: the `scenario` (of a drill; "" is the plan's); `at`, which only picks the point: the newest of
    that time or before; the `point` to use by its run id, whole or not; and the `target` to restore from. Of a drill:
    to `keep` the sandbox; the `kit` and files with `shares` that it begins with; the `scratch` target that is attacked.
    Of a recovery: to write over what is in `to` (`force`); the live databases that may be `replaced`; the objects,
    DATABASE.OBJECT, that may be missing (`accepted`); to leave dumps as files (`as_files`); to bring only the files
    at `paths`, patterns among them, of one `source` or of any, into `to` or where they were (`in_place`), from the
    point that was `agreed` to, of `size` bytes where that is known; or only the `tables`, of those rows for which a
    condition holds (`where`), as files in `to` or loaded beside the live one under a new name (`beside`); and to say
    why (`because`).

    Whoever carries it out adds the `drill_id`; `t_loss`, the moment of loss, fixed before anything is done, from which
    the clock of the RTA counts; what is on record as not in the `point` (`lacks`); and whose runs are known here
    (`own_runs`). The rest is added by the scenario: `travel`, by which targets are seen as they were; when the loss was
    `noticed`, from which the RTA counts then; what is `assumed` lost, in words; or by the recovery: `again`, the
    command that asks for it once more, and `token`, the id of the recovery that began it. Of a plan whose drills
    restore a `sample`: so many bytes at most, and `sample_from`, the place on the circle of `dr.evidence.coverage`
    where the last drill ended.
    """

    scenario: str = ""
    at: datetime | None = None
    point: str | None = None
    target: str | None = None
    keep: bool = False
    kit: Path | None = None
    shares: tuple[Path, ...] = ()
    scratch: str | None = None
    to: Path | None = None
    force: bool = False
    replaced: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()
    as_files: bool = False
    paths: tuple[str, ...] = ()
    source: str | None = None
    in_place: bool = False
    agreed: str = ""
    size: int | None = None
    tables: tuple[str, ...] = ()
    where: str = field(default="", repr=False)
    beside: str = ""
    because: str = ""

    drill_id: str = ""
    t_loss: datetime = field(default_factory=_now)
    clock: Callable[[], datetime] = _now
    lacks: tuple[str, ...] = ()
    own_runs: OwnRuns = field(default_factory=OwnRuns)

    travel: Travel | None = None
    noticed: datetime | None = None
    assumed: str = ""
    again: tuple[str, ...] = ()
    token: str = ""
    sample: int | None = None
    sample_from: int = 0

    @property
    def real(self) -> bool:
        """Whether it is a recovery, and no drill."""
        return self.to is not None or self.in_place or bool(self.tables)

    @property
    def in_sandbox(self) -> bool:
        """Whether the point is restored into a sandbox as in a drill: servers of its own, and no live one."""
        return not self.real or bool(self.tables)

    @property
    def selected(self) -> bool:
        """Whether a person named what is to come back, and the system itself is left as it is."""
        return bool(self.paths or self.tables)

    @property
    def into(self) -> Path:
        """The directory of a recovery; what has none is not to be asked for it."""
        if self.to is None:
            raise ValueError("a drill recovers into a sandbox, and files go back where they were")
        return self.to

    @property
    def assumes(self) -> str:
        """The scenario's name in the evidence; that of a recovery is the loss of the whole system."""
        return self.scenario or (TABLES if self.tables else FILES if self.paths else WHOLE)

    @property
    def partial(self) -> bool:
        """Whether only samples are restored."""
        return self.assumes in SCENARIOS and SCENARIOS[self.assumes].partial

    def typed(self, system: str) -> tuple[str, ...]:
        """Return the command that asks for this recovery."""
        pairs = (("--at", self.at.isoformat() if self.at else None), ("--target", self.target))
        named = [word for option, value in pairs if value is not None for word in (option, value)]
        named += [word for name in sorted(self.replaced) for word in ("--replace", name)]
        named += [word for path in self.paths for word in ("--path", path)]
        named += ["--source", self.source] if self.source else []
        named += [word for name in sorted(self.accepted) for word in ("--accept-missing", name)]
        where = ("--in-place",) if self.in_place else ("--to", str(self.to))
        return ("dr", "recover", system, *where, *named, *(["--dumps"] if self.as_files else []))
