"""A target: an offsite place that holds repositories, one for each system, and what its provider charges for it."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, ValidationInfo, create_model, field_validator, model_validator

from dr.plan.base import Days, Declaration, Money, Name, PositiveDuration, Size
from dr.plan.target_kind import Immutability, Media, TargetKind
from dr.plan.target_plain import LocalPlace, RclonePlace, RestPlace, SftpPlace
from dr.plan.target_s3 import S3Place
from dr.plan.whereabouts import Whereabouts

#: Every kind there is, by its key.
KINDS: dict[str, type[TargetKind]] = {
    kind.key: kind for kind in (S3Place, LocalPlace, SftpPlace, RestPlace, RclonePlace)
}

_UNITS = {"GB": 10**9, "GiB": 2**30}


class RequestPrices(Declaration):
    """What a thousand requests cost, by class."""

    write: Annotated[Money, Field(description="A thousand requests that write: PUT, COPY, POST.", examples=[0.005])] = (
        0.0
    )
    list: Annotated[Money, Field(description="A thousand requests that list.", examples=[0.005])] = 0
    read: Annotated[Money, Field(description="A thousand requests that read: GET, HEAD.", examples=[0.0004])] = 0
    delete: Annotated[
        Money, Field(description="A thousand requests that delete; most services ask nothing.", examples=[0])
    ] = 0


class Prices(Declaration):
    """The prices of a target's provider, as its price list has them, without taxes."""

    currency: Annotated[
        str,
        Field(description="The currency of all amounts, by its three letters (ISO 4217).", examples=["USD"]),
    ]
    unit: Annotated[
        Literal["GB", "GiB"],
        Field(
            description="What the provider calls a gigabyte: `GB` is 1,000,000,000 bytes, `GiB` is 1,073,741,824 (AWS "
            "bills by it)."
        ),
    ] = "GB"
    storage: Annotated[Money, Field(description="One gigabyte stored for a month.", examples=[0.023])] = 0
    requests: Annotated[
        RequestPrices,
        Field(
            description="A thousand requests, by class. Default: requests cost nothing.",
            examples=[{"write": 0.005, "list": 0.005, "read": 0.0004}],
        ),
    ] = RequestPrices.model_construct()
    egress: Annotated[Money, Field(description="One gigabyte read from the target.", examples=[0.09])] = 0
    free_egress: Annotated[
        Size,
        Field(description="So much may be read in a month without a charge. Default: nothing.", examples=["100GB"]),
    ] = 0
    free_egress_times_stored: Annotated[
        Money,
        Field(
            description="So many times what is stored may be read in a month without a charge, beside `free_egress`.",
            examples=[3],
        ),
    ] = 0
    minimum_days: Annotated[
        Days,
        Field(
            ge=0,
            strict=True,
            description="What is removed earlier is charged as if it had been stored for so many days.",
            examples=[90],
        ),
    ] = 0

    @field_validator("currency")
    @classmethod
    def _three_letters(cls, value: str) -> str:
        if not re.fullmatch("[A-Z]{3}", value):
            raise ValueError(f"{value!r} is not a currency: write its three letters, such as USD or EUR")
        return value

    @property
    def unit_bytes(self) -> int:
        """Return the bytes of what the provider calls a gigabyte."""
        return _UNITS[self.unit]

    @property
    def for_requests(self) -> bool:
        """Whether requests of any class have a price."""
        return any((self.requests.write, self.requests.list, self.requests.read, self.requests.delete))

    def of_requests(self, *, write: float, list: float, read: float, delete: float) -> float:
        """Return the price of so many requests."""
        each = self.requests
        return (write * each.write + list * each.list + read * each.read + delete * each.delete) / 1000

    def of_egress(self, received: float, *, stored: float = 0.0, free: bool = False) -> float:
        """Return the price of so many bytes read: of all of them, or of a month's beyond what is `free`."""
        allowed = self.free_egress + self.free_egress_times_stored * stored if free else 0.0
        return max(0.0, received - allowed) / self.unit_bytes * self.egress

    def of_traffic(self, *, write: float, list: float, read: float, delete: float, received: float) -> float:
        """Return the price of so many requests and bytes read, before a free allowance."""
        return self.of_requests(write=write, list=list, read=read, delete=delete) + self.of_egress(received)

    def of_storage(self, stored: float) -> float:
        """Return the price of so many bytes stored for a month."""
        return stored / self.unit_bytes * self.storage


class Target(Whereabouts, Declaration):
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

    prices: Annotated[
        Prices | None,
        Field(
            description="What the provider charges, for the cost in records, reports and `dr forecast` (docs/cost.md). "
            "Default: no cost is shown.",
            examples=[{"currency": "USD", "storage": 0.023, "egress": 0.09}],
        ),
    ] = None
    capacity: Annotated[
        Annotated[Size, Field(gt=0)] | None,
        Field(
            description="How much the target holds: `dr forecast` says when it will be full, the board when it "
            "nearly is. Default: no bound.",
            examples=["5TB"],
        ),
    ] = None
    budget: Annotated[
        Annotated[Money, Field(gt=0)] | None,
        Field(
            description="What the target may cost in a month, in the currency of `prices`: `dr forecast` says when "
            "that will be reached, the board when it nearly is. Default: no bound.",
            examples=[120],
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
        if self.budget is not None and self.prices is None:
            raise ValueError("budget needs prices: without them no cost is known")
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

    @property
    def service_host(self) -> str:
        """The name or address of the host whose service it is; "" where that is not known."""
        return self.declared.service_host

    @property
    def meant_offsite(self) -> bool:
        """Whether a copy here counts as offsite, as declared or by kind, if its service is not on this very host."""
        return self.offsite if self.offsite is not None else self.declared.is_offsite


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
