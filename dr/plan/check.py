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
CheckKind = Literal["manifest", "rows", "schema", "sql", "file", "command", "http"]
_KINDS: tuple[CheckKind, ...] = ("manifest", "rows", "schema", "sql", "file", "command", "http")
#: Checks that put a question to what was restored, beyond its being there: what makes it a service.
ASKING = ("rows", "sql", "command", "http")
#: As `expect` of an sql check: the value that the same query had in the source when it was captured.
CAPTURED = "captured"


class ManifestCheck(Declaration):
    """Restored files equal what was hashed at capture; `sample` is the share that is compared."""

    source: Name | None = None
    sample: Annotated[float, BeforeValidator(parse_percent)] = 1.0
    mandatory: bool | None = None


class RowsCheck(Declaration):
    """Every table of a restored database has the rows that were counted when it was captured."""

    source: Name
    mandatory: bool | None = None


class SchemaCheck(Declaration):
    """Tables, columns, indexes, constraints, extensions and routines are those recorded at capture."""

    source: Name
    mandatory: bool | None = None


class SqlCheck(Declaration):
    """One value from a query on a restored database; `database` names one of several.

    `expect: captured` is the value that the same query had when the source was captured.
    """

    source: Name
    database: str | None = None
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
    """A command run in the sandbox.

    In its environment: `DR_SANDBOX`, `DR_SOURCE_NAME` for each source, and the restored databases' connection.
    """

    run: Annotated[tuple[str, ...], Field(min_length=1)]
    expect: CommandExpectation = CommandExpectation()
    timeout: Duration = 600
    mandatory: bool | None = None


class HttpExpectation(Declaration):
    """What must answer."""

    status: Annotated[int, Field(ge=100, le=599)] = 200
    body: Expectation | None = None


class HttpCheck(Declaration):
    """A service that answers over HTTP.

    `serve` is started in the sandbox with the databases' connection, and a free port (`PORT`), in its
    environment; `{port}` in `serve` and `url` stands for that port. `within` is how long it may take to answer.
    """

    serve: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    url: Annotated[str, Field(pattern=r"^https?://")]
    expect: HttpExpectation = HttpExpectation()
    within: Annotated[Duration, Field(gt=0)] = 60
    mandatory: bool | None = None


Body = ManifestCheck | RowsCheck | SchemaCheck | SqlCheck | FileCheck | CommandCheck | HttpCheck


class Check(Declaration):
    """One check, of exactly one kind. `mandatory` may stand beside the kind or inside it."""

    manifest: ManifestCheck | None = None
    rows: RowsCheck | None = None
    schema_: Annotated[SchemaCheck | None, Field(alias="schema")] = None
    sql: SqlCheck | None = None
    file: FileCheck | None = None
    command: CommandCheck | None = None
    http: HttpCheck | None = None
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
        if sum(body is not None for body in self._bodies().values()) != 1:
            raise ValueError(f"give exactly one of {', '.join(_KINDS[:-1])} or {_KINDS[-1]}")
        return self

    def _bodies(self) -> dict[CheckKind, Body | None]:
        return {
            "manifest": self.manifest, "rows": self.rows, "schema": self.schema_, "sql": self.sql,
            "file": self.file, "command": self.command, "http": self.http,
        }  # fmt: skip

    @property
    def kind(self) -> CheckKind:
        """The name of the kind declared."""
        return next(kind for kind, body in self._bodies().items() if body is not None)

    @property
    def body(self) -> Body:
        """The kind's own declaration."""
        return next(body for body in self._bodies().values() if body is not None)

    @property
    def mandatory(self) -> bool:
        """Whether a failure of this check fails the drill."""
        return self.mandatory_ is not False and self.body.mandatory is not False

    @property
    def source(self) -> str | None:
        """The source it looks at; None when it looks at the whole system."""
        return getattr(self.body, "source", None)
