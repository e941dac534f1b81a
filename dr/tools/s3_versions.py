"""The versions in a bucket: what was overwritten and deleted there, read, put back on top, locked and deleted for good.

The one place that lists versions and asks for locks. Every request is counted. Only a service's clear word that there
is no lock is taken for none: who may not ask, and a service that fails, get an error.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.late_dataclass import dataclass
from dr.tools.digest import sha256_of
from dr.tools.meter import Meter
from dr.tools.network import Way
from dr.tools.s3 import S3Store, bears_lock, content_md5, http_time
from dr.tools.s3_answers import is_folder_mark
from dr.tools.secrets import S3Keys
from dr.tools.store import Version

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_BLOCK = 1 << 18
#: What a service answers to a question about a bucket where there is no such thing.
_NOTHING = {
    "ObjectLockConfigurationNotFoundError", "NoSuchLifecycleConfiguration", "NoSuchBucketPolicy",
    "NoSuchObjectLockConfiguration", "NoSuchPublicAccessBlockConfiguration",
}  # fmt: skip
#: What a service answers to a question about a version's lock where it has none, or the bucket or service has no locks.
_NO_LOCK = {
    "ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration", "NoSuchObjectLegalHold", "NotImplemented",
}  # fmt: skip
#: What it answers to anything about locks in a bucket without; but also to much else.
_PERHAPS_NO_LOCK = "InvalidRequest"


@dataclass(frozen=True)
class Lock:
    """A lock on one version: `compliance` or `governance`, and when it runs out."""

    mode: str
    until: datetime


@dataclass(frozen=True)
class Protection:
    """What forbids that a version is deleted: a lock, run out or not, and a legal hold, which has no end."""

    lock: Lock | None = None
    legal_hold: bool = False

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.legal_hold or self.lock is not None

    def at(self, now: datetime) -> Protection:
        """Return what of it is in force."""
        return Protection(self.lock if self.lock and self.lock.until > now else None, self.legal_hold)


class S3Versions(S3Store):
    """A bucket's place with its versions and the locks on them. Safe for many threads."""

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        prefix: str = "",
        region: str = "us-east-1",
        keys: S3Keys,
        way: Way = Way(),  # noqa: B008 - it is frozen
        meter: Meter | None = None,
    ) -> None:
        super().__init__(
            endpoint=endpoint, bucket=bucket, prefix=prefix, region=region, keys=keys, way=way, meter=meter
        )
        self._guard, self._calls = threading.Lock(), 0

    @property
    def calls(self) -> int:
        """How many requests about versions, locks and settings were made through this object."""
        return self._calls

    def keeps(self) -> bool:
        """Whether the bucket keeps versions, now or once: where the service does not say, by what is in it."""
        answer = self._told("get_bucket_versioning")
        if answer is not None:
            return answer.get("Status") in ("Enabled", "Suspended")
        self._count()
        with self._errors("listing versions"):
            page = self._client.list_object_versions(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=100)
        return any(item.get("VersionId", "null") != "null" for item in page.get("Versions", ()))

    def now(self) -> datetime | None:
        """Return the time there, to the second; None when the service does not say."""
        self._count()
        with self._errors("looking at the bucket"):
            headers = self._client.head_bucket(Bucket=self._bucket)["ResponseMetadata"]["HTTPHeaders"]
        return http_time(headers.get("date"))

    # -- versions -----------------------------------------------------------------------------------

    def versions(self, prefix: str = "", *, pages: int | None = None) -> Iterator[Version]:
        """Yield versions and delete markers below the prefix, a thousand a request; at most so many pages.

        Name by name, of each name the newest first, but a page's markers after its versions.
        """
        start: dict[str, str] = {}  # empty markers are refused by some services
        number = 0
        while pages is None or number < pages:
            number += 1
            self._count()
            with self._errors("listing versions"):
                page: dict[str, Any] = dict(
                    self._client.list_object_versions(Bucket=self._bucket, Prefix=self._prefix + prefix, **start)  # type: ignore[arg-type]
                )
            yield from (self._version(item) for item in page.get("Versions", ()) if not is_folder_mark(item))
            gone = (item for item in page.get("DeleteMarkers", ()) if not is_folder_mark(item))
            yield from (self._version(item, marker=True) for item in gone)
            if not page.get("IsTruncated"):
                return
            if not page.get("NextKeyMarker"):
                raise TargetDownError("the service's list of versions breaks off", self.where, hint="see the service")
            start = {"KeyMarker": page["NextKeyMarker"]}
            start |= {"VersionIdMarker": marker} if (marker := page.get("NextVersionIdMarker")) else {}

    def _version(self, item: Mapping[str, Any], *, marker: bool = False) -> Version:
        return Version(
            item["Key"][len(self._prefix) :],
            item.get("VersionId", "null"),
            int(item.get("Size", 0)),
            item["LastModified"],
            marker=marker,
            latest=bool(item.get("IsLatest")),
            etag=str(item.get("ETag", "")).strip('"'),
        )

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
        return b"".join(self._blocks(name, version_id))

    def read(self, version: Version, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `Versioned`."""
        if end is not None and end <= start:
            return
        part = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        yield from self._blocks(version.name, version.id, **part)

    def _blocks(self, name: str, version_id: str, **part: str) -> Iterator[bytes]:
        self._count()
        with self._errors(f"reading a version of {name}", of_version=True):
            key = self._prefix + name
            body = self._client.get_object(Bucket=self._bucket, Key=key, VersionId=version_id, **part)["Body"]  # type: ignore[arg-type]
            with body:
                yield from self._metered(body, _BLOCK)

    def sha256_of(self, version: Version) -> str:
        """Return the SHA-256 (hex) of a version's bytes; nothing when it is gone meanwhile."""
        try:
            return sha256_of(self.read(version))[0]
        except DamageError:
            return ""

    def delete_version(self, name: str, version_id: str, *, bypass: bool = False) -> None:
        """Delete a version, or a marker, for good; with `bypass` against a governance lock. May be called twice.

        `RefusedError` where a lock or a missing right forbids it.
        """
        more: dict[str, Any] = {"BypassGovernanceRetention": True} if bypass else {}
        self._change(f"deleting {name}", "delete_object", Key=self._prefix + name, VersionId=version_id, **more)

    def lift(self, version: Version) -> None:
        """Put an older version on top again; the versions below stay.

        Copied within the service, unless it may bear a lock or a legal hold: some services would carry those over.
        """
        if not self.lockless or bears_lock(self._head(version.name, version.id)):
            self._count()
            self._written(version.name, self.read(version))
            return
        key = self._prefix + version.name
        origin = {"Bucket": self._bucket, "Key": key, "VersionId": version.id}
        self._change(f"putting {version.name} back", "copy_object", Key=key, CopySource=origin)

    # -- locks --------------------------------------------------------------------------------------

    def lock_of(self, name: str, version_id: str) -> Lock | None:
        """Return the lock on a version, run out or not; None when the service says that there is none.

        `RefusedError` when it may not be asked, `DamageError` when the version is not there.
        """
        return self._retention(name, version_id, self._head(name, version_id))

    def protection_of(self, name: str, version_id: str) -> Protection:
        """Return the lock and the legal hold on a version. Raises as `lock_of`."""
        head = self._head(name, version_id)
        lock = self._retention(name, version_id, head)
        return Protection(lock, self._legal_hold(name, version_id, head))

    def _head(self, name: str, version_id: str) -> Mapping[str, Any]:
        self._count()
        with self._errors(f"looking at {name}", of_version=True):
            return self._client.head_object(Bucket=self._bucket, Key=self._prefix + name, VersionId=version_id)

    def _retention(self, name: str, version_id: str, head: Mapping[str, Any]) -> Lock | None:
        """Read the lock from a head; where that is silent, as it is to some keys, ask once more."""
        mode, until = head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")
        if until is None:
            found = self._asked("get_object_retention", name, version_id).get("Retention") or {}
            if not found:
                return None
            mode, until = found.get("Mode"), found.get("RetainUntilDate")
        if until is None:
            raise DrError(f"the service says that {name} is locked, but not until when", self.where, hint="see there")
        return Lock(str(mode or "").lower(), until)

    def _legal_hold(self, name: str, version_id: str, head: Mapping[str, Any]) -> bool:
        held = head.get("ObjectLockLegalHoldStatus")
        if held is None:
            answer = self._asked("get_object_legal_hold", name, version_id)
            held = answer.get("LegalHold", {}).get("Status", "OFF")
        return bool(held != "OFF")

    def _asked(self, question: str, name: str, version_id: str) -> dict[str, Any]:
        """Return the answer to a question about a version; empty where the service says that there is none."""
        from botocore.exceptions import ClientError

        with self._errors(f"asking for the lock of {name}"):
            try:
                return self._answer(question, _NO_LOCK, Key=self._prefix + name, VersionId=version_id)
            except ClientError as error:
                if _code(error) == _PERHAPS_NO_LOCK and self.lockless:
                    return {}
                raise

    def _says_lockless(self) -> bool:
        self._count()
        return super()._says_lockless()

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
                if _code(error) in {*_NO_LOCK, _PERHAPS_NO_LOCK}:
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
        with self._errors(doing, of_version="VersionId" in arguments):
            getattr(self._client, act)(Bucket=self._bucket, **arguments)

    def _answer(self, question: str, nothing: Collection[str], **arguments: Any) -> dict[str, Any]:
        """Return what the service answers; empty for an error whose code says that there is no such thing."""
        from botocore.exceptions import ClientError

        self._count()
        try:
            return dict(getattr(self._client, question)(Bucket=self._bucket, **arguments))
        except ClientError as error:
            if _code(error) in nothing:
                return {}
            raise

    def _told(self, question: str) -> dict[str, Any] | None:
        """Return the answer about the bucket; empty when there is no such thing, None when these keys may not ask."""
        try:
            with self._errors(f"asking {question}"):
                return self._answer(question, _NOTHING)
        except DamageError:
            return {}
        except RefusedError:
            return None
        except DrError as error:
            if error.retryable:
                raise
            return None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def in_days(now: datetime, days: int) -> datetime:
    """Return a moment so many days on, to the whole second that locks are kept in."""
    return (now + timedelta(days=days)).replace(microsecond=0)
