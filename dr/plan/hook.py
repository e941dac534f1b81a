"""Hooks: commands of the organisation's own, run before and after a capture or a restore."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from dr.plan.base import Declaration, Duration


class Hook(Declaration):
    """One command. A list alone means its arguments."""

    run: Annotated[tuple[str, ...], Field(min_length=1)]
    timeout: Annotated[Duration, Field(gt=0)] = 600

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"run": value} if isinstance(value, list | tuple) else value


class Hooks(Declaration):
    """Around one act. A `before` that fails stops it; `after` runs when it went well, `on_failure` when not."""

    before: Hook | None = None
    after: Hook | None = None
    on_failure: Hook | None = None


class AllHooks(Declaration):
    """A plan's hooks: around the capture of all its sources, and around a restore (drills too)."""

    capture: Hooks = Hooks()
    restore: Hooks = Hooks()
