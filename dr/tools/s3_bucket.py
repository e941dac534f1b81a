"""A bucket as a keeper: its settings, its objects' versions, and the locks on them.

Every method is one request, or one a page, and is counted. What a service does not say is None; what it says
is not there is empty: the two are never taken for one another.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dr.errors import DamageError, DrError, RefusedError
from dr.tools.s3 import S3Store, content_md5, http_time
from dr.tools.secrets import S3Keys
from dr.tools.store import Access

_NOTHING = {
    "ObjectLockConfigurationNotFoundError", "NoSuchLifecycleConfiguration", "NoSuchBucketPolicy",
    "NoSuchObjectLockConfiguration", "NoSuchPublicAccessBlockConfiguration",
}  # fmt: skip
#: What a service answers to a question about locks where the bucket has none.
_NO_LOCK = {*_NOTHING, "InvalidRequest"}


@dataclass(frozen=True)
class Lock:
    """A lock on one version: `compliance` or `governance`, and when it runs out."""

    mode: str
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of an object, or a delete marker. `current` is what a plain read gives."""

    name: str
    version_id: str
    modified: datetime
    current: bool
    marker: bool = False
    size: int = 0
    etag: str = ""


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


class S3Bucket(S3Store):
    """A bucket below a prefix, with its settings, versions and locks. Safe for many threads."""

    def __init__(
        self, *, endpoint: str, bucket: str, prefix: str = "", region: str = "us-east-1", keys: S3Keys
    ) -> None:
        super().__init__(endpoint=endpoint, bucket=bucket, prefix=prefix, region=region, keys=keys)
        self._guard, self._calls = threading.Lock(), 0

    @property
    def calls(self) -> int:
        """How many requests were made through this object."""
        return self._calls

    @property
    def prefix(self) -> str:
        """The prefix below which its objects lie; it ends with a slash, or is empty."""
        return self._prefix

    @property
    def arn(self) -> str:
        """The bucket's name in policies."""
        return f"arn:aws:s3:::{self._bucket}"

    # -- settings -----------------------------------------------------------------------------------

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

    def now(self) -> datetime | None:
        """Return the time there; None when the service does not say."""
        self._count()
        with self._errors("looking at the bucket"):
            headers = self._client.head_bucket(Bucket=self._bucket)["ResponseMetadata"]["HTTPHeaders"]
        return http_time(headers.get("date"))

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

    # -- versions -----------------------------------------------------------------------------------

    def versions(self, prefix: str = "", *, pages: int | None = None) -> Iterator[Version]:
        """Yield versions and delete markers below the prefix, a thousand a request; at most so many pages."""
        start: dict[str, str] = {}  # empty markers are refused by some services
        number = 0
        while pages is None or number < pages:
            number += 1
            self._count()
            with self._errors("listing versions"):
                page: dict[str, Any] = dict(
                    self._client.list_object_versions(Bucket=self._bucket, Prefix=self._prefix + prefix, **start)  # type: ignore[arg-type]
                )
            yield from (self._version(item) for item in page.get("Versions", ()))
            yield from (self._version(item, marker=True) for item in page.get("DeleteMarkers", ()))
            if not page.get("IsTruncated"):
                return
            start = {"KeyMarker": page["NextKeyMarker"]}
            start |= {"VersionIdMarker": marker} if (marker := page.get("NextVersionIdMarker")) else {}

    def put_version(self, name: str, data: bytes) -> str:
        """Write an object and return the id of its version; `null` where there are no versions."""
        self._count()
        with self._errors(f"writing {name}"):
            answer = self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + name, Body=data, ContentMD5=content_md5(data)
            )
        return str(answer.get("VersionId", "null"))

    def get_version(self, name: str, version_id: str) -> bytes:
        """Return the bytes of a version; `DamageError` when it is not there."""
        self._count()
        with self._errors(f"reading {name}"):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, VersionId=version_id)["Body"]
            with body:
                return bytes(body.read())

    def delete_version(self, name: str, version_id: str, *, bypass: bool = False) -> None:
        """Delete a version for good; with `bypass` against a governance lock. Raises when refused."""
        more: dict[str, Any] = {"BypassGovernanceRetention": True} if bypass else {}
        self._change(f"deleting {name}", "delete_object", Key=self._prefix + name, VersionId=version_id, **more)

    # -- locks --------------------------------------------------------------------------------------

    def lock_of(self, name: str, version_id: str) -> Lock | None:
        """Return the lock on a version, run out or not; None for none. `RefusedError` when it may not be asked."""
        self._count()
        with self._errors(f"looking at {name}"):
            head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + name, VersionId=version_id)
        if "ObjectLockRetainUntilDate" in head:
            return Lock(str(head.get("ObjectLockMode", "")).lower(), head["ObjectLockRetainUntilDate"])
        found = self._retention(name, version_id).get("Retention", {})  # the head keeps silent to some keys
        return Lock(str(found["Mode"]).lower(), found["RetainUntilDate"]) if found else None

    def lock(self, name: str, version_id: str, lock: Lock, *, bypass: bool = False) -> None:
        """Lock a version, or lengthen its lock. A service shortens none, but with `bypass` one of governance."""
        from botocore.exceptions import ClientError

        more: dict[str, Any] = {"BypassGovernanceRetention": True} if bypass else {}
        retention: Any = {"Mode": lock.mode.upper(), "RetainUntilDate": lock.until}
        self._count()
        with self._errors(f"locking {name}"):
            try:
                self._client.put_object_retention(
                    Bucket=self._bucket, Key=self._prefix + name, VersionId=version_id, Retention=retention, **more
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NO_LOCK:
                    raise DrError(
                        "Object Lock is off on this bucket, so nothing can be locked",
                        self.where,
                        hint="see `dr target check`; make another bucket with `dr target create`",
                    ) from None
                raise

    # -- mechanism ----------------------------------------------------------------------------------

    def _count(self) -> None:
        with self._guard:
            self._calls += 1

    def _change(self, doing: str, act: str, **arguments: Any) -> None:
        self._count()
        with self._errors(doing):
            getattr(self._client, act)(Bucket=self._bucket, **arguments)

    def _retention(self, name: str, version_id: str) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        self._count()
        with self._errors(f"looking at {name}"):
            try:
                return dict(
                    self._client.get_object_retention(
                        Bucket=self._bucket, Key=self._prefix + name, VersionId=version_id
                    )
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NO_LOCK:
                    return {}
                raise

    def _told(self, question: str) -> dict[str, Any] | None:
        """Return the answer; empty when there is no such thing, None when these keys may not ask."""
        from botocore.exceptions import ClientError

        self._count()
        try:
            with self._errors(f"asking {question}"):
                try:
                    return dict(getattr(self._client, question)(Bucket=self._bucket))
                except ClientError as error:
                    if error.response.get("Error", {}).get("Code") in _NOTHING:
                        return {}
                    raise
        except DamageError:
            return {}
        except RefusedError:
            return None
        except DrError as error:
            if error.retryable:
                raise
            return None

    def _version(self, item: Mapping[str, Any], *, marker: bool = False) -> Version:
        return Version(
            name=item["Key"][len(self._prefix) :],
            version_id=item["VersionId"],
            modified=item["LastModified"],
            current=bool(item.get("IsLatest")),
            marker=marker,
            size=int(item.get("Size", 0)),
            etag=str(item.get("ETag", "")).strip('"'),
        )


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


def in_days(now: datetime, days: int) -> datetime:
    """Return a moment so many days on, to the whole second that locks are kept in."""
    return (now + timedelta(days=days)).replace(microsecond=0)
