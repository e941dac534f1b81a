"""A forecast for machines and for people: what was observed stands first, and all else says that it is an ESTIMATE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

from dr.evidence.seal import encode
from dr.evidence.size import Growth
from dr.plan.units import format_bytes
from dr.report.bounds import FURTHEST_MONTHS, LABEL, Reached, money, months
from dr.report.forecast import Cost, Forecast, Rates
from dr.report.phrases import counted


def forecast_document(found: Forecast) -> dict[str, object]:
    """One target of `dr forecast`: what was observed, and below `estimate` what was not."""
    grows, rates, cost = found.growth, found.rates, found.cost
    return {
        "target": found.target,
        "systems": list(found.systems),
        "stored_bytes": found.stored_bytes,
        "stored_at": encode(found.stored_at),
        "estimate": {
            "label": LABEL,
            "growth": {
                "bytes_per_month": round(grows.bytes_per_month),
                "low_bytes_per_month": round(grows.low),
                "high_bytes_per_month": round(grows.high),
                "observations": grows.observations,
                "since": encode(grows.since),
            }
            if grows
            else None,
            "per_month": _rounded(rates) if rates else None,
            "price_per_month": {
                "currency": cost.currency,
                "now": round(cost.now, 4),
                "storage": round(cost.storage, 4),
                "requests": _amount(cost.requests),
                "egress": _amount(cost.egress),
                "in_12_months": _amount(cost.in_12_months),
                "early_removal_at_most": _amount(cost.early_removal),
            }
            if cost
            else None,
            "capacity": _bound_document(found.capacity, "bytes"),
            "budget": _bound_document(found.budget, "amount"),
        },
        "notes": list(found.notes),
    }


def _amount(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 4)


def _rounded(rates: Rates) -> Mapping[str, object]:
    told = {each.name: getattr(rates, each.name) for each in fields(rates)}
    return {name: round(value) if isinstance(value, float) else encode(value) for name, value in told.items()}


def _bound_document(reached: Reached | None, unit: str) -> dict[str, object] | None:
    if reached is None:
        return None
    names = {"months": reached.months, "soonest_months": reached.soonest, "latest_months": reached.latest}
    return {unit: reached.bound, **{name: None if x is None else round(x, 1) for name, x in names.items()}}


def forecast_lines(found: Forecast) -> list[str]:
    """Return it in words: the first line was observed, each that follows says that it is an ESTIMATE, or is a note."""
    if found.stored_bytes is None or found.stored_at is None:
        first = f"{found.target}: how much is stored is not known"
    else:
        least = "at least " if found.unlisted else ""
        stored = f"{least}{format_bytes(found.stored_bytes)} stored"
        first = f"{found.target}: {stored}, as listed on {found.stored_at:%Y-%m-%d}"
    told = [*_growth_line(found.growth), *_rate_line(found.rates), *_cost_line(found.cost)]
    if found.capacity:
        told.append(f"capacity of {format_bytes(found.capacity.bound)}: {_when(found.capacity, found.growth)}")
    if found.budget and found.cost:
        bound = money(found.budget.bound, found.cost.currency)
        told.append(f"budget of {bound} a month: {_when(found.budget, found.growth)}")
    return [first, *(f"  {LABEL} {line}" for line in told), *(f"  note: {note}" for note in found.notes)]


def _growth_line(grows: Growth | None) -> Iterable[str]:
    if grows:
        span = f"{format_bytes(grows.low)} to {format_bytes(grows.high)}"
        by = f"by {counted(grows.observations, 'listing')} since {grows.since:%Y-%m-%d}"
        yield f"growth: {format_bytes(grows.bytes_per_month)} a month ({span}), {by}"


def _rate_line(rates: Rates | None) -> Iterable[str]:
    if rates is None:
        return
    asked = f"{rates.requests:,.0f} requests, " if rates.requests is not None else ""
    moved = f"{format_bytes(rates.sent_bytes)} sent and {format_bytes(rates.received_bytes)} read by dr itself"
    by_restic = rates.restic_sent_bytes
    reported = "" if by_restic is None else f"; restic reports {format_bytes(by_restic)} stored"
    yield f"traffic: {asked}{moved} a month{reported}"


def _cost_line(cost: Cost | None) -> Iterable[str]:
    if cost is None:
        return
    later = f", {money(cost.in_12_months, cost.currency)} in 12 months" if cost.in_12_months is not None else ""
    without = f", without {' and '.join(cost.lacks)}, of which not enough was counted" if cost.lacks else ""
    yield f"price: {money(cost.now, cost.currency)} a month now{later}{without}"
    if cost.early_removal:
        yield f"price of removing early: at most {money(cost.early_removal, cost.currency)} a month more"


def _when(reached: Reached, grows: Growth | None) -> str:
    if reached.months == 0:
        return "reached"
    if grows is None:
        return "when it is reached is not known"
    if reached.months is None:
        may = f", but perhaps in {months(reached.soonest)}" if reached.soonest is not None else ""
        return f"not reached within {FURTHEST_MONTHS / 12:.0f} years at this growth{may}"
    latest = f"{months(reached.latest)}" if reached.latest is not None else "never"
    return f"reached in {months(reached.months)} (soonest {months(reached.soonest)}, latest {latest})"
