"""The target kind `s3`, as it is declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from dr.plan.base import ConfigPath
from dr.plan.on_disk import Found, Key, kept_file, no_file
from dr.plan.target_kind import CA_FILE, Credentials, Immutability, TargetKind

#: What may stand for a host: a name, or an address of either kind.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?")
#: A bucket that can stand before a host's name, where the certificate's `*` stands for one part.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


class S3Place(TargetKind):
    """A bucket of any S3-compatible service."""

    key: ClassVar = "s3"
    noun: ClassVar = "bucket"
    about: ClassVar = "A bucket of any S3-compatible service."
    example: ClassVar = {"endpoint": "https://s3.us-east-1.amazonaws.com", "bucket": "district-vault", "prefix": "dr"}
    medium: ClassVar = "object-storage"
    may_keep_versions: ClassVar = True
    counts: ClassVar = "requests"
    address_key: ClassVar = "endpoint"

    endpoint: Annotated[
        str,
        Field(
            description="Address of the service: scheme, host and, if needed, port. `bucket` and "
            "`credentials` are written apart.",
            examples=["https://s3.us-east-1.amazonaws.com"],
        ),
    ] = "https://s3.amazonaws.com"
    bucket: Annotated[
        str,
        Field(min_length=3, description="Name of the bucket, 3 to 63 characters.", examples=["district-vault"]),
    ]
    prefix: Annotated[
        str,
        Field(
            description="Where in the bucket the repositories are: names with one / between them. The repository of a "
            "system is at PREFIX/SYSTEM. Default: the top of the bucket.",
            examples=["dr"],
        ),
    ] = ""
    region: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]{1,64}$",
            description="The service's region. Most services other than AWS accept any.",
            examples=["eu-central-1"],
        ),
    ] = "us-east-1"
    addressing: Annotated[
        Literal["path", "virtual"] | None,
        Field(
            description="Where the bucket's name is in a request: in the `path`, or before the host's name "
            "(`virtual`). Default: virtual at AWS, path elsewhere."
        ),
    ] = None
    ca_file: Annotated[ConfigPath | None, CA_FILE] = None
    credentials: Annotated[
        Credentials | None,
        Field(
            description="Where the backup keys are read from. They need to read, list and write objects, and nothing "
            "else. Default: the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.",
            examples=[{"file": "/etc/dr/keys/backup"}],
        ),
    ] = None
    delete_credentials: Annotated[
        Credentials | None,
        Field(
            description="Keys that may read, list, write and delete objects, which `dr expire` alone uses: name others "
            "than `credentials`, so that whoever takes the backup keys can delete nothing. Default: none, and nothing "
            "expires here.",
            examples=[{"file": "/etc/dr/keys/expire"}],
        ),
    ] = None
    immutability: Annotated[
        Immutability,
        Field(
            description="What Object Lock the bucket is meant to enforce. Default: none is expected.",
            examples=[{"mode": "compliance", "days": 30, "max_lock_days": 90}],
        ),
    ] = Immutability.model_construct()

    @field_validator("endpoint")
    @classmethod
    def _web_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = urlsplit("")
        if "@" in value:
            raise ValueError("do not put access keys into the address: name them under credentials")
        named = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "") and _port_is_sound(parts)
        if not named or not value.isprintable() or " " in value:
            raise ValueError(f"{value!r} is not an address of a service: write it as https://HOST or https://HOST:PORT")
        if parts.path.strip("/") or parts.query or parts.fragment or "?" in value or "#" in value:
            raise ValueError(
                f"{value!r} goes past the host: leave {parts.scheme}://{parts.netloc}, and write what follows under "
                "bucket and prefix"
            )
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @field_validator("bucket")
    @classmethod
    def _bucket_name(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value) or ".." in value:
            raise ValueError(f"{value!r} is not a bucket name: use letters, digits, '.', '-' and '_', 3 to 63 of them")
        return value

    @field_validator("prefix")
    @classmethod
    def _one_place(cls, value: str) -> str:
        """Return it without slashes around it; refuse what restic, the service and a reader would take otherwise."""
        whole = value.strip("/")
        for part in whole.split("/") if whole else ():
            if part in ("", ".", "..") or part != part.strip() or not part.isprintable() or set(part) & set("%?#\\"):
                raise ValueError(
                    f"{value!r} is not one place to all who read it: write names with one / between them, without "
                    "'.' or '..' for a name, white space around one, or any of % ? # \\"
                )
        return whole

    @field_validator("ca_file")
    @classmethod
    def _one_file(cls, value: Path | None) -> Path | None:
        if value and "," in str(value):
            raise ValueError("restic takes a comma for the end of a file's name: give the file another one")
        return value

    @model_validator(mode="after")
    def _addressable(self) -> S3Place:
        if self.addressing == "virtual" and not _HOST_LABEL.fullmatch(self.bucket):
            raise ValueError(
                f"the bucket {self.bucket!r} cannot stand before a host's name: use addressing: path, or a bucket "
                "named with small letters, digits and '-' alone"
            )
        return self

    @property
    def expires(self) -> bool:
        """See `TargetKind`."""
        return self.delete_credentials is not None

    @property
    def place(self) -> tuple[str, ...]:
        """See `TargetKind`."""
        return ("s3", self.endpoint.rstrip("/"), self.bucket, self.prefix.strip("/"))

    @property
    def service_host(self) -> str:
        """See `TargetKind`."""
        return urlsplit(self.endpoint).hostname or ""

    @property
    def container(self) -> str:
        """See `TargetKind`."""
        return self.bucket.lower()

    def faults(self, env: Mapping[str, str]) -> Iterator[Found]:
        """See `TargetKind`."""
        if self.ca_file:
            make = "write the authority's certificate there, in PEM, or correct the path"
            yield from no_file(("s3", "ca_file"), self.ca_file, "the authorities file", make)
        yield from _credentials(self.credentials, env, ("s3", "credentials"))
        if (apart := self.immutability.credentials) is not None:
            yield from _credentials(apart, env, ("s3", "immutability", "credentials"))


def _credentials(declared: Credentials | None, env: Mapping[str, str], at: Key) -> Iterator[Found]:
    hint = "make it, or correct the name"
    if declared is None:
        if not env.get("AWS_ACCESS_KEY_ID"):
            yield ("s3",), "the target names no credentials, and AWS_ACCESS_KEY_ID is not set", hint, "unsound"
        return
    if declared.file:
        yield from kept_file(at, declared.file, "the credentials file", hint)
    if declared.env:
        for name in (declared.env.access_key_id, declared.env.secret_access_key, declared.env.session_token):
            if name and not env.get(name):
                yield at, f"the environment variable {name} is not set", "set it where dr runs", "unsound"


def _port_is_sound(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False
