"""restic's own tries, held against our budget: it alone would go on for a quarter of an hour, whatever the cause.

It says each try on its standard error. What no other try can mend ends it at once, all else when the budget of one
operation is spent.
"""

from __future__ import annotations

import logging
import re

from dr.late_dataclass import dataclass
from dr.tools import service_refusals
from dr.tools.retry import Patience
from dr.tools.web_page import HEARD

log = logging.getLogger("dr.retry")

_TRY = re.compile(r"(\w+\(.*?\)) returned error, retrying after ([0-9.hmsuµn]+): (.*)")
_WORKED = re.compile(r"(\w+\(.*?\)) operation successful after \d+ retries")
_PAINT = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # what is for a terminal
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
_SPAN = re.compile(r"([0-9.]+)(h|ms|m|s|µs|us|ns)")

#: A service whose certificate is not trusted, or that speaks another language.
CERTIFICATE = re.compile(r"x509:|failed to verify certificate|HTTP response to HTTPS client", re.IGNORECASE)
READ_ONLY = re.compile(r"read-only file system", re.IGNORECASE)
#: A full disk, in the words of a system, of a service (HTTP 507), and of those that sell room.
SPACE = re.compile(
    r"no space left on device|remaining disk space|insufficient storage|cap ?exceeded|storage ?full|minimum free drive|"
    r"quota[^/]{0,60}(?:exceed|reach|used up)|exceed[^/]{0,60}quota",
    re.IGNORECASE,
)
#: An object that a bucket's rule moved to where it is read hours later.
ARCHIVED = re.compile(r"invalidobjectstate|not valid for the object's (?:storage class|access tier)", re.IGNORECASE)
ARCHIVED_HINT = (
    "ask the service to bring it back (RestoreObject), which takes hours, and take away the bucket's rule that moves "
    "objects there: `dr target check` names it"
)
REFUSED = re.compile(
    r"access ?denied|invalidaccesskeyid|signaturedoesnotmatch|access key id you provided|forbidden|"
    r"request signature we calculated|permission denied \(publickey",
    re.IGNORECASE,
)
GONE = re.compile(r"nosuchbucket|specified bucket does not exist|bucket .* does not exist", re.IGNORECASE)
_PERMANENT = (HEARD, CERTIFICATE, READ_ONLY, SPACE, ARCHIVED, REFUSED, GONE, service_refusals.FOR_GOOD)


#: What rclone says of its own: restic passes that on, and itself hears no more than "500 Internal Server Error".
_RCLONE = re.compile(r"^rclone: (?:\S+ \S+ )?ERROR\s*: (?:(?:data|index|keys|locks|snapshots|config)\S*: )?(.*)")


@dataclass(frozen=True)
class Try:
    """One operation that failed and is tried again: what was done, in how many seconds again, and why."""

    doing: str
    wait: float
    why: str


def try_of(line: str) -> Try | None:
    """Return what a line says of a try; None when it says something else."""
    found = _TRY.search(_PAINT.sub("", line))
    if not found:
        return None
    wait = sum(float(number) * _UNITS[unit] for number, unit in _SPAN.findall(found[2]))
    return Try(found[1], wait, found[3].strip())


def said_by_rclone(line: str) -> str:
    """Return what went wrong by rclone's own words; nothing when a line says something else."""
    found = _RCLONE.search(_PAINT.sub("", line))
    return found[1].strip() if found else ""


def cause_of(found: Try, rclone: str) -> str:
    """Return why it is tried again, with what rclone said of it before."""
    return f"{found.why}: {rclone}" if rclone else found.why


def is_permanent(cause: str) -> bool:
    """Whether no other try can change it."""
    return any(words.search(cause) for words in _PERMANENT)


def worked(line: str) -> str:
    """Return which operation worked in the end, by what a line says; nothing when it says something else."""
    found = _WORKED.search(_PAINT.sub("", line))
    return found[1] if found else ""


class Tries:
    """Hears one restic process: call it with each line of its standard error; True when it is to be ended.

    `gave_up` once it said so.
    """

    def __init__(self, where: str) -> None:
        self._where, self._patience, self._rclone, self.gave_up = where, Patience(), "", False

    def __call__(self, line: str) -> bool:
        """Whether to end it now. Every try is said."""
        if done := worked(line):
            self._patience.worked(done)
        self._rclone = said_by_rclone(line) or self._rclone
        if (found := try_of(line)) is None:
            return False
        why = cause_of(found, self._rclone)
        if is_permanent(why) or self._patience.is_spent(found.doing, found.wait):
            self.gave_up = True
            return True
        log.warning("%s: %s: %s; trying again in %.0f s", self._where, found.doing, why, found.wait)
        return False
