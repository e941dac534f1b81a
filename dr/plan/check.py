"""A check: one assertion on restored data. Mandatory unless the plan says otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dr.plan.base import Declaration, Duration, Name
from dr.plan.expect import Expectation as Plain
from dr.plan.expect import check_expectation
from dr.plan.units import parse_percent


def _sound(value: Plain) -> Plain:
    check_expectation(value)
    return value


Expectation = Annotated[Plain, AfterValidator(_sound)]
CheckKind = Literal["manifest", "sql", "file", "command"]


class ManifestCheck(Declaration):
    """Restored files equal what was hashed at capture; `sample` is the share that is compared."""

    source: Name | None = None
    sample: Annotated[float, BeforeValidator(parse_percent)] = 1.0
    mandatory: bool | None = None


class SqlCheck(Declaration):
    """One value from a query on a restored database."""

    source: Name
    query: str
    expect: Expectation
    mandatory: bool | None = None


class FileCheck(Declaration):
    """Files that must be there.

    `path` is a pattern below the source's declared paths. `expect` is about how many match
    (default: at least one), `size` about each one's bytes, `contains` a regular expression that
    each one's text must match.
    """

    source: Name
    path: str
    expect: Expectation | None = None
    size: Expectation | None = None
    contains: str | None = None
    mandatory: bool | None = None


class CommandExpectation(Declaration):
    """What a command must have done."""

    exit: int = 0
    stdout: Expectation | None = None


class CommandCheck(Declaration):
    """A command run in the sandbox, with `DR_SANDBOX` and `DR_SOURCE_NAME` in its environment."""

    run: Annotated[tuple[str, ...], Field(min_length=1)]
    expect: CommandExpectation = CommandExpectation()
    timeout: Duration = 600
    mandatory: bool | None = None


class Check(Declaration):
    """One check, of exactly one kind. `mandatory` may stand beside the kind or inside it."""

    manifest: ManifestCheck | None = None
    sql: SqlCheck | None = None
    file: FileCheck | None = None
    command: CommandCheck | None = None
    mandatory_: Annotated[bool | None, Field(alias="mandatory")] = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        """Accept `- manifest` and `- manifest:` for a manifest check with its defaults."""
        if value == "manifest":
            return {"manifest": {}}
        if isinstance(value, dict) and "manifest" in value and value["manifest"] is None:
            return {**value, "manifest": {}}
        return value

    @model_validator(mode="after")
    def _one(self) -> Check:
        if sum(x is not None for x in (self.manifest, self.sql, self.file, self.command)) != 1:
            raise ValueError("give exactly one of manifest, sql, file or command")
        return self

    @property
    def kind(self) -> CheckKind:
        """The name of the kind declared."""
        return "manifest" if self.manifest else "sql" if self.sql else "file" if self.file else "command"

    @property
    def body(self) -> ManifestCheck | SqlCheck | FileCheck | CommandCheck:
        """The kind's own declaration."""
        body = self.manifest or self.sql or self.file or self.command
        assert body is not None  # noqa: S101 - the validator above saw to it
        return body

    @property
    def mandatory(self) -> bool:
        """Whether a failure of this check fails the drill."""
        return self.mandatory_ is not False and self.body.mandatory is not False

    @property
    def source(self) -> str | None:
        """The source it looks at; None when it looks at the whole system."""
        return None if self.command else getattr(self.body, "source", None)
