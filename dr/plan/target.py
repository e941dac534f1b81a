"""A target: an offsite place that holds repositories, one for each system."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, ModelWrapValidatorHandler, ValidationInfo, create_model, model_validator

from dr.plan.base import Declaration, Name, PositiveDuration
from dr.plan.target_kind import Immutability, Media, TargetKind
from dr.plan.target_plain import LocalPlace, RclonePlace, RestPlace, SftpPlace
from dr.plan.target_s3 import S3Place

#: Whether a host's name or address is that of this host.
IsHere = Callable[[str], bool]
#: Every kind there is, by its key.
KINDS: dict[str, type[TargetKind]] = {
    kind.key: kind for kind in (S3Place, LocalPlace, SftpPlace, RestPlace, RclonePlace)
}


class Target(Declaration):
    """One target file: what all kinds share. `target_model` adds the key of each kind."""

    target: Annotated[
        Name,
        Field(
            description="The target's name, as plans use it: small letters, digits, `-` and `_`, at most 63.",
            examples=["offsite"],
        ),
    ]
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
            "never counts as offsite. Default: false for local and rclone, true for the other kinds."
        ),
    ] = None
    media: Annotated[
        Media | None,
        Field(
            description="What the copies are stored on, for the 3-2-1-1-0 rule on the board. Default: object-storage "
            "for s3, disk for local, sftp and rest, other for rclone."
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

    @model_validator(mode="wrap")
    @classmethod
    def _of_all_kinds(cls, data: Any, handler: ModelWrapValidatorHandler[Target], info: ValidationInfo) -> Target:
        return target_model().model_validate(data, context=info.context) if cls is Target else handler(data)

    @model_validator(mode="after")
    def _one(self) -> Target:
        if sum(getattr(self, key, None) is not None for key in KINDS) != 1:
            raise ValueError(f"give exactly one of {_either()}")
        if self.offline and not self.declared.may_be_detached:
            raise ValueError("only a local target can be offline: a disk that is taken away")
        return self

    @property
    def declared(self) -> TargetKind:
        """What is declared below the key of its kind."""
        found: TargetKind = next(filter(None, (getattr(self, key, None) for key in KINDS)))
        return found

    @property
    def kind(self) -> str:
        """The key of its kind."""
        return self.declared.key

    @property
    def locks(self) -> Immutability:
        """The Object Lock that it is meant to enforce: mode none where none is declared, or the kind has none."""
        return self.declared.locks

    @property
    def medium(self) -> Media:
        """What the copies lie on, as declared or by kind."""
        return self.media or self.declared.medium

    @property
    def place(self) -> tuple[str, ...]:
        """Where it lies: the same for two targets that are one place."""
        return self.declared.place

    @property
    def expires(self) -> bool:
        """Whether recovery points can be removed here: no keys are needed for it, or some are named."""
        return self.declared.expires

    @property
    def reached_from_elsewhere(self) -> bool:
        """Whether another host can write here by itself: a service, and no directory of this host."""
        return self.declared.is_reached_from_elsewhere

    def lies_here(self, is_here: IsHere) -> bool:
        """Whether its service is on this very host, whatever was declared."""
        host = self.declared.service_host
        return bool(host) and is_here(host)

    def is_offsite(self, is_here: IsHere) -> bool:
        """Whether a copy here counts as offsite: as declared or by kind, unless the service is on this very host."""
        declared = self.offsite if self.offsite is not None else self.declared.is_offsite
        return declared and not self.lies_here(is_here)


def register(kind: type[TargetKind]) -> None:
    """Add a kind of target to those that may be declared."""
    KINDS[kind.key] = kind
    target_model.cache_clear()


@functools.cache
def target_model() -> type[Target]:
    """Return the model of a target file: what all kinds share, and a key for each kind."""
    fields: dict[str, Any] = {
        kind.key: (
            Annotated[
                kind | None,
                Field(description=f"{kind.about} Default: none; another kind is given.", examples=[dict(kind.example)]),
            ],
            None,
        )
        for kind in KINDS.values()
    }
    about = f"One target file: a place that holds a repository for each system. Give exactly one of {_either('`')}."
    return create_model("Target", __base__=Target, __doc__=about, **fields)


def _either(quote: str = "") -> str:
    *first, last = (f"{quote}{key}{quote}" for key in KINDS)
    return f"{', '.join(first)} or {last}" if first else last
