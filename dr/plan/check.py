"""A check: one assertion on restored data. Mandatory unless the plan says otherwise. Its kinds: `check_kinds`."""

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
from dr.plan.check_kinds import KINDS, CheckBody


class Check(Declaration):
    """One check: give exactly one kind. `- manifest` alone is a manifest check with its defaults."""

    body: CheckBody
    mandatory_: bool | None = None

    @classmethod
    def of(cls, body: CheckBody) -> Check:
        """Return the check that a kind's own declaration makes."""
        return cls.model_construct(body=body, mandatory_=None)

    @classmethod
    def declared_fields(cls) -> Mapping[str, FieldInfo]:
        """Return the keys that people write: one for each kind, and `mandatory`."""
        return _form().model_fields

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Check], info: ValidationInfo) -> Check:
        """Read what people write; faults lie at the keys that they wrote."""
        if isinstance(value, Check):
            return value
        written: Any = _form().model_validate(_spelled_out(value), context=info.context)
        bodies = [body for kind in KINDS if (body := getattr(written, f"{kind}_")) is not None]
        if len(bodies) != 1:
            *others, last = KINDS
            raise ValueError(f"give exactly one of {', '.join(others)} or {last}")
        return cls.model_construct(body=bodies[0], mandatory_=written.mandatory_)

    @model_serializer
    def _written(self) -> dict[str, Any]:
        """Return it as people write it."""
        apart = {} if self.mandatory_ is None else {"mandatory": self.mandatory_}
        return {self.kind: self.body, **apart}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe what people write."""
        return handler.resolve_ref_schema(handler(_form().__pydantic_core_schema__))

    @property
    def kind(self) -> str:
        """The name of the kind declared."""
        return self.body.kind

    @property
    def mandatory(self) -> bool:
        """Whether a failure of this check fails the drill."""
        return self.mandatory_ is not False and self.body.mandatory is not False

    @property
    def source(self) -> str | None:
        """The source it looks at; None when it looks at the whole system."""
        return self.body.about


def _spelled_out(value: Any) -> Any:
    """Return a check that is written short, as `- manifest` or `- manifest:`, in full."""
    if isinstance(value, str) and value in KINDS and KINDS[value].bare:
        return {value: {}}
    if isinstance(value, dict):
        return {key: {} if each is None and key in KINDS and KINDS[key].bare else each for key, each in value.items()}
    return value


_forms: dict[tuple[type[CheckBody], ...], type[Declaration]] = {}


def _form() -> type[Declaration]:
    """Return the model of a check as people write it, with a key for each kind there is now."""
    kinds = tuple(KINDS.values())
    if kinds not in _forms:
        _forms[kinds] = create_model("Check", __base__=Declaration, __doc__=Check.__doc__, **_keys(kinds))
    return _forms[kinds]


def _keys(kinds: tuple[type[CheckBody], ...]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for each in kinds:
        said = f"{each.asserts} Default: none; a check has one kind."
        keys[f"{each.kind}_"] = (each | None, Field(None, alias=each.kind, description=said, examples=[each.example]))
    said = "false: a failure of this check does not fail the drill; may also be written inside the kind. Default: true."
    keys["mandatory_"] = (bool | None, Field(None, alias="mandatory", description=said))
    return keys
