"""What targets hold, what was moved there and what that cost, as a report tells it; and what is to come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.posture import REQUEST_CLASSES, Price, Requests
from dr.evidence.seal import encode
from dr.late_dataclass import dataclass
from dr.plan.target import Target
from dr.plan.target_kind import Counts
from dr.plan.units import format_bytes
from dr.report.bounds import money
from dr.report.forecast import Forecast
from dr.report.forecast_told import forecast_document, forecast_lines
from dr.report.phrases import count, day

#: What nobody counts, and what would have been counted.
_NOT, _NONE = "not counted", "none on record"


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """One target. What was moved was counted from the month on in which the report's time begins.

    `counts`: what can be counted there. None is what nobody counted: `requests` that another program makes; bytes where
    nothing is counted, or nothing is on record of that time; `restic_sent_bytes` where restic reported nothing; `price`
    where no prices are declared, or nothing was counted.
    """

    target: str
    forecast: Forecast
    counts: Counts
    requests: Requests | None
    sent_bytes: int | None
    received_bytes: int | None
    restic_sent_bytes: int | None
    price: Price | None
    priced: bool  # whether the target declares prices
    unpriced: bool  # whether requests have one, and are not counted

    @property
    def stored(self) -> str:
        """What was stored when it was listed, in words."""
        found = self.forecast
        if found.stored_bytes is None or found.stored_at is None:
            return "not known"
        least = "at least " if found.unlisted else ""
        return f"{least}{format_bytes(found.stored_bytes)}, as listed {day(found.stored_at)}"

    @property
    def asked(self) -> str:
        """The requests, in words."""
        if self.requests is None:
            return _NONE if self.counts == "requests" else _NOT
        named = asdict(self.requests)
        return ", ".join(f"{count(number)} {name}" for name, number in named.items() if number) or "none"

    @property
    def moved(self) -> str:
        """The bytes, in words."""
        if self.sent_bytes is None or self.received_bytes is None:
            return _NOT if self.counts == "nothing" else _NONE
        by_restic = (
            f"; {format_bytes(self.restic_sent_bytes)} by restic, as it reports" if self.restic_sent_bytes else ""
        )
        return f"{format_bytes(self.sent_bytes)} sent, {format_bytes(self.received_bytes)} read{by_restic}"

    @property
    def paid(self) -> str:
        """The price of what was counted, in words."""
        if self.price is None:
            return "no prices declared" if not self.priced else _NOT if self.counts == "nothing" else _NONE
        without = ", without requests" if self.unpriced else ""
        return f"{money(self.price.amount, self.price.currency)}{without}"

    @property
    def estimates(self) -> tuple[str, ...]:
        """What is to come, and what that does not hold, line by line."""
        return tuple(line.strip() for line in forecast_lines(self.forecast)[1:])


def cost_rows(
    forecasts: Sequence[Forecast],
    traffic: Iterable[MonthlyTraffic],
    targets: Mapping[str, Target],
    *,
    since: datetime | None = None,
) -> tuple[CostRow, ...]:
    """Return a row for each target of which something is known: a size, traffic, or a declared bound."""
    recent = [row for row in traffic if since is None or row.month >= f"{since:%Y-%m}"]
    rows = (
        _row(each, [row for row in recent if row.target == each.target], targets[each.target]) for each in forecasts
    )
    return tuple(row for row in rows if row.forecast.stored_bytes is not None or row.requests or row.received_bytes)


def _row(forecast: Forecast, traffic: Sequence[MonthlyTraffic], target: Target) -> CostRow:
    counts, prices = target.declared.counts, target.prices
    sums = {name: sum(getattr(row.requests, name) for row in traffic) for name in REQUEST_CLASSES}
    received = sum(row.received_bytes for row in traffic)
    known = bool(traffic) and counts != "nothing"
    return CostRow(
        target=target.target,
        forecast=forecast,
        counts=counts,
        requests=Requests(**sums) if known and counts == "requests" else None,
        sent_bytes=sum(row.sent_bytes for row in traffic) if known else None,
        received_bytes=received if known else None,
        restic_sent_bytes=sum(row.restic_sent_bytes for row in traffic) or None if known else None,
        price=Price.of(prices.of_traffic(**sums, received=received), prices.currency) if prices and known else None,
        priced=prices is not None,
        unpriced=counts != "requests" and prices is not None and prices.for_requests,
    )


def cost_documents(rows: Sequence[CostRow]) -> Iterator[dict[str, Any]]:
    """Yield one of the `costs` of the report for each target."""
    for row in rows:
        moved = ("counts", "requests", "sent_bytes", "received_bytes", "restic_sent_bytes", "price")
        yield {**forecast_document(row.forecast), "moved": {name: encode(getattr(row, name)) for name in moved}}
