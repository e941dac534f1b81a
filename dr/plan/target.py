"""A target: an offsite place that holds repositories, one for each system."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from dr.plan.base import ConfigPath, Declaration, Duration, Name

#: What may stand for a host: a name, or an address of either kind.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?")
#: A bucket that can stand before a host's name, where the certificate's `*` stands for one part.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


class EnvCredentials(Declaration):
    """The names of the environment variables that hold the key pair, and the token of passing credentials."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class Credentials(Declaration):
    """Where the S3 key pair is read from; exactly one of the three."""

    profile: str | None = None
    file: ConfigPath | None = None
    env: EnvCredentials | None = None

    @model_validator(mode="after")
    def _one(self) -> Credentials:
        if sum(x is not None for x in (self.profile, self.file, self.env)) != 1:
            raise ValueError("give exactly one of profile, file or env")
        return self


class Immutability(Declaration):
    """What object lock the bucket is meant to enforce, and how locks are kept alive.

    After each backup the locks on what recovery points need are lengthened to `days` from then, once less than
    `margin_days` of them is left (absent: a third of `days`), never past `max_lock_days`, with at most `max_calls`
    requests a run. `credentials` may lengthen locks where the backup keys may not. `price_per_1000` is what a
    thousand requests cost: for the record.
    """

    mode: Literal["compliance", "governance", "none"] = "none"
    days: Annotated[int, Field(ge=0)] = 30
    max_lock_days: Annotated[int, Field(ge=1)] = 90
    margin_days: Annotated[int, Field(ge=1)] | None = None
    max_calls: Annotated[int, Field(ge=1)] = 20_000
    price_per_1000: Annotated[float, Field(ge=0)] | None = None
    credentials: Credentials | None = None

    @property
    def margin(self) -> float:
        """The days that must be left of a lock, else it is lengthened."""
        return self.margin_days if self.margin_days is not None else self.days / 3

    @model_validator(mode="after")
    def _bounded(self) -> Immutability:
        if self.mode == "none":
            return self
        if self.days < 1:
            raise ValueError(f"days ({self.days}) must be at least 1 where mode is {self.mode}")
        if self.days > self.max_lock_days:
            raise ValueError(f"days ({self.days}) is more than max_lock_days ({self.max_lock_days})")
        if self.margin_days is not None and self.margin_days >= self.days:
            raise ValueError(f"margin_days ({self.margin_days}) is not less than days ({self.days})")
        return self


class S3Place(Declaration):
    """A bucket of any S3-compatible service. Without `credentials` the AWS_* environment is used.

    `addressing`: whether the bucket's name stands in the path of a request or before the host's name (absent: in the
    path, but at AWS). `ca_file`: the certificates, in PEM, of the authorities to believe in place of the system's.
    """

    endpoint: str = "https://s3.amazonaws.com"
    bucket: Annotated[str, Field(min_length=3)]
    prefix: str = ""
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "us-east-1"
    addressing: Literal["path", "virtual"] | None = None
    ca_file: ConfigPath | None = None
    credentials: Credentials | None = None
    immutability: Immutability = Immutability()

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


def _port_is_sound(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


class LocalPlace(Declaration):
    """A directory on this host: for trying out, or a mounted disk. Not an offsite copy."""

    path: ConfigPath

    @field_validator("path", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty: name a directory")
        return value


#: Whether a host's name or address is that of this host.
IsHere = Callable[[str], bool]
Media = Literal["object-storage", "disk", "tape", "optical", "other"]


class Target(Declaration):
    """One target file.

    `offline`: a disk that is taken away, so that it may be absent; only a replica may lie there. `offsite`: whether a
    copy here survives the loss of this host's place (default: a bucket does, a directory does not). `media` is what the
    copies lie on (default: by kind). `provider` and `account` are words for the report. `forget_after`: a replica here
    forgets what the plan's retention has no use for, once the primary has lacked it for so long (absent: never).
    """

    target: Name
    s3: S3Place | None = None
    local: LocalPlace | None = None
    offline: bool = False
    offsite: bool | None = None
    media: Media | None = None
    provider: str = ""
    account: str = ""
    forget_after: Annotated[Duration, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Target:
        if (self.s3 is None) == (self.local is None):
            raise ValueError("give exactly one of s3 or local")
        if self.offline and not self.local:
            raise ValueError("only a local target can be offline: a disk that is taken away")
        return self

    @property
    def medium(self) -> Media:
        """What the copies lie on, as declared or by kind."""
        return self.media or ("object-storage" if self.s3 else "disk")

    @property
    def place(self) -> tuple[str, ...]:
        """Where it lies: the same for two targets that are one place."""
        if self.s3:
            return ("s3", self.s3.endpoint.rstrip("/"), self.s3.bucket, self.s3.prefix.strip("/"))
        return ("local", os.path.realpath(self.local.path if self.local else ""))

    @property
    def reached_from_elsewhere(self) -> bool:
        """Whether another host can write here by itself: a service, and no directory of this host."""
        return self.s3 is not None

    def lies_here(self, is_here: IsHere) -> bool:
        """Whether its service is on this very host, whatever was declared."""
        return self.s3 is not None and is_here(urlsplit(self.s3.endpoint).hostname or "")

    def is_offsite(self, is_here: IsHere) -> bool:
        """Whether a copy here counts as offsite: as declared or by kind, unless the service is on this very host."""
        declared = self.offsite if self.offsite is not None else self.s3 is not None
        return declared and not self.lies_here(is_here)
