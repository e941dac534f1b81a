"""The target kind `local`, as it is declared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from dr.plan.base import ConfigPath
from dr.plan.target_kind import TargetKind


class LocalPlace(TargetKind):
    """A directory on this host: for trying out, or a mounted disk. It does not count as an offsite copy."""

    key: ClassVar = "local"
    noun: ClassVar = "directory"
    about: ClassVar = "A directory on this host."
    example: ClassVar = {"path": "/mnt/backup-disk"}
    medium: ClassVar = "disk"
    is_offsite: ClassVar = False
    may_be_detached: ClassVar = True
    is_reached_from_elsewhere: ClassVar = False

    path: Annotated[
        ConfigPath,
        Field(
            description="The directory; a relative path begins at the configuration directory. The repository of a "
            "system is at PATH/SYSTEM.",
            examples=["/mnt/backup-disk"],
        ),
    ]

    @field_validator("path", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty: name a directory")
        return value

    @property
    def place(self) -> tuple[str, ...]:
        """See `TargetKind`."""
        return ("local", os.path.realpath(self.path))

    @property
    def directory(self) -> Path:
        """See `TargetKind`."""
        return self.path

    def anywhere(self) -> LocalPlace:
        """See `TargetKind`."""
        return self.model_copy(update={"path": self.path.absolute()})
