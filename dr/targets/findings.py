"""What is looked at in the same way at any service: the line there, the clock, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from dr.errors import DrError, InterruptedRunError, TargetDownError
from dr.evidence.posture import Attempt, Finding
from dr.plan.units import format_duration

#: S3 services refuse requests from 15 minutes on.
SKEW_SECONDS = 60.0
CLOCK_HINT = "set the clock, and keep it by NTP: objectives and locks are measured by it"
_LOOPBACK = ("localhost", "::1")


def refusal_of(act: Callable[[], object]) -> DrError | None:
    """Do it; return the refusal, None when it was taken. Raises where a service is down: that is no refusal."""
    try:
        act()
    except InterruptedRunError:
        raise
    except DrError as error:
        if isinstance(error, TargetDownError) and error.retryable:
            raise
        return error
    return None


def unwritable(error: DrError) -> Attempt:
    """Return what is said of a place that took not even the canary: no backup can be stored there."""
    observed = f"nothing can be stored here: {error}"
    return Attempt(what="write an object", outcome="refused", severity="high", observed=observed, hint=error.hint)


def tls(endpoint: str) -> Finding:
    """Return whether names and requests can be read on the way."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return Finding(what="TLS", severity="ok", observed="https")
    if host in _LOOPBACK or host.startswith("127."):
        return Finding(what="TLS", severity="ok", observed="http, on this machine only")
    observed = "http: names, sizes and requests can be read and replayed on the way (the data itself is encrypted)"
    return Finding(what="TLS", severity="medium", observed=observed, hint="use the service's https address")


def clock(there: datetime | None, now: datetime) -> Finding:
    """Return whether the service's clock agrees with ours."""
    if there is None:
        return Finding(what="clock", severity="low", observed="the service does not say its time")
    off = (now - there).total_seconds()
    if abs(off) <= SKEW_SECONDS:
        return Finding(what="clock", severity="ok", observed="agrees with this machine's")
    side = "ahead of" if off > 0 else "behind"
    observed = f"this machine's clock is {format_duration(abs(off))} {side} the target's"
    return Finding(what="clock", severity="medium", observed=observed, hint=CLOCK_HINT)
