"""A check: one assertion on restored data. Mandatory unless the plan says otherwise. Its kinds: `check_kinds`."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_serializer

from dr.plan.check_kinds import KINDS, CheckBody
from dr.plan.one_kind import Kinds, OneKind, kind_keys


class Check(OneKind):
    """One check: give exactly one kind. `- manifest` alone is a manifest check with its defaults."""

    kinds: ClassVar = KINDS
    body: CheckBody
    mandatory_: bool | None = None

    @classmethod
    def of(cls, body: CheckBody) -> Check:
        """Return the check that a kind's own declaration makes."""
        return cls.model_construct(body=body, mandatory_=None)

    @classmethod
    def made(cls, body: CheckBody, written: Any) -> Check:
        """See `OneKind`."""
        return cls.model_construct(body=body, mandatory_=written.mandatory_)

    @classmethod
    def spelled_out(cls, value: Any) -> Any:
        """Return a check that is written short, as `- manifest` or `- manifest:`, in full."""
        if isinstance(value, str) and value in KINDS and KINDS[value].bare:
            return {value: {}}
        if isinstance(value, dict):
            bare = {key for key, each in value.items() if each is None and key in KINDS and KINDS[key].bare}
            return {key: {} if key in bare else each for key, each in value.items()}
        return value

    @classmethod
    def keys(cls, kinds: Kinds) -> dict[str, Any]:
        """See `OneKind`."""
        said = "false: a failure of this check does not fail the drill; may also be written inside the kind."
        return {
            **kind_keys(kinds, lambda kind: f"{kind.asserts} Default: none; a check has one kind."),
            "mandatory_": (bool | None, Field(None, alias="mandatory", description=f"{said} Default: true.")),
        }

    @model_serializer
    def _written(self) -> dict[str, Any]:
        """Return it as people write it."""
        apart = {} if self.mandatory_ is None else {"mandatory": self.mandatory_}
        return {self.kind: self.body, **apart}

    @property
    def mandatory(self) -> bool:
        """Whether a failure of this check fails the drill."""
        return self.mandatory_ is not False and self.body.mandatory is not False

    @property
    def source(self) -> str | None:
        """The source it looks at; None when it looks at the whole system."""
        return self.body.about
