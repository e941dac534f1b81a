"""Hooks: commands of the organisation's own, run before and after a capture or a restore."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from dr.plan.base import Declaration, PositiveDuration


class Hook(Declaration):
    """One command. It may also be written as the list of its words alone."""

    run: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="The program and its arguments, one word each. No shell is started: for one, write "
            "`[sh, -c, …]`.",
            examples=[["app", "freeze"]],
        ),
    ]
    timeout: Annotated[
        PositiveDuration,
        Field(description="The command is stopped after this time, and counts as failed.", examples=["1m"]),
    ] = 600

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"run": value} if isinstance(value, list | tuple) else value


class Hooks(Declaration):
    """Commands around one act, a capture or a restore."""

    before: Annotated[
        Hook | None,
        Field(
            description="Runs before the act. If it fails, the act is not begun. Default: no command.",
            examples=[["app", "freeze"]],
        ),
    ] = None
    after: Annotated[
        Hook | None,
        Field(description="Runs after the act succeeded. Default: no command.", examples=[["app", "thaw"]]),
    ] = None
    on_failure: Annotated[
        Hook | None,
        Field(
            description="Runs after the act failed or was interrupted. Default: no command.",
            examples=[{"run": ["app", "thaw"], "timeout": "1m"}],
        ),
    ] = None


class AllHooks(Declaration):
    """Your own commands around captures and restores. What they print is kept in the evidence."""

    capture: Annotated[
        Hooks,
        Field(
            description="Around the capture of all sources, run on the host where the system lives. Default: no hooks.",
            examples=[{"before": ["app", "freeze"], "after": ["app", "thaw"]}],
        ),
    ] = Hooks.model_construct()
    restore: Annotated[
        Hooks,
        Field(
            description="Around each restore, drills included, run on the backup host. Default: no hooks.",
            examples=[{"before": ["./quarantine"], "after": ["./announce"]}],
        ),
    ] = Hooks.model_construct()
