"""What a service's refusal means, and what is to be done about it: by its code, else by its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.late_dataclass import dataclass
from dr.tools.restic_tries import ARCHIVED_HINT, SPACE
from dr.tools.s3_actions import denied
from dr.tools.s3_tries import is_passing

#: Code -> what to do about keys that were refused.
_REFUSED = {
    "AccessDenied": "give the keys the right to it; a bucket that belongs to somebody else answers alike",
    "AllAccessDisabled": "ask the service: it has closed this bucket",
    "InvalidAccessKeyId": "correct the access key's id, or make a new key pair: the service does not know this one",
    "SignatureDoesNotMatch": "correct the secret access key: it is not the one of its id",
    "ExpiredToken": "get new keys with a new session token: theirs has expired",
    "InvalidToken": "get new keys with a new session token, or leave out one that does not belong to them",
    "UnrecognizedClientException": "correct the key pair",
    "403": "check the target's key pair and its rights",
    "Forbidden": "check the target's key pair and its rights",
}
REFUSED = frozenset(_REFUSED)
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_CLOCK = {"RequestTimeTooSkewed", "RequestExpired"}


@dataclass(frozen=True)
class Asked:
    """What was asked: a bucket at an endpoint, known to have been there by the record when `seen`."""

    bucket: str
    endpoint: str
    where: str
    seen: bool = False


def meaning(response: Mapping[str, Any], doing: str, asked: Asked, *, action: str = "") -> DrError:
    """Return the error that an answer deserves, which came while we were `doing` something that needs an `action`."""
    bucket, where = asked.bucket, asked.where
    told, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status, headers = (
        str(told.get("Code") or ""),
        int(about.get("HTTPStatusCode", 0)),
        about.get("HTTPHeaders", {}),
    )
    if code == "NoSuchBucket" or (status == 404 and "bucket" in doing):
        return _no_bucket(asked)
    if code in _ELSEWHERE:
        region = str(told.get("Region") or headers.get("x-amz-bucket-region") or "")
        hint = f"write region: {region}" if region else "write the region of the bucket"
        return DrError(f"the bucket {bucket} is in another region", where, code, f"{hint}, and that region's endpoint")
    if code in _CLOCK:
        there = f"; it is {headers['date']} there" if headers.get("date") else ""
        return DrError(
            f"this machine's clock is too far from the target's{there}",
            where,
            code,
            "set the clock, and keep it by NTP",
        )
    if SPACE.search(f"{code} {told.get('Message', '')}"):
        return DrError(f"{doing} failed: the target is full", where, code, hint="raise its quota, or free some space")
    if code == "InvalidObjectState":
        return TargetDownError(f"{doing} failed: the object lies in an archive", where, code, hint=ARCHIVED_HINT)
    if code == "AccessDenied" and action:
        return denied(action, where, code)
    if code in _REFUSED or status in (401, 403):
        if action and (not code or is_bare(response)):  # as to a head request: no body says why
            return RefusedError(
                f"the target refused the credentials, or denies them {action}", where, code, _REFUSED["403"]
            )
        if code not in _REFUSED:
            hint = "see what the service says of it: its answer does not speak of the keys"
            return RefusedError(f"{doing} failed: the target refused it", where, code, hint=hint)
        return RefusedError("the target refused the credentials", where, code, hint=_REFUSED[code])
    if status == 404:
        return DamageError(f"{doing}: it is not there", where, hint="run `dr verify` to see all")
    why, passing = code or f"status {status}", status >= 500 or is_passing(code, status)
    return TargetDownError(f"{doing} failed", where, why, hint="see the service, then try again", retryable=passing)


def _no_bucket(asked: Asked) -> DrError:
    """Only what was once seen there can be gone."""
    if asked.seen:
        what = f"the bucket {asked.bucket} is gone from {asked.endpoint}, where it was by the record"
        hint = "see who removed it; make it again with `dr target create`, or correct its name or the endpoint"
    else:
        what = f"there is no bucket {asked.bucket} at {asked.endpoint}"
        hint = "make it with `dr target create`, or correct its name or the endpoint"
    return TargetDownError(what, asked.where, hint=hint)


def is_bare(response: Mapping[str, Any]) -> bool:
    """Whether an answer is a status alone, as to a head request, which has no body to say why."""
    return str(response.get("Error", {}).get("Code", "")).isdigit()


def is_folder_mark(item: Mapping[str, Any]) -> bool:
    """Whether an entry of a listing is nothing but the mark of a folder: no bytes, and a slash at its end.

    Consoles and file browsers make such to show folders. restic makes none, and passes over them.
    """
    return not item.get("Size") and str(item["Key"]).endswith("/")
