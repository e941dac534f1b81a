"""What a target refuses for good, when restic alone heard it: by the words that services and systems say it in.

Our own requests are told by codes (see `s3_answers`). restic passes on the sentence beside the code, would ask again
for a quarter of an hour, and takes for damaged what it was not given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dr.errors import DamageError, DrError, RefusedError
from dr.tools.s3_actions import denied

_CLOCK = re.compile(r"difference between the request time and the \S+ time is too large", re.IGNORECASE)
_TOKEN = re.compile(r"(?:provided|security|session) token [a-z ]*(?:expired|invalid|malformed)", re.IGNORECASE)
_REGION = re.compile(
    r"authorization header is malformed|addressed using the specified endpoint|location constraint is incompatible",
    re.IGNORECASE,
)
#: What a REST server answers, and what stands before one.
_LOGIN = re.compile(r"unexpected HTTP response \(40[13]\)", re.IGNORECASE)
#: For `restic_tries`: no other try changes one of these.
FOR_GOOD = re.compile("|".join(each.pattern for each in (_CLOCK, _TOKEN, _REGION, _LOGIN)), re.IGNORECASE)


def refusal(heard: str, *, where: str, doing: str, cause: str) -> DrError | None:
    """Return the error that a sentence of a service deserves; None where it says nothing of the kind."""
    if _CLOCK.search(heard):
        what = f"{doing} failed: this machine's clock is too far from the target's"
        return DrError(what, where, cause, hint="set the clock, and keep it by NTP")
    if _TOKEN.search(heard):
        hint = "get new keys with a new session token: theirs has expired, or does not belong to them"
        return RefusedError("the target refused the credentials", where, cause, hint=hint)
    if _LOGIN.search(heard):
        hint = "check the target's login, and what it may read there"
        return RefusedError("the target refused the credentials", where, cause, hint=hint)
    if _REGION.search(heard):
        hint = "write the region of the bucket, and that region's endpoint"
        return DrError(f"{doing} failed: the bucket is in another region", where, cause, hint=hint)
    return None


#: How an item's complaint ends where the target has what it needs, and does not let these keys have it.
_DENIED = re.compile(r"\baccess ?denied\.?\s*$", re.IGNORECASE)
#: The same of the files of a repository, here or by SFTP, and of restic's cache: never of a file that is restored.
_RIGHTS = re.compile(r"(?:/[0-9a-f]{64}\b|/tmp-\d+|\(<\w+/[0-9a-f]+>)[^/\n]{0,80}permission denied", re.IGNORECASE)
_GIVE = (
    "correct the rights in the repository, and in `cache` of the state directory: files of another user are there, as "
    "after one run as root. As root: `chown -R USER` both"
)


def withheld(said: str, *, where: str, doing: str) -> DrError | None:
    """Return why the target did not give what it may well have, by what restic said of one item; None for all else."""
    cause = " ".join(said.split())[:300]
    if _DENIED.search(said):
        return denied("s3:GetObject", where, cause)
    if _RIGHTS.search(said):
        return RefusedError(f"{doing} failed: not permitted", where, cause, hint=_GIVE)
    return refusal(said, where=where, doing=doing, cause=cause)


def refuse_withheld(complaints: Iterable[str], *, where: str, doing: str) -> None:
    """Raise why the target did not give something, where restic complains of that: no damage can be told then."""
    for complaint in complaints:
        if error := withheld(complaint, where=where, doing=doing):
            raise error


def spoilt_by(complaint: str, *, where: str, hint: str) -> DrError:
    """Return why an item could not be restored whole, by what was said of it: damage, but where it was not given."""
    damage = DamageError("stored data is damaged", where, complaint, hint=hint)
    return withheld(complaint, where=where, doing="the restore") or damage
