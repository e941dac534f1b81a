"""The versions in a bucket: what was overwritten and deleted there, read, and put back on top."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dr.errors import DamageError, RefusedError
from dr.tools.s3 import S3Store, http_time
from dr.tools.view import Version

_BLOCK = 1 << 18


class S3Versions(S3Store):
    """A bucket's place with its versions. Made of the store of that place, whose connections it shares."""

    @classmethod
    def of(cls, store: S3Store) -> S3Versions:
        """Return the same place, with its versions."""
        made = cls.__new__(cls)
        made.__dict__.update(store.__dict__)
        return made

    def keeps(self) -> bool:
        """Whether the bucket keeps versions, now or once: where the service does not say, by what is in it."""
        answer = self._ask("get_bucket_versioning")
        if answer is not None:
            return answer.get("Status") in ("Enabled", "Suspended")
        with self._errors("listing versions"):
            page = self._client.list_object_versions(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=100)
        return any(item.get("VersionId", "null") != "null" for item in page.get("Versions", ()))

    def now(self) -> datetime:
        """Return the service's time, to the second; this machine's where it does not say."""
        with self._errors("looking at the bucket"):
            headers = self._client.head_bucket(Bucket=self._bucket)["ResponseMetadata"]["HTTPHeaders"]
        return http_time(headers.get("date")) or datetime.now(UTC)

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See `Versioned`."""
        with self._errors("listing versions"):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for item in page.get("Versions", ()):
                    yield self._version(item, size=item["Size"], etag=item.get("ETag", "").strip('"'))
                for mark in page.get("DeleteMarkers", ()):
                    yield self._version(mark, marker=True)

    def _version(self, item: Any, *, size: int = 0, etag: str = "", marker: bool = False) -> Version:
        name, when = item["Key"][len(self._prefix) :], item["LastModified"]
        return Version(name, item["VersionId"], size, when, marker=marker, latest=item["IsLatest"], etag=etag)

    def read(self, version: Version, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `Versioned`."""
        if end is not None and end <= start:
            return
        asked: Any = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        with self._errors(f"reading a version of {version.name}"):
            key = self._prefix + version.name
            body = self._client.get_object(Bucket=self._bucket, Key=key, VersionId=version.id, **asked)["Body"]
            with body:
                yield from body.iter_chunks(_BLOCK)

    def sha256_of(self, version: Version) -> str:
        """Return the SHA-256 (hex) of a version's bytes; nothing when it is gone meanwhile."""
        digest = hashlib.sha256()
        try:
            for block in self.read(version):
                digest.update(block)
        except DamageError:
            return ""
        return digest.hexdigest()

    def drop(self, version: Version) -> None:
        """Take a version, or a marker, away for good. `RefusedError` where a lock or a policy forbids it."""
        with self._errors(f"taking a version of {version.name} away"):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + version.name, VersionId=version.id)

    def lift(self, version: Version) -> None:
        """Put an older version on top again, copied within the service; the versions below stay."""
        key = self._prefix + version.name
        with self._errors(f"putting {version.name} back"):
            self._client.copy_object(
                Bucket=self._bucket,
                Key=key,
                CopySource={"Bucket": self._bucket, "Key": key, "VersionId": version.id},
            )

    def protected_until(self, version: Version) -> datetime | None:
        """Return until when a version is locked; None when it is not, or the service may not say."""
        try:
            with self._errors("asking for the lock"):
                answer = self._client.get_object_retention(
                    Bucket=self._bucket, Key=self._prefix + version.name, VersionId=version.id
                )
        except (DamageError, RefusedError):
            return None
        except Exception:  # noqa: BLE001 - a service without locks answers in many ways
            return None
        until: datetime | None = answer.get("Retention", {}).get("RetainUntilDate")
        return until
