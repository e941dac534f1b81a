"""Making a bucket the right way: what is declared against what is there, and the steps between.

Nothing is ever weakened: a lock that is longer than declared, a rule somebody else made, a statement of the policy
stay. What cannot be changed (Object Lock is turned on when a bucket is made) is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.errors import UsageError
from dr.plan.target_kind import Credentials, Immutability
from dr.plan.target_s3 import S3Place
from dr.targets.making import BucketPlan, SettingChange
from dr.targets.s3.bucket import open_bucket
from dr.targets.s3.posture import lifecycle
from dr.tools.s3_bucket import S3Bucket, Settings

#: Unfinished uploads are cleaned away after so many days.
UPLOAD_DAYS = 7
_OLD, _UPLOADS, _APPEND = "dr-old-versions", "dr-unfinished-uploads", "DrAppendOnly"
#: What keys that back up may never do. restic deletes nothing but its own passing locks.
_DENIED = (
    "DeleteObjectVersion", "BypassGovernanceRetention", "PutObjectRetention", "PutObjectLegalHold",
    "PutBucketVersioning", "PutLifecycleConfiguration", "PutBucketObjectLockConfiguration", "PutBucketPolicy",
    "DeleteBucketPolicy", "DeleteBucket",
)  # fmt: skip


def plan_bucket(place: S3Place, *, credentials: Credentials | None, principal: str | None) -> BucketPlan:
    """Return the steps from what is there to what is declared. Changes nothing.

    `credentials` are of somebody who may; `principal` names whose keys are to append only.
    """
    bucket = open_bucket(place, credentials)
    bucket.reachable()
    rules, changes = place.immutability, list[SettingChange]()
    stays: list[str] = []
    new = not bucket.is_there()
    if new:
        lock = rules.mode != "none"
        how = " with Object Lock" if lock else ""
        changes.append(SettingChange(f"make the bucket {place.bucket}{how}", lambda: bucket.make(lock=lock)))
    settings = None if new else bucket.settings()
    changes += _versioning(bucket, settings)
    changes += _lock(bucket, settings, rules, stays)
    changes += _lifecycle(bucket, settings, rules, stays)
    changes += _append_only(bucket, settings, principal, stays) if principal else []
    return BucketPlan(bucket.where, new, tuple(changes), tuple(stays))


def _versioning(bucket: S3Bucket, settings: Settings | None) -> list[SettingChange]:
    if settings and settings.versioning == "Enabled":
        return []
    return [SettingChange("turn versioning on", bucket.set_versioning)]


def _lock(bucket: S3Bucket, settings: Settings | None, rules: Immutability, stays: list[str]) -> list[SettingChange]:
    if rules.mode == "none":
        return []
    wanted = f"{rules.mode} {rules.days} days"
    if settings and not settings.lock:
        word = "is off" if settings.lock is False else "cannot be asked for with these keys"
        stays.append(f"Object Lock {word}, {wanted} declared: it is turned on when a bucket is made, so make another")
        return []
    if settings and settings.default_days:
        there = f"{settings.default_mode} {settings.default_days} days"
        if there == wanted:
            return []
        if settings.default_mode == "compliance" and (rules.mode != "compliance" or settings.default_days > rules.days):
            stays.append(f"the default lock is {there}, {wanted} declared: it would be weakened, so it stays")
            return []
        if settings.default_days > rules.days:
            stays.append(f"the default lock is {there}, {wanted} declared: it would be shortened, so it stays")
            return []
    act = lambda: bucket.set_default_lock(rules.mode, rules.days)  # noqa: E731 - one step among others
    return [SettingChange(f"lock new objects by default: {wanted}", act)]


def _lifecycle(
    bucket: S3Bucket, settings: Settings | None, rules: Immutability, stays: list[str]
) -> list[SettingChange]:
    there = list(settings.lifecycle or ()) if settings else []
    if settings and settings.lifecycle is None:
        stays.append("lifecycle rules cannot be asked for with these keys, so none is set")
        return []
    for finding in lifecycle(there, rules, prefix=bucket.prefix):
        if finding.what == "lifecycle" and finding.severity != "ok":
            stays.append(f"{finding.observed}: remove it, as this program removes no rule of others")
    named = {str(rule.get("ID", "")) for rule in there}
    whole = [rule for rule in _rules(bucket.prefix, rules) if rule["ID"] not in named]
    if not whole:
        return []
    told = {
        _OLD: f"delete old versions after {rules.max_lock_days} days",
        _UPLOADS: f"clean unfinished uploads away after {UPLOAD_DAYS} days",
    }
    words = " and ".join(told[rule["ID"]] for rule in whole)
    return [SettingChange(words, lambda: bucket.set_lifecycle([*there, *whole]))]


def _rules(prefix: str, rules: Immutability) -> list[dict[str, Any]]:
    common = {"Status": "Enabled", "Filter": {"Prefix": prefix}}
    old = {"NoncurrentVersionExpiration": {"NoncurrentDays": rules.max_lock_days}}
    uploads = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS}}
    return [{"ID": _OLD, **common, **old}, {"ID": _UPLOADS, **common, **uploads}]


def _append_only(bucket: S3Bucket, settings: Settings | None, principal: str, stays: list[str]) -> list[SettingChange]:
    if not principal.startswith("arn:"):
        raise UsageError(
            f"{principal!r} is not a name of a principal",
            "--append-only",
            hint="write it as arn:aws:iam::ACCOUNT:user/NAME",
        )
    policy = dict(settings.policy or {}) if settings else {}
    if settings and settings.policy is None:
        stays.append("the bucket's policy cannot be asked for with these keys, so none is set")
        return []
    ours = _statements(bucket, principal)
    others = [item for item in policy.get("Statement", ()) if not str(item.get("Sid", "")).startswith(_APPEND)]
    if [item for item in policy.get("Statement", ()) if item not in others] == ours:
        return []
    whole = {"Version": "2012-10-17", **policy, "Statement": [*others, *ours]}
    return [
        SettingChange(f"let {principal} add, and neither delete nor change locks", lambda: bucket.set_policy(whole))
    ]


def _statements(bucket: S3Bucket, principal: str) -> list[Mapping[str, Any]]:
    below = f"{bucket.arn}/{bucket.prefix}"
    who = {"Effect": "Deny", "Principal": {"AWS": principal}}
    acts = [f"s3:{act}" for act in _DENIED]
    keeps = {"Action": "s3:DeleteObject", "NotResource": f"{below}*/locks/*"}
    return [
        {"Sid": f"{_APPEND}Versions", **who, "Action": acts, "Resource": [bucket.arn, f"{bucket.arn}/*"]},
        {"Sid": f"{_APPEND}Objects", **who, **keeps},
    ]
