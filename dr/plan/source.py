"""A source: one part of a system's data. Its kinds: `source_kinds`."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_serializer

from dr.plan.host import SshHost
from dr.plan.one_kind import Kinds, OneKind, kind_keys
from dr.plan.source_kinds import KINDS, DatabaseSource, SourceBody


class Source(OneKind):
    """One part of a system's data: give exactly one kind."""

    kinds: ClassVar = KINDS
    body: SourceBody
    host: SshHost | None = None

    @classmethod
    def of(cls, body: SourceBody, host: SshHost | None = None) -> Source:
        """Return the source that a kind's own declaration makes."""
        return cls.model_construct(body=body, host=host)

    @classmethod
    def made(cls, body: SourceBody, written: Any) -> Source:
        """See `OneKind`."""
        return cls.of(body, written.host)

    @classmethod
    def about(cls, kinds: Kinds) -> str:
        """See `OneKind`."""
        *others, last = [f"`{each.kind}`" for each in kinds]
        return f"One part of a system's data: give exactly one of {', '.join(others)} and {last}."

    @classmethod
    def keys(cls, kinds: Kinds) -> dict[str, Any]:
        """See `OneKind`."""
        said = "The host that this source is on. Default: the plan's `host`; without one, the backup host."
        example = {"ssh": "backup@db.district.example"}
        return {
            **kind_keys(kinds, lambda kind: f"{kind.holds} Default: none; a source has one kind."),
            "host": (SshHost | None, Field(None, description=said, examples=[example])),
        }

    @model_serializer
    def _written(self) -> dict[str, Any]:
        """Return it as people write it."""
        return {self.kind: self.body, **({} if self.host is None else {"host": self.host})}

    @property
    def database(self) -> DatabaseSource | None:
        """The database server's declaration, where the kind is one."""
        return self.body if isinstance(self.body, DatabaseSource) else None

    @property
    def newest(self) -> str | None:
        """The query for the newest record, where the kind has one."""
        return getattr(self.body, "newest", None)
