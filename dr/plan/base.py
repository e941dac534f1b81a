"""What all declarations share: frozen, no unknown keys, names that are safe in paths and tags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic.fields import FieldInfo

from dr.plan.units import parse_bytes, parse_duration

#: Safe in file names, object keys, restic tags and shells.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

#: A duration: "90s", "15m", "2h", "1d", "1h30m" or a number of seconds; held as whole seconds.
Duration = Annotated[int, BeforeValidator(parse_duration)]


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a number; YAML reads on, off, yes and no as true or false")
    return value


#: A number of things; numbers in JSON hold no more than a few million times as many.
Count = Annotated[int, BeforeValidator(_number), Field(le=1_000_000_000)]

#: Whole days, a hundred years at most: calendars hold no more.
Days = Annotated[int, BeforeValidator(_number), Field(le=36_600)]

#: An amount of money.
Money = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1e12, allow_inf_nan=False)]


def _from_config(value: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base", "")
    if any(not character.isprintable() for character in str(value)):
        raise ValueError("a path cannot hold line ends and other control characters")
    try:
        return Path(base, value.expanduser())
    except RuntimeError:
        raise ValueError(f"{str(value)!r} names the home of a user whom this machine does not know") from None


#: A duration of at least a second.
PositiveDuration = Annotated[Duration, Field(gt=0)]

#: A size: "500MB", "20GB" or a number of bytes; held as whole bytes.
Size = Annotated[int, BeforeValidator(parse_bytes), Field(ge=0)]

#: A path that, when relative, is relative to the configuration directory; `~` is expanded.
ConfigPath = Annotated[Path, AfterValidator(_from_config)]


class Declaration(BaseModel):
    """A frozen part of a plan or target; unknown keys are refused.

    Docstrings and descriptions are what `dr schema`, docs/reference.md and the manual show: they speak to an
    administrator. Where the default of an optional key is nothing to look at (None, empty, a part of its own), its
    description ends with a sentence that begins with "Default:".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)

    @classmethod
    def declared_fields(cls) -> Mapping[str, FieldInfo]:
        """Return the keys that people write, by the name of the field."""
        return cls.model_fields
