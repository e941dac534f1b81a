"""A target: an offsite place that holds repositories, one for each system."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from dr.plan.base import ConfigPath, Declaration, Duration, Name

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


class EnvCredentials(Declaration):
    """The names of the two environment variables that hold the key pair."""

    access_key_id: str
    secret_access_key: str


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
    """A bucket of any S3-compatible service. Without `credentials` the AWS_* environment is used."""

    endpoint: str = "https://s3.amazonaws.com"
    bucket: Annotated[str, Field(min_length=3)]
    prefix: str = ""
    region: str = "us-east-1"
    credentials: Credentials | None = None
    immutability: Immutability = Immutability()

    @field_validator("endpoint")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username or parts.password:
            raise ValueError("an address holds no keys: name them under credentials")
        if parts.scheme not in ("http", "https") or not parts.hostname or not _port_is_sound(parts):
            raise ValueError(f"{value!r} is no address of a service: write it as https://HOST or https://HOST:PORT")
        return value

    @field_validator("bucket")
    @classmethod
    def _bucket_name(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value):
            raise ValueError(f"{value!r} is no bucket name: use letters, digits, '.', '-' and '_', 3 to 63 of them")
        return value


def _port_is_sound(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


class LocalPlace(Declaration):
    """A directory on this host: for trying out, or a mounted disk. Not an offsite copy."""

    path: ConfigPath


Media = Literal["object-storage", "disk", "tape", "optical", "other"]


class Target(Declaration):
    """One target file.

    `offline`: a disk that is taken away, so that it may be absent; only a replica may lie there. `media` is what the
    copies lie on (default: by kind). `provider` and `account` are words for the report. `forget_after`: a replica here
    forgets what the plan's retention has no use for, once the primary has lacked it for so long (absent: never).
    """

    target: Name
    s3: S3Place | None = None
    local: LocalPlace | None = None
    offline: bool = False
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
    def offsite(self) -> bool:
        """Whether a copy here survives the loss of this host."""
        return self.s3 is not None
