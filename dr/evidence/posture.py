"""Facts about a target: how it is kept, what its keys could destroy, what is locked until when, what was moved there.

Times are aware UTC datetimes. "Locked" is never said without a mode and a date.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Literal, Self

from dr.late_dataclass import dataclass

Severity = Literal["high", "medium", "low", "ok"]
#: Worst first.
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low", "ok")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at on a target, in words; `hint` is one line on how to mend it."""

    what: str
    severity: Severity
    observed: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One thing the backup keys were made to try. `outcome` is "refused", "allowed" or "not tried"."""

    what: str
    outcome: Literal["refused", "allowed", "not tried"]
    severity: Severity
    observed: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the backup keys could do to a canary object, when it was tried."""

    tried: datetime
    attempts: tuple[Attempt, ...] = ()
    error: str | None = None
    error_hint: str = ""  # what to do about it


@dataclass(frozen=True, kw_only=True)
class TargetPosture:
    """How one target is kept. `outcome`: ok, degraded (a high or medium finding), failed (could not be looked at)."""

    target: str
    outcome: Literal["ok", "degraded", "failed"]
    checked: datetime
    findings: tuple[Finding, ...] = ()
    probe: Probe | None = None
    error: str | None = None
    error_hint: str = ""  # what to do about it

    @property
    def worst(self) -> Severity:
        """The worst severity found, those of the probe too."""
        found = [
            *(f.severity for f in self.findings),
            *(a.severity for a in (self.probe.attempts if self.probe else ())),
        ]
        return min(found, key=SEVERITIES.index, default="ok")


@dataclass(frozen=True, kw_only=True)
class LockState:
    """What one backup run did for the locks on one target.

    `protected_until` is when the first lock on a needed object runs out, `locked_until` when the last does; None
    when a needed object has no lock. `scope` says which objects count as needed. `left` of those due are for the
    next run. `cost` is in the currency of the price that the target declares.
    """

    target: str
    mode: str
    outcome: Literal["ok", "degraded"]
    scope: str = ""
    needed: int = 0
    due: int = 0
    extended: int = 0
    left: int = 0
    calls: int = 0
    seconds: float = 0.0
    cost: float | None = None
    protected_until: datetime | None = None
    locked_until: datetime | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)
    error: str | None = None
    error_hint: str = ""  # what to do about it


#: The classes of requests, as price lists have them.
REQUEST_CLASSES = ("write", "list", "read", "delete")


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests by class, as price lists have them."""

    write: int = 0
    list: int = 0
    read: int = 0
    delete: int = 0


@dataclass(frozen=True, kw_only=True)
class Price:
    """An amount of money."""

    amount: float
    currency: str

    @classmethod
    def of(cls, amount: float, currency: str) -> Self:
        """Return an amount to a billionth: a single request costs some ten-millionths."""
        return cls(amount=round(amount, 9), currency=currency)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What passed between this program and a target in one run, until its record was sealed.

    `requests`, `sent_bytes` and `received_bytes` were counted where they passed: bodies of requests and answers,
    without headers. `requests` is None where another program makes them. What restic moves by itself is not among them:
    `restic_sent_bytes` is what it reports to have stored in a backup; what it asked for and read nobody counts. `price`
    is that of what was counted, before a free allowance; None where no prices are declared.
    """

    target: str
    requests: Requests | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    restic_sent_bytes: int | None = None
    price: Price | None = None
