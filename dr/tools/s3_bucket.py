"""A bucket as a keeper: how it is set, and made; beside the versions of its objects and the locks on them.

Every method is one request, or a few, and each is counted. What a service does not say is None; what it says is not
there is empty: the two are never taken for one another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dr.late_dataclass import dataclass
from dr.tools.s3_versions import S3Versions
from dr.tools.store import Access


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a bucket is set. `lock` is whether Object Lock is on; None where the service does not say."""

    versioning: str | None  # Enabled, Suspended, Off
    lock: bool | None
    default_mode: str = ""  # of new objects: compliance, governance, or none
    default_days: int = 0
    lifecycle: tuple[Mapping[str, Any], ...] | None
    policy: Mapping[str, Any] | None
    public: Access
    clock: datetime | None


class S3Bucket(S3Versions):
    """A bucket below a prefix, with its settings, versions and locks. Safe for many threads."""

    @property
    def prefix(self) -> str:
        """The prefix below which its objects lie; it ends with a slash, or is empty."""
        return self._prefix

    @property
    def arn(self) -> str:
        """The bucket's name in policies."""
        return f"arn:aws:s3:::{self._bucket}"

    def is_there(self) -> bool:
        """Whether the bucket exists; `RefusedError` when these keys may not know."""
        from botocore.exceptions import ClientError

        self._count()
        with self._errors("looking at the bucket"):
            try:
                self._client.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return False
                raise
        return True

    def settings(self) -> Settings:
        """Return how the bucket is set, as far as these keys may ask."""
        posture = self.preflight()
        versioning, lock = self._told("get_bucket_versioning"), self._told("get_object_lock_configuration")
        rules, policy = self._told("get_bucket_lifecycle_configuration"), self._told("get_bucket_policy")
        found = (lock or {}).get("ObjectLockConfiguration", {})
        rule = found.get("Rule", {}).get("DefaultRetention", {})
        document = json.loads(policy["Policy"]) if policy else policy
        return Settings(
            versioning=None if versioning is None else str(versioning.get("Status", "Off")),
            lock=None if lock is None else found.get("ObjectLockEnabled") == "Enabled",
            default_mode=str(rule.get("Mode", "")).lower(),
            default_days=int(rule.get("Days", 0)) or 365 * int(rule.get("Years", 0)),
            lifecycle=None if rules is None else tuple(rules.get("Rules", ())),
            policy=document,
            public="open" if _lets_anybody_in(document or {}) else posture.public_access,
            clock=posture.clock,
        )

    def make(self, *, lock: bool) -> None:
        """Make the bucket, with Object Lock on when `lock`: it can hardly be turned on later."""
        more: dict[str, Any] = {"ObjectLockEnabledForBucket": True} if lock else {}
        if "amazonaws.com" in self._endpoint and self._region != "us-east-1":
            more["CreateBucketConfiguration"] = {"LocationConstraint": self._region}
        self._change("making the bucket", "create_bucket", **more)

    def set_versioning(self) -> None:
        """Turn versioning on. Where it is on already nothing changes."""
        self._change("turning versioning on", "put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})

    def set_default_lock(self, mode: str, days: int) -> None:
        """Lock what is written from now on for so many days."""
        rule = {"DefaultRetention": {"Mode": mode.upper(), "Days": days}}
        whole = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        self._change("setting the default lock", "put_object_lock_configuration", ObjectLockConfiguration=whole)

    def set_lifecycle(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Set the whole list of lifecycle rules."""
        whole = {"Rules": list(rules)}
        self._change("setting lifecycle rules", "put_bucket_lifecycle_configuration", LifecycleConfiguration=whole)

    def set_policy(self, policy: Mapping[str, Any]) -> None:
        """Set the whole bucket policy."""
        self._change("setting the bucket's policy", "put_bucket_policy", Policy=json.dumps(policy))


def _lets_anybody_in(policy: Mapping[str, Any]) -> bool:
    """Whether a policy allows something to everybody, under no condition."""
    for statement in _several(policy.get("Statement")):
        principal = statement.get("Principal")
        names = _several(principal.get("AWS")) if isinstance(principal, Mapping) else [principal]
        if statement.get("Effect") == "Allow" and "*" in names and not statement.get("Condition"):
            return True
    return False


def _several(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
