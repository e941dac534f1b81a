"""A source: one part of a system's data. Its kinds: `source_kinds`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationInfo,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dr.plan.base import Declaration
from dr.plan.host import SshHost
from dr.plan.source_kinds import KINDS, DatabaseSource, SourceBody


class Source(Declaration):
    """One part of a system's data: give exactly one kind."""

    body: SourceBody
    host: SshHost | None = None

    @classmethod
    def of(cls, body: SourceBody, host: SshHost | None = None) -> Source:
        """Return the source that a kind's own declaration makes."""
        return cls.model_construct(body=body, host=host)

    @classmethod
    def declared_fields(cls) -> Mapping[str, FieldInfo]:
        """Return the keys that people write: one for each kind, and `host`."""
        return _form().model_fields

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Source], info: ValidationInfo) -> Source:
        """Read what people write; faults lie at the keys that they wrote."""
        if isinstance(value, Source):
            return value
        written: Any = _form().model_validate(value, context=info.context)
        bodies = [body for kind in KINDS if (body := getattr(written, f"{kind}_")) is not None]
        if len(bodies) != 1:
            *others, last = KINDS
            raise ValueError(f"give exactly one of {', '.join(others)} or {last}")
        return cls.of(bodies[0], written.host)

    @model_serializer
    def _written(self) -> dict[str, Any]:
        """Return it as people write it."""
        return {self.kind: self.body, **({} if self.host is None else {"host": self.host})}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe what people write."""
        return handler.resolve_ref_schema(handler(_form().__pydantic_core_schema__))

    @property
    def kind(self) -> str:
        """The name of the kind declared."""
        return self.body.kind

    @property
    def database(self) -> DatabaseSource | None:
        """The database server's declaration, where the kind is one."""
        return self.body if isinstance(self.body, DatabaseSource) else None

    @property
    def newest(self) -> str | None:
        """The query for the newest record, where the kind has one."""
        return getattr(self.body, "newest", None)


_forms: dict[tuple[type[SourceBody], ...], type[Declaration]] = {}


def _form() -> type[Declaration]:
    """Return the model of a source as people write it, with a key for each kind there is now."""
    kinds = tuple(KINDS.values())
    if kinds not in _forms:
        _forms[kinds] = create_model("Source", __base__=Declaration, __doc__=_about(kinds), **_keys(kinds))
    return _forms[kinds]


def _about(kinds: tuple[type[SourceBody], ...]) -> str:
    *others, last = [f"`{each.kind}`" for each in kinds]
    return f"One part of a system's data: give exactly one of {', '.join(others)} and {last}."


def _keys(kinds: tuple[type[SourceBody], ...]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for each in kinds:
        said = f"{each.holds} Default: none; a source has one kind."
        keys[f"{each.kind}_"] = (each | None, Field(None, alias=each.kind, description=said, examples=[each.example]))
    said = "The host that this source is on. Default: the plan's `host`; without one, the backup host."
    example = {"ssh": "backup@db.district.example"}
    keys["host"] = (SshHost | None, Field(None, description=said, examples=[example]))
    return keys
