"""From what a plan declares to the doors of that kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dr.plan.source import Source
from dr.sources.door import Doors
from dr.sources.files import Files
from dr.sources.output import Output
from dr.sources.sqlite import Sqlite


def open_source(name: str, declared: Source, *, scratch: Sequence[Path] = ()) -> Doors:
    """Return the doors of a declared source. Nothing is touched yet.

    `scratch` are this program's own places, of which nothing is captured.
    """
    if declared.files:
        return Files(name, declared.files, scratch=scratch)
    if declared.sqlite:
        return Sqlite(name, declared.sqlite)
    assert declared.command is not None  # noqa: S101 - the model has exactly one kind
    return Output(name, declared.command)
