"""A source: one part of a system's data."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dr.plan.base import Declaration, Duration

AbsolutePath = Annotated[str, Field(pattern=r"^/")]


class FilesSource(Declaration):
    """Directory trees or single files on this host."""

    paths: Annotated[tuple[AbsolutePath, ...], Field(min_length=1)]
    exclude: tuple[str, ...] = ()
    one_filesystem: bool = True


class SqliteSource(Declaration):
    """One SQLite database, copied consistently while it is in use.

    `newest` is a query for one timestamp: the newest record in the data.
    """

    path: AbsolutePath
    newest: str | None = None


class CommandSource(Declaration):
    """What a command writes to its standard output, stored under `filename`."""

    run: Annotated[tuple[str, ...], Field(min_length=1)]
    filename: Annotated[str, Field(min_length=1)]
    timeout: Duration = 3600

    @field_validator("filename")
    @classmethod
    def _plain(cls, value: str) -> str:
        if PurePosixPath(value).name != value or value in {".", ".."}:
            raise ValueError("must be a plain file name, without a directory")
        return value


SourceKind = Literal["files", "sqlite", "command"]


class Source(Declaration):
    """One source, of exactly one kind."""

    files: FilesSource | None = None
    sqlite: SqliteSource | None = None
    command: CommandSource | None = None

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(x is not None for x in (self.files, self.sqlite, self.command)) != 1:
            raise ValueError("give exactly one of files, sqlite or command")
        return self

    @property
    def kind(self) -> SourceKind:
        """The name of the kind declared."""
        return "files" if self.files else "sqlite" if self.sqlite else "command"

    @property
    def newest(self) -> str | None:
        """The query for the newest record, where the kind has one."""
        return self.sqlite.newest if self.sqlite else None
