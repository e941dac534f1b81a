"""When a target holds what it may hold, or costs what it may cost: the bounds that its file declares. Pure.

What is stored was observed, by the last listing of each repository; growth, prices and times to come are an ESTIMATE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from dr.evidence.problem import ProblemKind, ProblemSeverity, SystemProblem
from dr.evidence.size import Growth, KnownSize, together
from dr.late_dataclass import dataclass
from dr.plan.units import MONTH_DAYS, format_bytes
from dr.report.phrases import counted, day

#: Of what is no fact.
LABEL = "ESTIMATE"
#: What lies further ahead is not told: no slope holds for so long.
FURTHEST_MONTHS = 240.0
#: So near to a bound it is a problem: by the share of it that is used, and by when it is reached.
NEARLY, SOON_MONTHS = 0.9, 90 / MONTH_DAYS

Bound = Literal["capacity", "budget"]
BOUNDS: tuple[Bound, ...] = ("capacity", "budget")
_KINDS: Mapping[Bound, ProblemKind] = {"capacity": "target_full", "budget": "over_budget"}
_TODO: Mapping[Bound, str] = {
    "capacity": "see `dr forecast`, then make room there, or correct its `capacity`",
    "budget": "see `dr forecast`, then make room there, or correct its `budget`",
}


@dataclass(frozen=True, kw_only=True)
class Reached:
    """In how many months a declared bound is reached; 0 where it is already. None: not at this growth, or not within
    twenty years. `soonest` and `latest` by the range of the growth.
    """  # fmt: skip

    bound: float
    months: float | None
    soonest: float | None
    latest: float | None


def reached(bound: float, now: float, per_byte: float, grows: Growth | None) -> Reached:
    """Return when a bound is reached by what is there `now`, which a byte more makes so much more."""
    if now >= bound:
        return Reached(bound=bound, months=0.0, soonest=0.0, latest=0.0)

    def until(rate: float) -> float | None:
        months = (bound - now) / (rate * per_byte) if rate * per_byte > 0 else FURTHEST_MONTHS
        return months if months < FURTHEST_MONTHS else None

    if grows is None:
        return Reached(bound=bound, months=None, soonest=None, latest=None)
    return Reached(bound=bound, months=until(grows.bytes_per_month), soonest=until(grows.high), latest=until(grows.low))


@dataclass(frozen=True, kw_only=True)
class Rated:
    """What a target cost in a month by its prices of then: for each byte stored, and beside what is stored."""

    of_a_byte: float
    beside: float
    currency: str


@dataclass(frozen=True, kw_only=True)
class Room:
    """A target's declared bounds, and what is known of what uses them up; `unlisted` systems there were never listed.

    `sizes` is not empty. `since`: from when each bound is known to be near.
    """

    target: str
    capacity: int | None
    budget: float | None
    sizes: Sequence[KnownSize]
    unlisted: int = 0
    rated: Rated | None = None
    since: Mapping[str, datetime] | None = None

    @property
    def stored(self) -> int:
        """The bytes that the last listings showed, together."""
        return sum(each.seen.bytes for each in self.sizes)

    def bound(self, name: Bound) -> float | None:
        """What is declared."""
        return self.capacity if name == "capacity" else self.budget

    def used(self, name: Bound) -> float | None:
        """What is used of it, in bytes or money; None where that is not known."""
        if name == "capacity":
            return float(self.stored)
        return None if self.rated is None else self.stored * self.rated.of_a_byte + self.rated.beside

    def share(self, name: Bound) -> float | None:
        """The share that is used; None where nothing is declared, or known."""
        bound, used = self.bound(name), self.used(name)
        return used / bound if bound and used is not None else None

    def reached(self, name: Bound) -> Reached | None:
        """When it is reached; None where nothing is declared, or known."""
        bound, used = self.bound(name), self.used(name)
        if not bound or used is None:
            return None
        of_a_byte = self.rated.of_a_byte if name == "budget" and self.rated else 1.0
        return reached(bound, used, of_a_byte, together(each.growth for each in self.sizes))

    def near(self, name: Bound) -> bool:
        """Whether it is reached, or nearly, or soon."""
        share, when = self.share(name), self.reached(name)
        if share is None or when is None:
            return False
        return share >= NEARLY or (when.months is not None and when.months <= SOON_MONTHS)


def problems(room: Room) -> Iterator[SystemProblem]:
    """Yield the bounds that are reached, or are near: the whole site's, since all systems on the target use them up."""
    for name in BOUNDS:
        if room.near(name):
            full: ProblemSeverity = "degraded" if (room.share(name) or 0.0) > 1 else "warning"
            yield SystemProblem(
                kind=_KINDS[name],
                system="",
                severity=full if name == "capacity" else "warning",  # a price is an estimate
                subject=room.target,
                since=(room.since or {}).get(name),
                text=f"{room.target} {_stored(room) if name == 'capacity' else _costs(room)}",
                todo=_TODO[name],
            )


def _stored(room: Room) -> str:
    least = "at least " if room.unlisted else ""
    holds = f"holds {least}{format_bytes(room.stored)}{_against(room, 'capacity', format_bytes(room.capacity))}"
    seen = f", as listed on {day(min(each.seen.at for each in room.sizes))}"
    return holds + seen + (f"; {counted(room.unlisted, 'system')} there never listed" if room.unlisted else "")


def _costs(room: Room) -> str:
    currency = room.rated.currency if room.rated else ""
    bound = f"{money(room.budget or 0.0, currency)} a month"
    return f"costs {money(room.used('budget') or 0.0, currency)} a month by {LABEL}{_against(room, 'budget', bound)}"


def _against(room: Room, name: Bound, bound: str) -> str:
    share, when = room.share(name) or 0.0, room.reached(name)
    if share > 1:
        return f", more than its {name} of {bound}"
    if share >= NEARLY:
        return f", {share:.0%} of its {name} of {bound}".replace("%", " %")
    if when is None or when.months is None:
        return ""
    latest = months(when.latest) if when.latest is not None else "never"
    span = f"in {months(when.months)} (soonest {months(when.soonest)}, latest {latest})"
    return f", and by {LABEL} reaches its {name} of {bound} {span}"


def months(number: float | None) -> str:
    """Return a number of months in words."""
    return "no time" if number is None else "1 month" if round(number, 1) == 1 else f"{number:.1f} months"


def money(amount: float, currency: str) -> str:
    """Return an amount of money in words; never 0.00 of what is more than nothing."""
    if 0 < amount < 0.01:
        return f"under 0.01 {currency}"
    return f"{amount:,.2f} {currency}"
