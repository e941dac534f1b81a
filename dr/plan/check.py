"""A check: one assertion on restored data. Mandatory unless the plan says otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dr.plan.base import Declaration, Duration, Name, PositiveDuration
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

_MANDATORY = Field(description="false: a failure of this check does not fail the drill. Default: true.")
#: Of a check that names one source.
_SOURCE = Field(description="Name of the source to look at, as the plan declares it.", examples=["database"])


class ManifestCheck(Declaration):
    """What was restored equals what was hashed at capture."""

    source: Annotated[
        Name | None,
        Field(
            description="Name of the source to look at, as the plan declares it. Default: every source.",
            examples=["uploads"],
        ),
    ] = None
    sample: Annotated[
        float,
        BeforeValidator(parse_percent),
        Field(
            description="The share of the files whose content is compared, chosen again by each drill; all files must "
            "be present in any case.",
            examples=["5%"],
        ),
    ] = 1.0
    mandatory: Annotated[bool | None, _MANDATORY] = None


class RowsCheck(Declaration):
    """Every table of a restored PostgreSQL, MariaDB or MySQL database has the rows that were counted at capture."""

    source: Annotated[Name, _SOURCE]
    mandatory: Annotated[bool | None, _MANDATORY] = None


class SchemaCheck(Declaration):
    """Tables, columns, indexes, constraints, extensions and routines are those recorded at capture."""

    source: Annotated[Name, _SOURCE]
    mandatory: Annotated[bool | None, _MANDATORY] = None


class SqlCheck(Declaration):
    """A query on a restored database returns the value that is expected."""

    source: Annotated[Name, _SOURCE]
    database: Annotated[
        str | None,
        Field(
            description="Which database of the source to ask, where it has several. Default: the first.",
            examples=["library"],
        ),
    ] = None
    query: Annotated[str, Field(description="SQL that returns one value.", examples=["select count(*) from students"])]
    expect: Annotated[
        Expectation,
        Field(
            description="The value, or a comparison: `>= 1000`, `between 1 and 9`, `matches ^ok`. `captured`: the "
            "value that the same query returned at capture.",
            examples=[">= 1000", "captured"],
        ),
    ]
    mandatory: Annotated[bool | None, _MANDATORY] = None


class FileCheck(Declaration):
    """Certain files were restored."""

    source: Annotated[
        Name, Field(description="Name of the source to look at, as the plan declares it.", examples=["uploads"])
    ]
    path: Annotated[
        str,
        Field(
            description="Pattern of the files below the source's paths: `*`, `?` and `[abc]` within one name, `**` "
            "across directories.",
            examples=["photos/*.jpg"],
        ),
    ]
    expect: Annotated[
        Expectation | None,
        Field(
            description="How many files must match: a number, or a comparison. Default: at least one.",
            examples=[">= 10"],
        ),
    ] = None
    size: Annotated[
        Expectation | None,
        Field(
            description="The size of each of them in bytes: a number, or a comparison. Default: any size.",
            examples=[">= 1000000"],
        ),
    ] = None
    contains: Annotated[
        str | None,
        Field(
            description="Regular expression that the text of each of them must match somewhere. Default: the text is "
            "not looked at.",
            examples=["^TOTAL"],
        ),
    ] = None
    mandatory: Annotated[bool | None, _MANDATORY] = None


class CommandExpectation(Declaration):
    """How a command must end."""

    exit: Annotated[int, Field(description="The exit code.", examples=[0])] = 0
    stdout: Annotated[
        Expectation | None,
        Field(
            description="What it prints: a value, or a comparison. Default: anything.",
            examples=["matches all good"],
        ),
    ] = None


class CommandCheck(Declaration):
    """A command, run in the sandbox, ends as expected.

    Its environment has DR_SANDBOX, DR_SOURCE_NAME with the directory of each source, and how the restored databases
    are reached (PGHOST, MYSQL_UNIX_PORT, DATABASE_URL and others).
    """

    run: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="The program and its arguments, one word each. A relative path begins at the plan's directory.",
            examples=[["./smoke-test"]],
        ),
    ]
    expect: Annotated[
        CommandExpectation,
        Field(description="How it must end. Default: with exit code 0.", examples=[{"exit": 0, "stdout": "ok"}]),
    ] = CommandExpectation()
    timeout: Annotated[
        Duration,
        Field(description="The command is stopped after this time, and the check fails.", examples=["2m"]),
    ] = 600
    mandatory: Annotated[bool | None, _MANDATORY] = None


class HttpExpectation(Declaration):
    """What a service must answer."""

    status: Annotated[int, Field(ge=100, le=599, description="The HTTP status.", examples=[200])] = 200
    body: Annotated[
        Expectation | None,
        Field(
            description="The body of the answer: a value, or a comparison. Default: anything.",
            examples=["matches Welcome"],
        ),
    ] = None


class HttpCheck(Declaration):
    """A service that runs on the restored data answers over HTTP."""

    serve: Annotated[
        Annotated[tuple[str, ...], Field(min_length=1)] | None,
        Field(
            description="Program to start in the sandbox for this check, with its arguments. Its environment is that "
            "of a `command` check, with a free port in PORT; `{port}` stands for that port. Default: nothing is "
            "started.",
            examples=[["./portal", "--port", "{port}"]],
        ),
    ] = None
    url: Annotated[
        str,
        Field(
            pattern=r"^https?://",
            description="The address to ask; `{port}` stands for the port that `serve` was given.",
            examples=["http://127.0.0.1:{port}/health"],
        ),
    ]
    expect: Annotated[
        HttpExpectation,
        Field(description="What it must answer. Default: status 200.", examples=[{"status": 200}]),
    ] = HttpExpectation()
    within: Annotated[
        PositiveDuration,
        Field(description="How long the service may take until it answers as expected.", examples=["2m"]),
    ] = 60
    mandatory: Annotated[bool | None, _MANDATORY] = None


Body = ManifestCheck | RowsCheck | SchemaCheck | SqlCheck | FileCheck | CommandCheck | HttpCheck


class Check(Declaration):
    """One check: give exactly one kind. `- manifest` alone is a manifest check with its defaults."""

    manifest: Annotated[
        ManifestCheck | None,
        Field(
            description="What was restored equals what was hashed at capture. Default: none; a check has one kind.",
            examples=[{"sample": "100%"}],
        ),
    ] = None
    rows: Annotated[
        RowsCheck | None,
        Field(
            description="Every table has the rows that were counted at capture. Default: none; a check has one kind.",
            examples=[{"source": "database"}],
        ),
    ] = None
    schema_: Annotated[
        SchemaCheck | None,
        Field(
            alias="schema",
            description="Tables, indexes and other objects are those of the capture. Default: none; a check has one "
            "kind.",
            examples=[{"source": "database"}],
        ),
    ] = None
    sql: Annotated[
        SqlCheck | None,
        Field(
            description="A query returns the value that is expected. Default: none; a check has one kind.",
            examples=[{"source": "database", "query": "select count(*) from students", "expect": ">= 1000"}],
        ),
    ] = None
    file: Annotated[
        FileCheck | None,
        Field(
            description="Certain files were restored. Default: none; a check has one kind.",
            examples=[{"source": "uploads", "path": "photos/*.jpg", "expect": ">= 10"}],
        ),
    ] = None
    command: Annotated[
        CommandCheck | None,
        Field(
            description="A command ends as expected. Default: none; a check has one kind.",
            examples=[{"run": ["./smoke-test"]}],
        ),
    ] = None
    http: Annotated[
        HttpCheck | None,
        Field(
            description="A service answers over HTTP. Default: none; a check has one kind.",
            examples=[{"serve": ["./portal", "{port}"], "url": "http://127.0.0.1:{port}/health"}],
        ),
    ] = None
    mandatory_: Annotated[
        bool | None,
        Field(
            alias="mandatory",
            description="false: a failure of this check does not fail the drill; may also be written inside the kind. "
            "Default: true.",
        ),
    ] = None

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
