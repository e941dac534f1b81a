"""How backups and proofs were kept over a period, and how long the system was exposed meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from dr.evidence.record import BackupRun, Proof
from dr.late_dataclass import dataclass
from dr.plan.plan import Plan
from dr.report.coverage import looked
from dr.report.coverage import said as in_words
from dr.report.phrases import count, counted
from dr.report.verdict import Verdict, judge


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How one system's backups were kept over the period: runs by outcome, and the longest exposure."""

    system: str
    title: str
    runs: int
    ok: int
    degraded: int
    failed: int  # or interrupted
    points: int  # complete ones that were finished in the period
    exposure_seconds: float | None
    rpo_seconds: int | None
    verdict: Verdict


@dataclass(frozen=True)
class Faulty:
    """A backup run that was not ok, and why."""

    run: BackupRun
    reason: str


@dataclass(frozen=True)
class ProofView:
    """A proof, and its damage in words."""

    fact: Proof
    observed: str

    @property
    def objects(self) -> str:
        """How many objects were read, in words."""
        return count(self.fact.objects) if looked(self.fact) else "not read"

    @classmethod
    def of(cls, proof: Proof) -> ProofView:
        """Count the damage; stored objects are not named."""
        found = Counter(damage.problem for damage in proof.damage)
        said = [counted(number, f"{problem} object") for problem, number in sorted(found.items())]
        if proof.lost:
            said.append(f"{counted(len(proof.lost), 'recovery point')} that should be there lost")
        if proof.damaged_points:
            points = counted(len(proof.damaged_points), "recovery point")
            doubtful = len(proof.doubtful_points)
            note = f", {doubtful} of them for damage to the index alone: their data is all there" if doubtful else ""
            said.append(f"{points} cannot be used{note}")
        found_so = ", ".join(said) or proof.error or "; ".join(proof.notes) or "no damage"
        covered = in_words(proof.coverage) if proof.coverage else ""
        return cls(proof, "; ".join(filter(None, (found_so, covered))))


class Spanned(Protocol):
    """A point as far as exposure needs it."""

    @property
    def complete(self) -> bool:
        """Whether it counts."""

    @property
    def consistency_time(self) -> datetime:
        """The state that it brings back."""

    @property
    def finished(self) -> datetime:
        """From when on it could have been used."""


def exposure_seconds(
    points: Iterable[Spanned], *, since: datetime, now: datetime, tried: datetime | None = None
) -> float | None:
    """Return the longest way back a loss at any moment of the period would have gone.

    At each moment that is the time since the consistency of the newest point complete by then; so it is
    longest just before the next one is finished, or now. Without a complete point it is the time since a backup was
    first `tried`; None where that is not known.
    """
    longest: float | None = None
    held: datetime | None = None
    for point in sorted((p for p in points if p.complete and p.finished <= now), key=lambda p: p.finished):
        if held is not None and point.finished >= since:
            longest = max(longest or 0.0, (point.finished - held).total_seconds())
        held = max(held, point.consistency_time) if held else point.consistency_time
    if (last := held or tried) is not None:
        longest = max(longest or 0.0, (now - last).total_seconds())
    return longest


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came of one system's backups in the period, summed up.

    `outcomes` counts the runs by outcome, `points` the points that can be used today; `hollow`: all of these hold
    nothing.
    """

    outcomes: Mapping[str, int]
    points: int = 0
    exposure_seconds: float | None = None
    hollow: bool = False


def kept(plans: Mapping[str, Plan], ran: Mapping[str, Ran]) -> Iterator[Kept]:
    """Yield each system that has a plan, or had a backup in the period."""
    for system in dict.fromkeys([*plans, *(name for name, each in ran.items() if each.outcomes)]):
        summed = ran.get(system, Ran(outcomes={}))
        found = _kept(system, plans.get(system), summed)
        if summed.hollow and found.verdict.word == "met":
            found = replace(found, verdict=Verdict("unknown", "its recovery points hold nothing"))
        yield found


def _kept(system: str, plan: Plan | None, ran: Ran) -> Kept:
    rpo, ended = plan.objectives.rpo if plan else None, Counter(ran.outcomes)
    unknown = "no complete recovery point yet" if plan else "it has no plan today"
    return Kept(
        system=system,
        title=plan.title if plan and plan.title else system,
        runs=ended.total() - ended["skipped"],
        ok=ended["ok"],
        degraded=ended["degraded"],
        failed=ended["failed"] + ended["aborted"],
        points=ran.points,
        exposure_seconds=ran.exposure_seconds,
        rpo_seconds=rpo,
        verdict=judge(ran.exposure_seconds, rpo, unknown=unknown),
    )


def faulty_runs(backups: Sequence[BackupRun]) -> tuple[Faulty, ...]:
    """Return the runs that were not ok, newest first, each with its reason."""
    return tuple(Faulty(run, _reason(run)) for run in reversed(backups) if run.outcome not in ("ok", "skipped"))


def _reason(run: BackupRun) -> str:
    if run.error:
        return run.error
    parts = [(source.source, source.error) for source in run.sources]
    told = [(s.source, o.what) for s in run.sources for o in s.omissions if not (s.error and o.partial)]
    parts = [*parts, *told]
    parts += [(f"target {target.target}", target.error) for target in run.targets]
    suspect = [f"the point is suspect: {run.suspect}"] if run.suspect else []
    said = [*(f"{name}: {error}" for name, error in parts if error), *suspect] or list(run.notes)
    return "; ".join(said) or "no reason was recorded"
