"""The negative probe: with the backup keys, try what an attacker who took them would, on a canary of our own.

Tried on one object, `_probe/canary` beside the repositories: deleting its version, also round a governance lock,
overwriting it, and shortening its lock, also round governance. What counts is the fact afterwards, not the answer:
whether the version can still be read, and until when it is locked. Of the bucket's settings one is tried: versioning
is turned on where it is on, which can change nothing. Lifecycle rules, the policy and the default lock are not tried:
putting back what was read a moment ago would undo what an administrator changed in between, and drop what this
program's library does not know of a newer rule.

The canary is used again while it is locked, and is overwritten only while it has one version, so versions do not pile
up: at most two for each period of its lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from dr.errors import DamageError, DrError, InterruptedRunError, RefusedError, TargetDownError
from dr.evidence.posture import Attempt, Probe, Severity
from dr.late_dataclass import dataclass
from dr.plan.target_s3 import S3Place
from dr.targets.findings import refusal_of, unwritable
from dr.targets.s3.bucket import open_bucket
from dr.tools.s3_bucket import S3Bucket
from dr.tools.s3_versions import Lock
from dr.tools.store import Version

CANARY = "_probe/canary"
_TEXT = b"A canary: tried by the backup keys to see what they could destroy. Nothing needs it.\n"
_APPEND_ONLY = "deny these keys DeleteObjectVersion in the bucket's policy (`dr target create --append-only`)"


@dataclass
class _Victim:
    """The version of the canary that is tried, and its lock. `others`: how many versions came over it, or before."""

    bucket: S3Bucket
    version: str
    text: bytes
    lock: Lock | None
    lock_known: bool
    others: int

    @property
    def versioned(self) -> bool:
        """Whether the bucket keeps versions."""
        return self.version != "null"

    def stands(self) -> bool:
        """Whether it can still be read, and is what it was."""
        try:
            return self.bucket.get_version(CANARY, self.version) == self.text
        except DamageError:
            return False


def probe(place: S3Place, *, now: datetime) -> Probe:
    """Try it, and return what was refused and what was not. Never leaves the bucket weaker than it was.

    Raises `TargetDownError`, and `RefusedError` where the canary's versions cannot even be listed or read.
    """
    bucket = open_bucket(place)
    victim = _victim(bucket, now)
    if isinstance(victim, DrError):
        return Probe(tried=now, attempts=(unwritable(victim),))
    attempts = list(_attempts(victim, place.immutability.mode, now))
    return Probe(tried=now, attempts=tuple(attempts))


def _victim(bucket: S3Bucket, now: datetime) -> _Victim | RefusedError:
    """Return a canary whose lock lives, or a new one. What is left of old ones is cleared away where that can be.

    Where a new one was to be written and these keys may not, the refusal.
    """
    there = [version for version in bucket.versions(CANARY) if not version.marker and version.id != "null"]
    there.sort(key=lambda version: version.modified)
    locks = {version.id: _lock_of(bucket, version.id) for version in there}
    for version in there:
        lock, _ = locks[version.id]
        if lock and lock.until > now + timedelta(hours=1):
            return _taken(bucket, version.id, (lock, True), others=len(there) - 1)
    left = [version.id for version in there if _remains(bucket, version)]
    never = [version for version in left if locks[version][0] is None]
    if len(never) > 1:  # no lock comes by itself here, and these keys cannot delete: another would only pile up
        return _taken(bucket, never[0], locks[never[0]], others=len(left) - 1)
    try:
        made = bucket.put_version(CANARY, _TEXT)
    except RefusedError as refused:
        return refused
    lock, known = _lock_of(bucket, made)
    return _Victim(bucket, made, _TEXT, lock, lock_known=known, others=len(left))


def _taken(bucket: S3Bucket, version: str, seen: tuple[Lock | None, bool], *, others: int) -> _Victim:
    """Take a version that is there: what it holds now is what must be there afterwards."""
    text = bucket.get_version(CANARY, version)
    return _Victim(bucket, version, text, seen[0], lock_known=seen[1], others=others)


def _remains(bucket: S3Bucket, version: Version) -> bool:
    """Clear away an old canary; whether it is still there."""
    try:
        bucket.delete_version(version.name, version.id)
    except (TargetDownError, InterruptedRunError):
        raise
    except DrError:
        return True
    return False


def _lock_of(bucket: S3Bucket, version: str) -> tuple[Lock | None, bool]:
    """Return the lock, and whether these keys may know of one."""
    try:
        return bucket.lock_of(CANARY, version), True
    except (RefusedError, DamageError):
        return None, False


def _attempts(victim: _Victim, mode: str, now: datetime) -> Iterator[Attempt]:
    yield _overwrite(victim)
    yield _delete(victim, bypass=False)
    if victim.stands():
        yield _delete(victim, bypass=True)
    for bypass in (False, True):
        if victim.lock and victim.stands():
            yield _shorten(victim, now, bypass=bypass)
    if not victim.lock:
        severity: Severity = "ok" if mode == "none" else "medium" if victim.lock_known else "low"
        why = "the canary has no lock" if victim.lock_known else "these keys may not ask for its lock"
        yield _not_tried("shorten a lock", why, severity)
    yield _versioning(victim)


def _delete(victim: _Victim, *, bypass: bool) -> Attempt:
    what = "delete a version round governance" if bypass else "delete a version"
    refused = refusal_of(lambda: victim.bucket.delete_version(CANARY, victim.version, bypass=bypass))
    if victim.stands():
        how = _held(victim) if refused else "the service took the request, and kept the version"
        return Attempt(what=what, outcome="refused", severity="ok", observed=how)
    by = "these keys may bypass governance" if bypass else "these keys can delete stored versions for good"
    hint = _APPEND_ONLY if not bypass else "take BypassGovernanceRetention from these keys, or use compliance mode"
    return Attempt(what=what, outcome="allowed", severity="high", observed=f"{by}: the canary is gone", hint=hint)


def _held(victim: _Victim) -> str:
    lock = victim.lock
    return f"refused; locked ({lock.mode}) until {lock.until:%Y-%m-%d}" if lock else "refused, without a lock"


def _overwrite(victim: _Victim) -> Attempt:
    what = "overwrite an object"
    if victim.versioned and victim.others:
        observed = "a new version came over it before, and the old one is still read"
        return Attempt(what=what, outcome="allowed", severity="ok", observed=observed)
    refused = refusal_of(lambda: victim.bucket.put_version(CANARY, _TEXT + b"Overwritten.\n"))
    if refused:
        return Attempt(what=what, outcome="refused", severity="ok", observed="refused")
    if victim.versioned and victim.stands():
        victim.others += 1
        observed = "makes a new version; the old one stays and is read"
        return Attempt(what=what, outcome="allowed", severity="ok", observed=observed)
    victim.version = victim.bucket.put_version(CANARY, _TEXT)
    observed = "the old bytes are gone: an attacker with these keys replaces every object"
    hint = "turn versioning on, with Object Lock: `dr target create`"
    return Attempt(what=what, outcome="allowed", severity="high", observed=observed, hint=hint)


def _shorten(victim: _Victim, now: datetime, *, bypass: bool) -> Attempt:
    """Try a lock one day shorter, and put back what was when it worked."""
    what = "shorten a lock round governance" if bypass else "shorten a lock"
    before = victim.lock
    assert before is not None  # noqa: S101 - the caller has looked
    shorter = Lock(before.mode, max(now + timedelta(minutes=10), before.until - timedelta(days=1)))
    refusal_of(lambda: victim.bucket.lock(CANARY, victim.version, shorter, bypass=bypass))
    after, _ = _lock_of(victim.bucket, victim.version)
    if after and after.until >= before.until:
        return Attempt(what=what, outcome="refused", severity="ok", observed=_held(victim))
    refusal_of(lambda: victim.bucket.lock(CANARY, victim.version, before, bypass=bypass))
    hint = "take PutObjectRetention and BypassGovernanceRetention from these keys, or use compliance mode"
    observed = "a lock can be shortened with these keys, then the version deleted"
    return Attempt(what=what, outcome="allowed", severity="high", observed=observed, hint=hint)


def _versioning(victim: _Victim) -> Attempt:
    """Turn versioning on where it is on: whoever may, may also suspend it."""
    what = "change bucket settings"
    if not victim.versioned:
        return _not_tried(what, "versioning is off: nothing could be tried without a change", "ok")
    if refusal_of(victim.bucket.set_versioning):
        return Attempt(what=what, outcome="refused", severity="ok", observed="versioning: refused")
    severity: Severity = "medium" if victim.lock else "high"
    observed = "these keys may set versioning (turned on where it is on; nothing changed), and so may suspend it"
    hint = "deny these keys PutBucketVersioning and PutLifecycleConfiguration in the bucket's policy"
    return Attempt(what=what, outcome="allowed", severity=severity, observed=observed, hint=hint)


def _not_tried(what: str, why: str, severity: Severity) -> Attempt:
    return Attempt(what=what, outcome="not tried", severity=severity, observed=why)
