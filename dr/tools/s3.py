"""An object store in a bucket of any S3-compatible service. Sole user of boto3, loaded when first needed."""

from __future__ import annotations

import base64
import functools
import hashlib
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.tools.secrets import S3Keys
from dr.tools.store import Access, ObjectStore, Posture, Stored

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

_BLOCK = 1 << 20
_REFUSED = {
    "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "Forbidden",
    "ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed", "UnrecognizedClientException",
}  # fmt: skip
#: Bytes that one request may copy or write; more goes in parts.
_ONE_COPY = 5 << 30
#: Bytes of one object that are held in memory on their way; a larger one waits in a file. Packs have some 17 MB.
_IN_MEMORY = 24 << 20
#: Threads that may use one client at once.
CONNECTIONS = 32


class S3Store:
    """Objects below a prefix of a bucket."""

    def __init__(
        self, *, endpoint: str, bucket: str, prefix: str = "", region: str = "us-east-1", keys: S3Keys
    ) -> None:
        self._endpoint, self._bucket, self._region, self._keys = endpoint, bucket, region, keys
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
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
        )
        made._shared = store._shared
        return made

    def child(self, prefix: str) -> Self:
        """See `ObjectStore`. Shares the connections."""
        return type(self).of(self, prefix)

    def reachable(self) -> None:
        """See `ObjectStore`. A TCP connection, without boto3."""
        parts = urlsplit(self._endpoint)
        try:
            port = parts.port or (80 if parts.scheme == "http" else 443)
            socket.create_connection((parts.hostname or "", port), timeout=5).close()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise TargetDownError(
                f"{self._endpoint} does not answer",
                self.where,
                reason,
                hint="check the network, the endpoint and the service",
                retryable=True,
            ) from error

    def preflight(self) -> Posture:
        """See `ObjectStore`."""
        with self._errors("looking at the bucket"):
            headers = self._client.head_bucket(Bucket=self._bucket)["ResponseMetadata"]["HTTPHeaders"]
            clock = http_time(headers.get("date"))
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        return Posture(self._versioning(), self._object_lock(), self._public_access(), clock)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See `ObjectStore`."""
        with self._errors("listing objects"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    yield Stored(item["Key"][len(self._prefix) :], item["Size"], item["LastModified"])

    def sha256(self, name: str) -> tuple[str, int]:
        """See `ObjectStore`."""
        digest, size = hashlib.sha256(), 0
        for block in self.blocks(name):
            digest.update(block)
            size += len(block)
        return digest.hexdigest(), size

    def blocks(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            with body:
                yield from body.iter_chunks(_BLOCK)

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """See `dr.tools.overlay.Based`."""
        with self._errors(f"reading {name}"):
            key, span = self._prefix + name, f"bytes={start}-{end - 1}"
            body = self._client.get_object(Bucket=self._bucket, Key=key, Range=span)["Body"]
            with body:
                yield from body.iter_chunks(_BLOCK)

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            with body:
                return bytes(body.read())

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""
        with self._errors(f"writing {name}"):
            self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + name, Body=data, ContentMD5=content_md5(data)
            )

    def take(self, name: str, source: ObjectStore, *, sha256: str) -> bool:
        """See `ObjectStore`. On one service the service copies, and what it made is read back.

        Services carry the old object's checksums over to the copy (SeaweedFS does), so that those prove nothing.
        """
        if isinstance(source, S3Store) and self._shares_service(source):
            if (found := source.sha256(name))[0] != sha256:
                return False
            if self._copied_there(name, source, size=found[1]):
                self._prove(name, sha256)
                return True
        return self._streamed(name, source, sha256)

    def _prove(self, name: str, sha256: str) -> None:
        if self.sha256(name)[0] != sha256:
            raise DamageError(
                f"the service's copy of {name} is not what was copied", self.where, hint="see the service"
            )

    def _shares_service(self, source: S3Store) -> bool:
        return source._endpoint == self._endpoint and source.where not in self._strangers

    def _copied_there(self, name: str, source: S3Store, *, size: int) -> bool:
        """Let the service copy, a large one in parts; False when these keys may not read the source."""
        from botocore.exceptions import ClientError

        bucket, key = self._bucket, self._prefix + name
        origin: CopySourceTypeDef = {"Bucket": source._bucket, "Key": source._prefix + name}
        with self._errors(f"copying {name}"):
            try:
                if size > _ONE_COPY:
                    self._client.copy(origin, bucket, key)
                else:
                    self._client.copy_object(CopySource=origin, Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _REFUSED | {"NotImplemented"}:
                    self._strangers.add(source.where)
                    return False
                raise
        return True

    def _streamed(self, name: str, source: ObjectStore, sha256: str) -> bool:
        """Read whole, check, then write. The service checks again what reaches it: it is given the checksum.

        Where that is too large for one request, there is none to give, and what it made is read back.
        """
        digest = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
            for block in source.blocks(name):
                digest.update(block)
                with _room_here():
                    copy.write(block)
            if digest.hexdigest() != sha256:
                return False
            size = copy.tell()
            copy.seek(0)
            with self._errors(f"writing {name}"):
                if size > _ONE_COPY:
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
            self._prove(name, sha256)
        return True

    def remove(self, name: str) -> None:
        """See `ObjectStore`. In a versioned bucket the bytes stay, below a delete marker."""
        with self._errors(f"removing {name}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def exists(self, name: str) -> bool:
        """See `ObjectStore`."""
        try:
            with self._errors(f"looking for {name}"):
                self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)
        except DamageError:
            # A head request has no body to say why: the bucket itself may be gone.
            with self._errors("looking at the bucket"):
                self._client.head_bucket(Bucket=self._bucket)
            return False
        return True

    @property
    def _client(self) -> S3Client:
        if "client" not in self._shared:
            self._shared["client"] = _client(self._endpoint, self._region, self._keys)
        return self._shared["client"]

    def _versioning(self) -> bool | None:
        answer = self._ask("get_bucket_versioning")
        return None if answer is None else answer.get("Status") == "Enabled"

    def _object_lock(self) -> str | None:
        answer = self._ask("get_object_lock_configuration")
        found = (answer or {}).get("ObjectLockConfiguration", {})
        if found.get("ObjectLockEnabled") != "Enabled":
            return None
        rule = found.get("Rule", {}).get("DefaultRetention", {})
        if not rule:
            return "on, without a default"
        period = f"{rule['Days']} days" if "Days" in rule else f"{rule.get('Years', '?')} years"
        return f"{str(rule.get('Mode', '')).lower()} {period}"

    def _public_access(self) -> Access:
        acl = self._ask("get_bucket_acl")
        grants = (acl or {}).get("Grants", ())
        if any("AllUsers" in grant.get("Grantee", {}).get("URI", "") for grant in grants):
            return "open"
        status = self._ask("get_bucket_policy_status")
        if status is not None and status.get("PolicyStatus", {}).get("IsPublic"):
            return "open"
        return "closed" if acl is not None else "unknown"

    def _ask(self, question: str) -> dict[str, Any] | None:
        """Return the service's answer; None when it has no such thing or may not say."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, question)(Bucket=self._bucket)
        except (ClientError, BotoCoreError):
            return None
        return answer

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Turn what botocore raises into ours; its texts hold no secrets, its request objects might."""
        from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, HTTPClientError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as error:
            raise self._meaning(error.response, doing) from None
        except (EndpointConnectionError, HTTPClientError, HTTPError, OSError) as error:
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

    def _meaning(self, response: Any, doing: str) -> DrError:
        code = str(response.get("Error", {}).get("Code", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code == "NoSuchBucket" or (status == 404 and "bucket" in doing):
            return TargetDownError(
                f"the bucket {self._bucket} is gone",
                self.where,
                hint="make it with `dr target create`, or correct its name",
            )
        if code in _REFUSED or status in (401, 403):
            return RefusedError(
                "the target refused the credentials",
                self.where,
                code,
                hint="check the target's key pair and its rights",
            )
        if status == 404:
            return DamageError(f"{doing}: it is not there", self.where, hint="run `dr verify` to see all")
        return TargetDownError(
            f"{doing} failed",
            self.where,
            code or f"status {status}",
            hint="see the service, then try again",
            retryable=status >= 500,
        )


@functools.lru_cache(maxsize=64)
def _client(endpoint: str, region: str, keys: S3Keys) -> S3Client:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=CONNECTIONS,
        s3={
            "addressing_style": "auto" if "amazonaws.com" in endpoint else "path",
            "payload_signing_enabled": False,  # each body is written with a checksum in a signed header
        },
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.session.Session(
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
        region_name=region,
    )
    client: S3Client = session.client("s3", endpoint_url=endpoint, config=config)
    return client


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
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
