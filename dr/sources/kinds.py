"""From what a plan declares to the doors of that kind."""

from __future__ import annotations

from dr.plan.source import Source
from dr.sources.door import Doors
from dr.sources.files import Files
from dr.sources.output import Output
from dr.sources.sqlite import Sqlite


def open_source(name: str, declared: Source) -> Doors:
    """Return the doors of a declared source. Nothing is touched yet."""
    if declared.files:
        return Files(name, declared.files)
    if declared.sqlite:
        return Sqlite(name, declared.sqlite)
    assert declared.command is not None  # noqa: S101 - the model has exactly one kind
    return Output(name, declared.command)
