"""A target: an offsite place that holds repositories, one for each system."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from dr.plan.base import ConfigPath, Declaration, Name, PositiveDuration

#: What may stand for a host: a name, or an address of either kind.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?")
#: A bucket that can stand before a host's name, where the certificate's `*` stands for one part.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


class EnvCredentials(Declaration):
    """The names of the environment variables that hold the keys; never the keys themselves."""

    access_key_id: Annotated[
        str, Field(description="Name of the variable with the access key's id.", examples=["OFFSITE_KEY_ID"])
    ]
    secret_access_key: Annotated[
        str, Field(description="Name of the variable with the secret access key.", examples=["OFFSITE_SECRET_KEY"])
    ]
    session_token: Annotated[
        str | None,
        Field(
            description="Name of the variable with the session token of temporary keys. Default: the keys have none.",
            examples=["OFFSITE_TOKEN"],
        ),
    ] = None


class Credentials(Declaration):
    """Where an S3 key pair is read from: give exactly one of the three."""

    profile: Annotated[
        str | None,
        Field(
            description="Profile in the AWS shared-credentials file of the user who runs dr. Default: none; give "
            "exactly one of the three.",
            examples=["backup"],
        ),
    ] = None
    file: Annotated[
        ConfigPath | None,
        Field(
            description="File in AWS shared-credentials format, with mode 0600, of which the profile `default` is "
            "used. Default: none; give exactly one of the three.",
            examples=["/etc/dr/keys/backup"],
        ),
    ] = None
    env: Annotated[
        EnvCredentials | None,
        Field(
            description="Names of environment variables that hold the keys. Default: none; give exactly "
            "one of the three.",
            examples=[{"access_key_id": "OFFSITE_KEY_ID", "secret_access_key": "OFFSITE_SECRET_KEY"}],
        ),
    ] = None

    @model_validator(mode="after")
    def _one(self) -> Credentials:
        if sum(x is not None for x in (self.profile, self.file, self.env)) != 1:
            raise ValueError("give exactly one of profile, file or env")
        return self


class Immutability(Declaration):
    """What Object Lock the bucket is meant to enforce, and how locks are extended after each backup."""

    mode: Annotated[
        Literal["compliance", "governance", "none"],
        Field(
            description="`compliance`: nobody can delete a locked object before its date. `governance`: who may bypass "
            "locks can. `none`: no lock is expected, and none is extended."
        ),
    ] = "none"
    days: Annotated[
        int,
        Field(
            ge=0,
            description="For how many days an object that a recovery point needs is locked, and locked again after a "
            "backup. At least 1 unless `mode` is none, and not more than `max_lock_days`.",
            examples=[30],
        ),
    ] = 30
    max_lock_days: Annotated[
        int,
        Field(ge=1, description="No lock is ever set further ahead than this many days.", examples=[90]),
    ] = 90
    margin_days: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(
            description="A lock is extended once fewer than this many days of it are left; less than `days`. Default: "
            "a third of `days`.",
            examples=[10],
        ),
    ] = None
    max_calls: Annotated[
        int,
        Field(
            ge=1,
            description="How many requests about locks one run may make; the next run continues. The locks that end "
            "first are extended first.",
            examples=[20000],
        ),
    ] = 20_000
    price_per_1000: Annotated[
        Annotated[float, Field(ge=0)] | None,
        Field(
            description="What a thousand requests cost at your provider, in your currency; used for the cost in the "
            "record alone. Default: no cost is recorded.",
            examples=[0.005],
        ),
    ] = None
    credentials: Annotated[
        Credentials | None,
        Field(
            description="Keys that may extend locks, where the backup keys may not. Default: the target's own "
            "`credentials`.",
            examples=[{"file": "/etc/dr/keys/locks"}],
        ),
    ] = None

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
    """A bucket of any S3-compatible service."""

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
    ca_file: Annotated[
        ConfigPath | None,
        Field(
            description="File with the certificates, in PEM, of the authorities to trust instead of the system's. "
            "Default: those of this system (SSL_CERT_FILE, SSL_CERT_DIR).",
            examples=["/etc/dr/district-ca.pem"],
        ),
    ] = None
    credentials: Annotated[
        Credentials | None,
        Field(
            description="Where the backup keys are read from. They need to read, list and write objects, and nothing "
            "else. Default: the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.",
            examples=[{"file": "/etc/dr/keys/backup"}],
        ),
    ] = None
    immutability: Annotated[
        Immutability,
        Field(
            description="What Object Lock the bucket is meant to enforce. Default: none is expected.",
            examples=[{"mode": "compliance", "days": 30, "max_lock_days": 90}],
        ),
    ] = Immutability()

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
    """A directory on this host: for trying out, or a mounted disk. It does not count as an offsite copy."""

    path: Annotated[
        ConfigPath,
        Field(
            description="The directory; a relative path begins at the configuration directory. The repository of a "
            "system is at PATH/SYSTEM.",
            examples=["/mnt/backup-disk"],
        ),
    ]

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
    """One target file: a place that holds a repository for each system. Give exactly one of `s3` and `local`."""

    target: Annotated[
        Name,
        Field(
            description="The target's name, as plans use it: small letters, digits, `-` and `_`, at most 63.",
            examples=["offsite"],
        ),
    ]
    s3: Annotated[
        S3Place | None,
        Field(
            description="A bucket of any S3-compatible service. Default: none; `local` is given instead.",
            examples=[{"endpoint": "https://s3.us-east-1.amazonaws.com", "bucket": "district-vault", "prefix": "dr"}],
        ),
    ] = None
    local: Annotated[
        LocalPlace | None,
        Field(
            description="A directory on this host. Default: none; `s3` is given instead.",
            examples=[{"path": "/mnt/backup-disk"}],
        ),
    ] = None
    offline: Annotated[
        bool,
        Field(
            description="true: a disk that is detached most of the time, so that its absence is not a fault. Only for "
            "a `local` target that plans name under `replicas`."
        ),
    ] = False
    offsite: Annotated[
        bool | None,
        Field(
            description="Whether a copy here survives the loss of this host's building. A service on this very host "
            "never counts as offsite. Default: true for s3, false for local."
        ),
    ] = None
    media: Annotated[
        Media | None,
        Field(
            description="What the copies are stored on, for the 3-2-1-1-0 rule on the board. Default: object-storage "
            "for s3, disk for local."
        ),
    ] = None
    provider: Annotated[
        str,
        Field(description="Who runs the storage: shown in reports. Default: not shown.", examples=["Example Storage"]),
    ] = ""
    account: Annotated[
        str,
        Field(
            description="Which account pays for the storage: shown in reports. Default: not shown.",
            examples=["district-backup"],
        ),
    ] = ""
    forget_after: Annotated[
        PositiveDuration | None,
        Field(
            description="For replicas: remove a recovery point that the plan's retention no longer wants, once the "
            "primary has been without it for this long. Default: never.",
            examples=["90d"],
        ),
    ] = None

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
