"""An object store in a bucket of any S3-compatible service. Sole user of boto3, loaded when first needed."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import filterfalse
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from dr.errors import DamageError, DrError, TargetDownError
from dr.tools import line, s3_meter
from dr.tools.digest import sha256_of
from dr.tools.meter import Meter
from dr.tools.network import Way, knock, proxy_for, why_untrusted
from dr.tools.s3_actions import action_of
from dr.tools.s3_answers import REFUSED, Asked, is_bare, is_folder_mark, meaning
from dr.tools.s3_client import client
from dr.tools.s3_posture import object_lock, public_access, versioning
from dr.tools.secrets import S3Keys
from dr.tools.store import ObjectStore, Posture, Stored

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef, ListObjectsV2OutputTypeDef

    from dr.tools.s3_quick import Quick

_BLOCK = 1 << 20
_NO_LOCKS = {"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration", "NotImplemented"}
#: What a service says that was to copy one version, and found another.
_CHANGED = {"PreconditionFailed", "412"}
#: Bytes that one request may copy or write; more goes in parts.
_ONE_COPY = 5 << 30
#: Bytes of one object that are held in memory on their way; a larger one waits in a file. Packs have some 17 MB.
_IN_MEMORY = 24 << 20


class S3Store:
    """Objects below a prefix of a bucket."""

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
        self._meter = meter or Meter()
        self._endpoint, self._bucket, self._region, self._keys, self._way = endpoint, bucket, region, keys, way
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.seen = False  # whether the record says that the bucket was there: else it cannot be gone
        self._shared: dict[str, S3Client] = {}
        self._strangers: set[str] = set()  # stores that these keys may not read: nothing is copied there by the service

    @property
    def where(self) -> str:
        """See `ObjectStore`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @classmethod
    def of(cls, store: S3Store, inner: str = "") -> Self:
        """Return the place of another store, or one below it, as this class. Shares the connections."""
        made = cls(
            endpoint=store._endpoint,
            bucket=store._bucket,
            prefix=store._prefix + inner,
            region=store._region,
            keys=store._keys,
            way=store._way,
            meter=store._meter,
        )
        made._shared, made.seen = store._shared, store.seen
        return made

    def child(self, prefix: str) -> Self:
        """See `ObjectStore`. Shares the connections."""
        return type(self).of(self, prefix)

    def reachable(self) -> None:
        """See `ObjectStore`. A connection, to the proxy where one leads there, and its certificate; without boto3."""
        try:
            knock(self._url, self._way.ca_file)
        except (OSError, ValueError) as error:
            if why := why_untrusted(error):
                raise self._distrusted(why) from None
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise TargetDownError(
                f"{self._endpoint} does not answer",
                self.where,
                reason,
                hint="check the network, the endpoint and the service",
                retryable=True,
            ) from error

    @property
    def _url(self) -> str:
        return self._way.url(self._endpoint, self._bucket)

    def _distrusted(self, why: str) -> DrError:
        host = urlsplit(self._url).hostname
        return TargetDownError(
            f"the certificate of {host} is not trusted",
            self.where,
            why,
            hint="name its authority's certificate under `ca_file`, or add it to this system's store; "
            "or correct the endpoint, or the certificate",
        )

    def preflight(self) -> Posture:
        """See `ObjectStore`."""
        with self._errors("looking at the bucket"):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
            clock = http_time(page["ResponseMetadata"]["HTTPHeaders"].get("date"))
        client, bucket = self._client, self._bucket
        return Posture(versioning(client, bucket), object_lock(client, bucket), public_access(client, bucket), clock)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See `ObjectStore`."""
        with self._errors("listing objects"):
            for page in self._pages(self._prefix + prefix):
                for item in filterfalse(is_folder_mark, page.get("Contents", ())):
                    name, version = item["Key"][len(self._prefix) :], item.get("ETag", "").strip('"')
                    yield Stored(name, item["Size"], item["LastModified"], version)

    def _pages(self, prefix: str) -> Iterator[ListObjectsV2OutputTypeDef]:
        """Yield the pages of a listing. Not by boto3's paginator: others may ask between two pages, and be counted."""
        start: dict[str, str] = {}
        while True:
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **start)  # type: ignore[arg-type]
            yield page
            token = page.get("NextContinuationToken", "")
            if not page.get("IsTruncated"):
                return
            if not token or token == start.get("ContinuationToken"):
                raise TargetDownError("the service's list of objects breaks off", self.where, hint="see the service")
            start = {"ContinuationToken": token}

    def sha256(self, name: str) -> tuple[str, int]:
        """See `ObjectStore`."""
        quick = self._quick
        if quick and quick.usable and (found := quick.sha256(self._prefix + name, self._meter)):
            return found
        return sha256_of(self.blocks(name))

    def names(self, folder: str) -> frozenset[str] | None:
        """Return the names of the objects in a folder (`index/`), where they can be had without boto3; else None."""
        quick, top = self._quick, self._prefix + folder
        found = quick.names(top, self._meter) if quick and quick.usable else None
        return None if found is None else frozenset(key.removeprefix(top) for key in found)

    @property
    def _quick(self) -> Quick | None:
        from dr.tools.s3_quick import quick

        return quick(self._endpoint, self._bucket, self._keys, region=self._region, way=self._way)

    def blocks(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            with body:
                yield from self._metered(body)

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"):
            key, span = self._prefix + name, f"bytes={start}-{end - 1}"
            body = self._client.get_object(Bucket=self._bucket, Key=key, Range=span)["Body"]
            with body:
                yield from self._metered(body)

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            with body:
                return b"".join(self._metered(body))

    def _metered(self, body: StreamingBody, most: int = _BLOCK) -> Iterator[bytes]:
        return self._meter.taking(line.fetched(body.iter_chunks(line.piece(most))))

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""
        with self._errors(f"writing {name}"):
            self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + name, Body=data, ContentMD5=content_md5(data)
            )

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        """See `ObjectStore`. On one service the service copies, and what it made is read back.

        Services carry over to the copy what belongs to the old object alone (SeaweedFS does): its checksums, so that
        those prove nothing, and its lock and legal hold, which nobody ordered here. So what may be locked is written.
        """
        if isinstance(source, S3Store) and self._shares_service(source) and source.lockless:
            if version and self._taken_unread(name, source, sha256=sha256, version=version):
                return True
            found, size, locked = source._examined(name)
            if found != sha256:
                return False
            if not locked and self._copied_there(name, source, size=size):
                self._prove(name, sha256)
                return True
        return self._written(name, source.blocks(name), sha256=sha256)

    def _taken_unread(self, name: str, source: S3Store, *, sha256: str, version: str) -> bool:
        """Let the service copy what it still lists as it was; what it made is read, which proves both ends.

        Where that is not what the name says, it is taken away again: only reading both ends tells which is at fault.
        """
        with self._errors(f"looking at {name}"):
            head = source._client.head_object(Bucket=source._bucket, Key=source._prefix + name)
        if bears_lock(head) or head["ETag"].strip('"') != version:
            return False
        if not self._copied_there(name, source, size=head["ContentLength"], version=version):
            return False
        if self.sha256(name)[0] == sha256:
            return True
        self.remove(name)
        return False

    @functools.cached_property
    def lockless(self) -> bool:
        """Whether the service says that Object Lock is off on this bucket; not when these keys may not ask."""
        return self._says_lockless()

    def _says_lockless(self) -> bool:
        from botocore.exceptions import ClientError

        with self._errors("asking for the bucket's Object Lock"):
            try:
                answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                return error.response.get("Error", {}).get("Code") in _NO_LOCKS
        return answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled"

    def _examined(self, name: str) -> tuple[str, int, bool]:
        """Return the SHA-256 (hex) and size of an object, and whether it bears a lock or a legal hold."""
        with self._errors(f"reading {name}"):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            body = answer["Body"]
            with body:
                digest, size = sha256_of(self._metered(body))
        return digest, size, bears_lock(answer)

    def _prove(self, name: str, sha256: str) -> None:
        """Read what the service made. What is not as it was copied is taken away: it has the name of something else."""
        if self.sha256(name)[0] != sha256:
            self.remove(name)
            raise DamageError(
                f"the service's copy of {name} is not what was copied", self.where, hint="see the service"
            )

    def lock_on_top(self, name: str) -> tuple[datetime | None, bool]:
        """Return until when an object is locked, and whether it is under a legal hold, as far as these keys may see."""
        with self._errors(f"looking at {name}"):
            head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)
        return head.get("ObjectLockRetainUntilDate"), head.get("ObjectLockLegalHoldStatus", "OFF") != "OFF"

    def _shares_service(self, source: S3Store) -> bool:
        return source._endpoint == self._endpoint and source.where not in self._strangers

    def _copied_there(self, name: str, source: S3Store, *, size: int, version: str = "") -> bool:
        """Let the service copy, a large one in parts; False when these keys may not read the source.

        With `version` (an ETag) only while the source is that one: else False too.
        """
        from botocore.exceptions import ClientError

        bucket, key = self._bucket, self._prefix + name
        origin: CopySourceTypeDef = {"Bucket": source._bucket, "Key": source._prefix + name}
        same: dict[str, Any] = {"CopySourceIfMatch": f'"{version}"'} if version else {}
        with self._errors(f"copying {name}"):
            try:
                if size > _ONE_COPY:
                    with s3_meter.in_parts(bucket, key, self._meter):
                        self._client.copy(origin, bucket, key, ExtraArgs=same)
                else:
                    self._client.copy_object(CopySource=origin, Bucket=bucket, Key=key, **same)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code in REFUSED | {"NotImplemented"}:
                    self._strangers.add(source.where)
                elif not version or code not in _CHANGED:
                    raise
                return False
        return True

    def _written(self, name: str, blocks: Iterable[bytes], *, sha256: str = "") -> bool:
        """Read whole, check, then write. The service checks again what reaches it: it is given the checksum.

        Where that is too large for one request, there is none to give, and what it made is read back. Without `sha256`
        (hex) whatever comes is written.
        """
        digest = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
            for block in blocks:
                digest.update(block)
                with _room_here():
                    copy.write(block)
            if sha256 not in ("", digest.hexdigest()):
                return False
            size = copy.tell()
            copy.seek(0)
            line.sending(size)
            with self._errors(f"writing {name}"):
                if size > _ONE_COPY:
                    with s3_meter.in_parts(self._bucket, self._prefix + name, self._meter):
                        self._client.upload_fileobj(copy, self._bucket, self._prefix + name)
                else:
                    self._client.put_object(
                        Bucket=self._bucket,
                        Key=self._prefix + name,
                        Body=copy,
                        ContentLength=size,
                        ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                    )
        if size > _ONE_COPY:
            self._prove(name, digest.hexdigest())
        return True

    def remove(self, name: str) -> None:
        """See `ObjectStore`. In a versioned bucket the bytes stay, below a delete marker."""
        with self._errors(f"removing {name}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def exists(self, name: str) -> bool:
        """See `ObjectStore`. What is there needs no boto3; of what does not seem to be, boto3 says why.

        Where boto3 is loaded it is asked at once: it tells each answer of a busy service, and waits as that wishes.
        """
        quick = None if "client" in self._shared else self._quick
        if quick and quick.usable and quick.holds(self._prefix + name, self._meter):
            return True
        try:
            with self._errors(f"looking for {name}"):
                self._look_for(name)
        except DamageError:
            # A head request has no body to say why: the bucket itself may be gone.
            with self._errors("looking at the bucket"):
                self._client.head_bucket(Bucket=self._bucket)
            return False
        return True

    def _look_for(self, name: str) -> None:
        """Ask for an object; where it is refused without a reason, ask for its first byte: that answer has a body."""
        from botocore.exceptions import ClientError

        key = self._prefix + name
        try:
            self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status != 404 and status < 500 and is_bare(error.response):
                self._client.get_object(Bucket=self._bucket, Key=key, Range="bytes=0-0")
            raise

    @property
    def _client(self) -> S3Client:
        """The service's client, for the one request that this thread makes next: it is counted for this store."""
        s3_meter.asks(self._meter)
        if "client" not in self._shared:
            proxy = proxy_for(self._url, os.environ)
            self._shared["client"] = client(self._endpoint, self._keys, region=self._region, way=self._way, proxy=proxy)
        return self._shared["client"]

    @contextmanager
    def _errors(self, doing: str, *, of_version: bool = False) -> Iterator[None]:
        """Turn what botocore raises into ours; its texts hold no secrets, its request objects might."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            EndpointConnectionError,
            HTTPClientError,
            IncompleteReadError,
        )
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as error:
            asked = Asked(self._bucket, self._endpoint, self.where, self.seen)
            action = action_of(error.operation_name, of_version=of_version)
            raise meaning(error.response, doing, asked, action=action) from None
        except (EndpointConnectionError, HTTPClientError, IncompleteReadError, HTTPError, OSError) as error:
            if why := why_untrusted(error):
                raise self._distrusted(why) from None
            raise TargetDownError(
                f"{doing} failed: the target does not answer",
                self.where,
                type(error).__name__,
                hint="check the network and the service, then try again",
                retryable=True,
            ) from None
        except (BotoCoreError, ValueError) as error:
            raise DrError(
                f"{doing} failed", self.where, type(error).__name__, hint="check the target's endpoint and region"
            ) from None


def bears_lock(head: Mapping[str, Any]) -> bool:
    """Whether what a service says of an object names a lock, run out or not, or a legal hold."""
    return bool(head.get("ObjectLockRetainUntilDate") or head.get("ObjectLockLegalHoldStatus", "OFF") != "OFF")


def content_md5(data: bytes) -> str:
    """Return the `Content-MD5` of a body, which S3 wants with each write into a bucket with Object Lock."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


@contextmanager
def _room_here() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DrError(
            "an object cannot be held here on its way",
            tempfile.gettempdir(),
            error.strerror or "",
            hint="free some space there, or name another place in TMPDIR",
        ) from error


def http_time(text: str | None) -> datetime | None:
    """Return the moment of a `Date` header (RFC 9110, 5.6.7); None for none, or one that is no date."""
    from email.utils import parsedate_to_datetime  # who brings one file back waits for every import

    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
