"""What a run moved to and from each target: counted where it passed (`dr.tools.meter`), priced as the target declares.

What is sent once a record is sealed, the record itself among it, cannot be in it: that is counted into the sums of the
month alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from dr.evidence.fact import Fact
from dr.evidence.posture import Price, Requests, Traffic
from dr.evidence.record import BackupRun
from dr.plan.target import Target
from dr.session import Session
from dr.tools.meter import Passed

R = TypeVar("R", bound=Fact)


def with_traffic(session: Session, record: R, system: str) -> R:
    """Return a record with what passed for its system since the last one. Not of an act that moves nothing."""
    if not hasattr(record, "traffic"):
        return record
    reported = {each.target: each.bytes_added for each in record.targets} if isinstance(record, BackupRun) else {}
    made = tuple(_traffic(session, _taken(session, system), reported))
    told: dict[str, Any] = {"traffic": made}
    return replace(record, **told) if made else record


def count_late(session: Session, system: str) -> None:
    """Count what passed after the record of a run was sealed."""
    if late := list(_traffic(session, _taken(session, system), {})):
        session.catalog.moved(system, late, at=session.clock())


def _taken(session: Session, system: str) -> dict[str, Passed]:
    """Return what passed for a system since this was last asked, by target."""
    found = {target: meter.take() for (whose, target), meter in list(session.meters.items()) if whose == system}
    return {target: passed for target, passed in found.items() if passed}


def _traffic(session: Session, passed: Mapping[str, Passed], reported: Mapping[str, int]) -> Iterator[Traffic]:
    targets = session.declarations.targets
    for name in dict.fromkeys([*reported, *passed]):
        if (target := targets.get(name)) is not None and target.declared.counts != "nothing":
            yield _of(target, passed.get(name, Passed()), reported.get(name))


def _of(target: Target, passed: Passed, reported: int | None) -> Traffic:
    prices = target.prices
    requests = Requests(write=passed.write, list=passed.list, read=passed.read, delete=passed.delete)
    return Traffic(
        target=target.target,
        requests=requests if target.declared.counts == "requests" else None,
        sent_bytes=passed.sent,
        received_bytes=passed.received,
        restic_sent_bytes=reported,
        price=Price.of(prices.of_traffic(**asdict(requests), received=passed.received), prices.currency)
        if prices
        else None,
    )
