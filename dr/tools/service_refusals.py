"""What a service refuses for good, when restic alone heard it: by the words that services say it in.

Our own requests are told by codes (see `s3_answers`); restic passes on the sentence beside the code, and would ask
again for a quarter of an hour.
"""

from __future__ import annotations

import re

from dr.errors import DrError, RefusedError

_CLOCK = re.compile(r"difference between the request time and the \S+ time is too large", re.IGNORECASE)
_TOKEN = re.compile(r"(?:provided|security|session) token [a-z ]*(?:expired|invalid|malformed)", re.IGNORECASE)
_REGION = re.compile(
    r"authorization header is malformed|addressed using the specified endpoint|location constraint is incompatible",
    re.IGNORECASE,
)
#: For `restic_tries`: no other try changes one of these.
FOR_GOOD = re.compile("|".join(each.pattern for each in (_CLOCK, _TOKEN, _REGION)), re.IGNORECASE)


def refusal(heard: str, *, where: str, doing: str, cause: str) -> DrError | None:
    """Return the error that a sentence of a service deserves; None where it says nothing of the kind."""
    if _CLOCK.search(heard):
        what = f"{doing} failed: this machine's clock is too far from the target's"
        return DrError(what, where, cause, hint="set the clock, and keep it by NTP")
    if _TOKEN.search(heard):
        hint = "get new keys with a new session token: theirs has expired, or does not belong to them"
        return RefusedError("the target refused the credentials", where, cause, hint=hint)
    if _REGION.search(heard):
        hint = "write the region of the bucket, and that region's endpoint"
        return DrError(f"{doing} failed: the bucket is in another region", where, cause, hint=hint)
    return None
