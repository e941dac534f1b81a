"""What a kind of target declares below its own key, and what that says of it before it is opened.

Here too, as it is asked of every target: what Object Lock it is meant to enforce.

A kind is one class below `TargetKind`, the keys that people write, and one driver (`dr.targets`), which opens what
is declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dr.plan.base import ConfigPath, Count, Days, Declaration, Money
from dr.plan.on_disk import Found

#: Of a kind that is reached by TLS.
CA_FILE = Field(
    description="File with the certificates, in PEM, of the authorities to trust instead of the system's. "
    "Default: those of this system (SSL_CERT_FILE, SSL_CERT_DIR).",
    examples=["/etc/dr/district-ca.pem"],
)
#: What can be counted of what passes to and from a place: requests and bytes, bytes alone, or nothing of either.
Counts = Literal["requests", "bytes", "nothing"]
Media = Literal["object-storage", "disk", "tape", "optical", "other"]


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
        Days,
        Field(
            ge=0,
            description="For how many days an object that a recovery point needs is locked, and locked again after a "
            "backup. At least 1 unless `mode` is none, and not more than `max_lock_days`.",
            examples=[30],
        ),
    ] = 30
    max_lock_days: Annotated[
        Days,
        Field(ge=1, description="No lock is ever set further ahead than this many days.", examples=[90]),
    ] = 90
    margin_days: Annotated[
        Annotated[Days, Field(ge=1)] | None,
        Field(
            description="A lock is extended once fewer than this many days of it are left; less than `days`. Default: "
            "a third of `days`.",
            examples=[10],
        ),
    ] = None
    max_calls: Annotated[
        Count,
        Field(
            ge=1,
            description="How many requests about locks one run may make; the next run continues. The locks that end "
            "first are extended first.",
            examples=[20000],
        ),
    ] = 20_000
    price_per_1000: Annotated[
        Money | None,
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


class TargetKind(Declaration):
    """The keys of one kind. What is not overridden here is true of a service that keeps plain objects elsewhere."""

    #: The key in a target file, and what people call such a place.
    key: ClassVar[str]
    noun: ClassVar[str]
    #: What `dr schema target` says of the key: one sentence, and what may stand below it.
    about: ClassVar[str]
    example: ClassVar[Mapping[str, Any]]
    #: What copies are stored on, and whether they count as offsite, where the target file does not say.
    medium: ClassVar[Media]
    is_offsite: ClassVar[bool] = True
    #: Whether it can be a disk that is taken away (`offline`).
    may_be_detached: ClassVar[bool] = False
    #: Whether another host can write there by itself, given nothing but an environment.
    is_reached_from_elsewhere: ClassVar[bool] = True
    #: Whether such a place can keep what is overwritten and deleted, and give it back.
    may_keep_versions: ClassVar[bool] = False
    #: What can be counted of what passes to and from it.
    counts: ClassVar[Counts] = "nothing"
    #: The key that holds its address.
    address_key: ClassVar[str] = ""

    @property
    def place(self) -> tuple[str, ...]:
        """Where it is: the same for two targets that are one place. Begins with the key."""
        raise NotImplementedError

    @property
    def service_host(self) -> str:
        """Return the name or address of the host whose service it is; nothing where that is not known."""
        return ""

    @property
    def container(self) -> str:
        """Return what several targets may share, and a rehearsed attack must have alone; nothing for none."""
        return ""

    @property
    def directory(self) -> Path | None:
        """Return the directory, where it is one of this host; else None."""
        return None

    @property
    def expires(self) -> bool:
        """Return whether recovery points may be removed there: with what backs up, or with what is named for it."""
        return True

    @property
    def locks(self) -> Immutability:
        """Return what Object Lock is declared. A kind that can lock has the key `immutability`."""
        declared = getattr(self, "immutability", None)
        return declared if isinstance(declared, Immutability) else Immutability.model_construct()

    def faults(self, env: Mapping[str, str]) -> Iterator[Found]:
        """Yield what is wrong with it, as far as can be told from this machine: no network is used."""
        yield from ()

    def anywhere(self) -> Self:
        """Return it so that it means the same place wherever the file is."""
        return self
