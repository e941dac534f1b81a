"""What a target is going to hold and to cost: from what was observed and counted, labelled ESTIMATE. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta

from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.posture import REQUEST_CLASSES
from dr.evidence.size import Growth, Observation, together
from dr.late_dataclass import dataclass
from dr.plan.target import Prices, Target
from dr.plan.units import MONTH_DAYS
from dr.report.bounds import Reached, reached
from dr.report.growth import FEWEST, SHORTEST, growth, sound
from dr.report.phrases import counted

#: Traffic is told by the month once so much of it was counted; by what was counted in so long.
_COUNTED, _RECENT = timedelta(days=7), timedelta(days=92)


@dataclass(frozen=True, kw_only=True)
class History:
    """What is on record of one system on one target.

    `seen` are the sizes that its listings showed, in the order in which they were recorded; `freed` what prunes took
    away; `traffic` what was moved, by month.
    """

    system: str
    seen: Sequence[Observation] = ()
    freed: Sequence[Observation] = ()
    traffic: Sequence[MonthlyTraffic] = ()


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What is moved in a month: of this program's own requests by class, and bytes.

    Requests None: not counted. `restic_sent_bytes` None: restic reported nothing.
    """

    write: float | None
    list: float | None
    read: float | None
    delete: float | None
    sent_bytes: float
    received_bytes: float
    restic_sent_bytes: float | None
    since: datetime

    @property
    def requests(self) -> float | None:
        """All requests."""
        each = (self.write, self.list, self.read, self.delete)
        return sum(x for x in each if x is not None) if any(x is not None for x in each) else None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a target costs in a month: now, and in twelve months.

    `requests` and `egress` are None where they have a price and nothing was counted: no sum includes them then.
    `early_removal` is the most that may be charged beside it for what prunes remove before the minimum of days.
    """

    currency: str
    storage: float
    requests: float | None
    egress: float | None
    in_12_months: float | None
    early_removal: float | None = None

    @property
    def now(self) -> float:
        """All of it that is known, in a month as it is now."""
        return self.storage + (self.requests or 0.0) + (self.egress or 0.0)

    @property
    def lacks(self) -> tuple[str, ...]:
        """What has a price, is not counted, and so is in no sum."""
        return tuple(name for name in ("requests", "egress") if getattr(self, name) is None)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One target. `stored_bytes` were observed, the oldest of its listings at `stored_at`; all else is an ESTIMATE."""

    target: str
    systems: tuple[str, ...]
    stored_bytes: int | None
    stored_at: datetime | None
    growth: Growth | None = None
    rates: Rates | None = None
    cost: Cost | None = None
    capacity: Reached | None = None
    budget: Reached | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)
    unlisted: int = 0  # systems that are there and were never listed: what is stored is more, then

    def reached_within(self, months: float) -> list[str]:
        """Return which declared bounds are reached within so many months."""
        bounds = {"capacity": self.capacity, "budget": self.budget}
        return [name for name, x in bounds.items() if x and x.months is not None and x.months <= months]


def forecast(target: Target, histories: Sequence[History], *, now: datetime, others: Iterable[str] = ()) -> Forecast:
    """Return what is to be expected of a target; of `others` that are there too nothing was asked."""
    seen = {each.system: sound(each.seen, now) for each in histories}
    last = [each[-1] for each in seen.values() if each]
    stored = sum(each.bytes for each in last) if last else None
    notes = [f"{name} was not listed there yet: run `dr verify {name}`" for name, each in seen.items() if not each]
    found = {name: growth(each) for name, each in seen.items() if each}
    grows = together(found.values())
    notes += _too_little({name: seen[name] for name, each in found.items() if each is None})
    rates = _rates(target, [row for each in histories for row in each.traffic], now)
    freed = [each for history in histories for each in history.freed if now - _RECENT <= each.at <= now]
    cost = _cost(target.prices, stored, grows, rates, _per_month(freed, now)) if target.prices else None
    apart = sorted(others)
    if apart and (target.capacity or target.budget):
        notes.append(f"its capacity and budget are for all that is there: {', '.join(apart)} too")
    bounded = not apart and stored is not None
    return Forecast(
        target=target.target,
        systems=tuple(seen),
        stored_bytes=stored,
        stored_at=min((each.at for each in last), default=None),
        growth=grows,
        rates=rates,
        cost=cost,
        capacity=reached(target.capacity, stored or 0, 1.0, grows) if target.capacity and bounded else None,
        budget=reached(target.budget, cost.now, _of_a_byte(target.prices), grows)
        if target.budget and target.prices and cost and bounded
        else None,
        notes=(*notes, *_limits(target, rates)),
        unlisted=sum(not each for each in seen.values()),
    )


def _too_little(seen: Mapping[str, Sequence[Observation]]) -> Iterator[str]:
    """Yield one sentence for all systems that have too little history."""
    for name, listings in list(seen.items())[:1]:
        days = (listings[-1].at - listings[0].at).days
        found = f"{counted(len(listings), 'listing')} over {counted(days, 'day')}"
        whose = name if len(seen) == 1 else f"{name} and {counted(len(seen) - 1, 'other system')}"
        each = "" if len(seen) == 1 else f" of {name}"
        yield f"too little history of {whose} for growth: {found}{each}, of at least {FEWEST} over {SHORTEST.days} days"


def _rates(target: Target, traffic: Iterable[MonthlyTraffic], now: datetime) -> Rates | None:
    """Return what was moved in the last months, by the month; None where too little was counted, or nothing can be."""
    first = now - _RECENT
    recent = [row for row in traffic if row.month >= f"{first:%Y-%m}" and row.begun <= now]
    since = min((row.begun for row in recent), default=now)
    if target.declared.counts == "nothing" or now - since < _COUNTED:
        return None
    share = MONTH_DAYS * 86_400 / (now - since).total_seconds()
    asked = target.declared.counts == "requests"
    requests = {
        name: sum(getattr(row.requests, name) for row in recent) * share if asked else None for name in REQUEST_CLASSES
    }
    return Rates(
        **requests,
        sent_bytes=sum(row.sent_bytes for row in recent) * share,
        received_bytes=sum(row.received_bytes for row in recent) * share,
        restic_sent_bytes=sum(row.restic_sent_bytes for row in recent) * share or None,
        since=since,
    )


def _per_month(freed: Sequence[Observation], now: datetime) -> float:
    """Return the bytes that prunes removed in a month, by those of the last months."""
    return sum(each.bytes for each in freed) * MONTH_DAYS / _RECENT.days if freed else 0.0


def _cost(prices: Prices, stored: int | None, grows: Growth | None, rates: Rates | None, freed: float) -> Cost | None:
    if stored is None:
        return None
    requests = _of_requests(prices, rates)
    then = max(0.0, stored + 12 * grows.bytes_per_month) if grows else None
    later = (requests or 0.0) + (_of_egress(prices, rates, then or 0.0) or 0.0)
    early = prices.of_storage(freed) * prices.minimum_days / MONTH_DAYS
    return Cost(
        currency=prices.currency,
        storage=prices.of_storage(stored),
        requests=requests,
        egress=_of_egress(prices, rates, stored),
        in_12_months=None if then is None else prices.of_storage(then) + later,
        early_removal=early or None,
    )


def _of_requests(prices: Prices, rates: Rates | None) -> float | None:
    """Return the price of a month's requests; None where they have one and not enough was counted."""
    if not prices.for_requests:
        return 0.0
    if rates is None or rates.requests is None:
        return None
    return prices.of_requests(**{name: getattr(rates, name) for name in REQUEST_CLASSES})


def _of_egress(prices: Prices, rates: Rates | None, stored: float) -> float | None:
    """Return the price of what is read in a month; None where it has one and not enough was counted."""
    if not prices.egress:
        return 0.0
    return prices.of_egress(rates.received_bytes, stored=stored, free=True) if rates else None


def _of_a_byte(prices: Prices | None) -> float:
    return prices.of_storage(1) if prices else 0.0


def _limits(target: Target, rates: Rates | None) -> Iterable[str]:
    """Yield what the figures do not hold."""
    if target.locks.mode != "none":
        yield "versions below the newest, which the bucket keeps and the provider charges, are not in what is stored"
    if target.declared.counts == "nothing":
        yield f"traffic is not counted: this is a {target.declared.noun}"
        return
    if rates is None:
        yield f"too little was counted for traffic by the month: at least {_COUNTED.days} days of it"
    yield "what restic asks for and reads is not seen by dr, and no figure includes it"
