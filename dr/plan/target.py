"""A target: an offsite place that holds repositories, one for each system."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dr.plan.base import ConfigPath, Declaration, Name


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
    """What object lock the bucket is meant to enforce."""

    mode: Literal["compliance", "governance", "none"] = "none"
    days: Annotated[int, Field(ge=0)] = 30
    max_lock_days: Annotated[int, Field(ge=1)] = 90


class S3Place(Declaration):
    """A bucket of any S3-compatible service. Without `credentials` the AWS_* environment is used."""

    endpoint: str = "https://s3.amazonaws.com"
    bucket: Annotated[str, Field(min_length=3)]
    prefix: str = ""
    region: str = "us-east-1"
    credentials: Credentials | None = None
    immutability: Immutability = Immutability()


class LocalPlace(Declaration):
    """A directory on this host: for trying out, or a mounted disk. Not an offsite copy."""

    path: ConfigPath


class Target(Declaration):
    """One target file."""

    target: Name
    s3: S3Place | None = None
    local: LocalPlace | None = None

    @model_validator(mode="after")
    def _one(self) -> Target:
        if (self.s3 is None) == (self.local is None):
            raise ValueError("give exactly one of s3 or local")
        return self

    @property
    def offsite(self) -> bool:
        """Whether a copy here survives the loss of this host."""
        return self.s3 is not None
