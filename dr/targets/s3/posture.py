"""How a bucket is kept, looked at without a change; what is tried there is in `dr.targets.s3.probe`.

What is looked at: versions, Object Lock against what the target declares, the locks on a sample of objects, public
access, TLS, the clock, and lifecycle rules that would eat versions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from dr.errors import DrError, InterruptedRunError
from dr.evidence.posture import Finding, Severity
from dr.plan.target_kind import Immutability
from dr.plan.target_s3 import S3Place
from dr.targets.findings import clock, tls
from dr.targets.s3.bucket import open_bucket, open_locks
from dr.tools.s3_bucket import S3Bucket, Settings
from dr.tools.store import Version

#: Objects asked for their lock; pages of a thousand versions they are drawn from.
SAMPLE, PAGES = 20, 5
#: Storage classes from which nothing can be read at once.
_COLD = {"GLACIER", "DEEP_ARCHIVE"}


def look_at_bucket(place: S3Place, now: datetime, below: str) -> Iterator[Finding]:
    """Yield how a bucket is kept; the sample of objects is drawn from below a prefix alone."""
    bucket = open_bucket(place)
    bucket.reachable()
    settings = _settings(place, bucket)
    rules = place.immutability
    yield tls(place.endpoint)
    yield clock(settings.clock, now)
    yield _versioning(settings, rules)
    yield from _lock(settings, rules)
    yield from _sample(place, rules, now, below)
    yield _public(settings)
    yield from lifecycle(settings.lifecycle, rules, prefix=bucket.prefix)


def _settings(place: S3Place, bucket: S3Bucket) -> Settings:
    """How it is set, by the backup keys; what they may not ask, by those for locks where they are declared."""
    settings = bucket.settings()
    if place.immutability.credentials is None:
        return settings
    other = open_locks(place).settings()
    return Settings(
        versioning=settings.versioning or other.versioning,
        lock=other.lock if settings.lock is None else settings.lock,
        default_mode=settings.default_mode or other.default_mode,
        default_days=settings.default_days or other.default_days,
        lifecycle=other.lifecycle if settings.lifecycle is None else settings.lifecycle,
        policy=other.policy if settings.policy is None else settings.policy,
        public=other.public if settings.public == "unknown" else settings.public,
        clock=settings.clock,
    )


def _versioning(settings: Settings, rules: Immutability) -> Finding:
    if settings.versioning == "Enabled":
        return Finding(what="versioning", severity="ok", observed="on: what is overwritten or deleted stays below")
    if settings.versioning is None:
        hint = "let the backup keys ask (GetBucketVersioning), or name others under immutability.credentials"
        return Finding(what="versioning", severity="low", observed="these keys may not ask", hint=hint)
    severity: Severity = "medium" if rules.mode == "none" else "high"
    word = "suspended" if settings.versioning == "Suspended" else "off"
    observed = f"{word}: what is overwritten or deleted is gone"
    return Finding(what="versioning", severity=severity, observed=observed, hint="turn it on: `dr target create`")


_UNASKED = "none declared, and these keys may not ask whether there is one (GetBucketObjectLockConfiguration)"


def _lock(settings: Settings, rules: Immutability) -> Iterator[Finding]:
    what = "object lock"
    there = f"{settings.default_mode} {settings.default_days} days" if settings.default_days else "no default"
    if rules.mode == "none":
        if settings.lock:
            yield Finding(what=what, severity="ok", observed=f"on ({there}), though the target declares none")
        else:
            hint = "make a bucket with Object Lock and declare it under immutability: see `dr target create`"
            observed = "none declared: who holds keys that may delete can delete every copy here"
            observed = _UNASKED if settings.lock is None else observed
            yield Finding(what=what, severity="low", observed=observed, hint=hint)
        return
    wanted = f"{rules.mode} {rules.days} days declared"
    if settings.lock is None:
        hint = "name keys that may ask (GetBucketObjectLockConfiguration) under immutability.credentials"
        yield Finding(what=what, severity="low", observed=f"these keys may not ask; {wanted}", hint=hint)
    elif not settings.lock:
        hint = "it is turned on when a bucket is made: make another with `dr target create`, and move there"
        yield Finding(what=what, severity="high", observed=f"off, {wanted}", hint=hint)
    else:
        yield from _default(settings, rules, there, wanted)


def _default(settings: Settings, rules: Immutability, there: str, wanted: str) -> Iterator[Finding]:
    what, hint = "object lock", "set the bucket's default retention: `dr target create` says how it differs"
    if not settings.default_days:
        observed = f"on, without a default: new objects are unlocked until the backup's end ({wanted})"
        yield Finding(what=what, severity="medium", observed=observed, hint=hint)
    elif settings.default_mode != rules.mode:
        weaker = settings.default_mode == "governance"
        severity: Severity = "high" if weaker else "low"
        yield Finding(what=what, severity=severity, observed=f"{there} by default, {wanted}", hint=hint)
    elif settings.default_days < rules.days:
        yield Finding(what=what, severity="medium", observed=f"{there} by default, {wanted}", hint=hint)
    elif settings.default_days > rules.max_lock_days:
        observed = f"{there} by default, past the declared ceiling of {rules.max_lock_days} days"
        yield Finding(what=what, severity="medium", observed=observed, hint="shorten it, or raise max_lock_days")
    else:
        yield Finding(what=what, severity="ok", observed=f"on: {there} by default, {wanted}")


def _public(settings: Settings) -> Finding:
    if settings.public == "open":
        hint = "let nobody but its owner in: take public grants out of its policy and access list"
        return Finding(what="public access", severity="high", observed="a public bucket: anybody may read", hint=hint)
    if settings.public == "unknown":
        return Finding(what="public access", severity="low", observed="these keys may not ask")
    return Finding(what="public access", severity="ok", observed="closed")


# -- a sample of objects -----------------------------------------------------------------------------


def _sample(place: S3Place, rules: Immutability, now: datetime, below: str) -> Iterator[Finding]:
    """Ask some current objects for their lock, where one is declared."""
    if rules.mode == "none":
        return
    what, bucket = "locks on objects", open_locks(place)
    try:
        there = [version for version in bucket.versions(below, pages=PAGES) if _counts(version)]
        chosen = random.Random(now.toordinal()).sample(there, min(SAMPLE, len(there)))  # noqa: S311 - no secret
        locks = [bucket.lock_of(version.name, version.id) for version in chosen]
    except InterruptedRunError:
        raise
    except DrError as error:
        yield Finding(what=what, severity="low", observed=f"could not be asked: {error.what}", hint=error.hint)
        return
    asked = f"{len(chosen)} of {len(there):,} objects asked"
    if not chosen:
        yield Finding(what=what, severity="ok", observed="no object is there yet")
        return
    ends = [lock.until for lock in locks if lock and lock.until > now]
    bare = len(chosen) - len(ends)
    if bare:
        hint = "run a backup: it locks what its points need; see what it says of locks"
        yield Finding(what=what, severity="high", observed=f"{asked}: {bare} have no lock now", hint=hint)
        return
    modes = sorted({lock.mode for lock in locks if lock})
    weak = rules.mode == "compliance" and "governance" in modes
    observed = f"{asked}: all locked ({', '.join(modes)}), the first until {min(ends):%Y-%m-%d}"
    hint = "who may bypass governance can delete these: new objects get the bucket's default" if weak else ""
    yield Finding(what=what, severity="medium" if weak else "ok", observed=observed, hint=hint)


def _counts(version: Version) -> bool:
    """Whether it is of a repository, as it is read now: evidence, canaries and restic's passing locks are not."""
    name = version.name
    apart = name.startswith("_") or "/locks/" in f"/{name}"
    return version.latest and not version.marker and not apart


# -- lifecycle ---------------------------------------------------------------------------------------


def lifecycle(rules: Sequence[Mapping[str, Any]] | None, declared: Immutability, *, prefix: str) -> Iterator[Finding]:
    """Yield what lifecycle rules would do to what lies below the prefix."""
    what = "lifecycle"
    if rules is None:
        yield Finding(what=what, severity="low", observed="these keys may not ask")
        return
    ours = [rule for rule in rules if rule.get("Status") == "Enabled" and _overlap(_prefix_of(rule), prefix)]
    found = [finding for rule in ours for finding in _eats(rule, declared)]
    yield from found
    if not any("AbortIncompleteMultipartUpload" in rule for rule in ours):
        observed = "never cleaned away: they cost, and nobody sees them"
        hint = "add a rule for unfinished uploads: `dr target create`"
        yield Finding(what="unfinished uploads", severity="low", observed=observed, hint=hint)
    if not found:
        count = "no rule" if not ours else f"none of {len(ours)} rule{'s' * (len(ours) > 1)}"
        yield Finding(what=what, severity="ok", observed=f"{count} eats versions")


def _eats(rule: Mapping[str, Any], declared: Immutability) -> Iterator[Finding]:
    what, name = "lifecycle", f"the rule {str(rule.get('ID', '')) or 'without a name'!r}"
    hint = "remove the rule, or keep it off this prefix"
    expiration = rule.get("Expiration", {})
    if "Days" in expiration or "Date" in expiration:
        when = f"after {expiration['Days']} days" if "Days" in expiration else f"on {expiration['Date']:%Y-%m-%d}"
        yield Finding(what=what, severity="high", observed=f"{name} deletes current objects {when}", hint=hint)
    days = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
    if days is not None and days < declared.days:
        observed = f"{name} deletes old versions after {days} days, before the declared {declared.days}"
        severity: Severity = "medium" if declared.mode == "none" else "high"
        yield Finding(what=what, severity=severity, observed=observed, hint="make it longer than the declared days")
    for move in (*rule.get("Transitions", ()), *rule.get("NoncurrentVersionTransitions", ())):
        if move.get("StorageClass") in _COLD:
            observed = f"{name} moves objects to {move['StorageClass']}: a recovery would wait for hours"
            yield Finding(what=what, severity="medium", observed=observed, hint=hint)


def _prefix_of(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    return str(rule.get("Prefix") or chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or "")


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
