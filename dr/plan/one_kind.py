"""What is declared as exactly one of several kinds: a source, a check.

People write the key of a kind, and below it what that kind wants; the program has it as `body`. The model that people
write is put together of the kinds that there are now (tests add their own), and faults lie at the keys as written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dr.plan.base import Declaration

#: The kinds that there are now, as classes, in the order in which they are told.
Kinds = tuple[type[Any], ...]


class OneKind(Declaration):
    """A declaration of one kind. A subclass has its `body`, what all kinds share, and says how that is written."""

    #: Every kind there is, by its key.
    kinds: ClassVar[Mapping[str, type[Any]]]
    body: Any

    @classmethod
    def keys(cls, kinds: Kinds) -> dict[str, Any]:
        """Return the keys that people write, as pydantic's `create_model` takes them."""
        raise NotImplementedError

    @classmethod
    def about(cls, kinds: Kinds) -> str:
        """Return what the declaration is, in one sentence for those who write it."""
        return cls.__doc__ or ""

    @classmethod
    def spelled_out(cls, value: Any) -> Any:
        """Return what is written short in full."""
        return value

    @classmethod
    def made(cls, body: Any, written: Any) -> Self:
        """Return the declaration of a body, with what else was `written`."""
        raise NotImplementedError

    @classmethod
    def form(cls) -> type[Declaration]:
        """Return the model that people write, with a key for each kind that there is now."""
        return _form(cls, tuple(cls.kinds.values()))

    @classmethod
    def declared_fields(cls) -> Mapping[str, FieldInfo]:
        """Return the keys that people write: one for each kind, and those that all share."""
        return cls.form().model_fields

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Read what people write; faults lie at the keys that they wrote."""
        if isinstance(value, cls):
            return value
        written: Any = cls.form().model_validate(cls.spelled_out(value), context=info.context)
        bodies = [body for kind in cls.kinds if (body := getattr(written, f"{kind}_")) is not None]
        if len(bodies) != 1:
            *others, last = cls.kinds
            raise ValueError(f"give exactly one of {', '.join(others)} or {last}")
        return cls.made(bodies[0], written)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe what people write."""
        return handler.resolve_ref_schema(handler(cls.form().__pydantic_core_schema__))

    @property
    def kind(self) -> str:
        """The name of the kind declared."""
        name: str = self.body.kind
        return name


@functools.cache
def _form(of: type[OneKind], kinds: Kinds) -> type[Declaration]:
    form: type[Declaration] = create_model(of.__name__, __base__=Declaration, __doc__=of.about(kinds), **of.keys(kinds))
    return form


def kind_keys(kinds: Kinds, described: Callable[[Any], str]) -> dict[str, Any]:
    """Return the key of each kind, for `OneKind.keys`; `described` is what is said of it."""
    return {
        f"{each.kind}_": (
            each | None, Field(None, alias=each.kind, description=described(each), examples=[each.example])
        )
        for each in kinds
    }  # fmt: skip
