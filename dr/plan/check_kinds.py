"""The kinds of check, each declared once: its keys in a plan, and what the program is to know of it.

`KINDS` is what loading, JSON Schema, lint, reports and the engine read. What a kind does is its driver's: one file in
`dr/run/recovery/checks`. docs/extending.md walks through both.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dr.plan.base import Count, Declaration, Name, PositiveDuration
from dr.plan.expect import Expectation as Plain
from dr.plan.expect import check_count, check_expectation, of_contents
from dr.plan.source_kinds import Capability
from dr.plan.units import parse_percent


def _sound(value: Plain) -> Plain:
    check_expectation(value)
    return value


def _countable(value: Plain) -> Plain:
    check_count(value)
    return value


Expectation = Annotated[Plain, AfterValidator(_sound)]
#: What a number of files, or of bytes, is held against.
CountExpectation = Annotated[Plain, AfterValidator(_countable)]
#: As `expect` of an sql check: the value that the same query had in the source when it was captured.
CAPTURED = "captured"

_MANDATORY = Field(description="false: a failure of this check does not fail the drill. Default: true.")
#: Of a check that names one source.
_SOURCE = Field(description="Name of the source to look at, as the plan declares it.", examples=["database"])


class Turn(IntEnum):
    """When a check is run: what only looks comes before what may change what it looks at."""

    LOOKS = 0
    ASKS = 1
    RUNS_PROGRAMS = 2


class CheckBody(Declaration):
    """What a kind of check declares, and what the program is to know of the kind: the class variables."""

    #: Its key in a plan, and its name in the evidence.
    kind: ClassVar[str]
    #: What it asserts, in one sentence for the JSON Schema, and how reports call it.
    asserts: ClassVar[str]
    title: ClassVar[str]
    #: One as people write it.
    example: ClassVar[Mapping[str, Any]]
    turn: ClassVar[Turn]
    #: Puts a question to what was restored, beyond its being there: one that passes shows a service.
    proves_service: ClassVar[bool] = False
    #: What a kind of source must be able to, to answer it; None: any source can, or it is of the whole system.
    answered_by: ClassVar[Capability | None] = None
    #: `- KIND` alone is one with its defaults.
    bare: ClassVar[bool] = False
    #: Without a source it is made once for each.
    each_source: ClassVar[bool] = False

    mandatory: Annotated[bool | None, _MANDATORY] = None

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the kind's own keys first."""
        found = handler(core)
        keys = handler.resolve_ref_schema(found)["properties"]
        keys["mandatory"] = keys.pop("mandatory")
        return found

    @property
    def about(self) -> str | None:
        """The source it looks at; None when it looks at the whole system."""
        return getattr(self, "source", None)

    @property
    def captured_query(self) -> tuple[str | None, str] | None:
        """The query (database, SQL) of which it needs the answer at capture; None when it needs none."""
        return None

    @property
    def sampled_path(self) -> str | None:
        """The pattern of the files that a sample must hold, for this check to be made; None when it needs none."""
        return None

    @property
    def starts(self) -> tuple[str, ...]:
        """The program of the organisation's own that it starts, and its arguments; empty where it starts none."""
        return ()


class ManifestCheck(CheckBody):
    """What was restored equals what was hashed at capture."""

    kind = "manifest"
    asserts = "What was restored equals what was hashed at capture."
    title = "What came back equals the capture"
    example: ClassVar[Mapping[str, Any]] = {"sample": "100%"}
    turn = Turn.LOOKS
    bare = True
    each_source = True

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


class RowsCheck(CheckBody):
    """Every table of a restored PostgreSQL, MariaDB or MySQL database has the rows that were counted at capture."""

    kind = "rows"
    asserts = "Every table has the rows that were counted at capture."
    title = "Every table has its rows"
    example: ClassVar[Mapping[str, Any]] = {"source": "database"}
    turn = Turn.LOOKS
    proves_service = True
    answered_by = "own_server"

    source: Annotated[Name, _SOURCE]


class SchemaCheck(CheckBody):
    """Tables, columns, indexes, constraints, extensions and routines are those recorded at capture."""

    kind = "schema"
    asserts = "Tables, indexes and other objects are those of the capture."
    title = "Tables, indexes and rules are there"
    example: ClassVar[Mapping[str, Any]] = {"source": "database"}
    turn = Turn.LOOKS
    answered_by = "own_server"

    source: Annotated[Name, _SOURCE]


class SqlCheck(CheckBody):
    """A query on a restored database returns the value that is expected."""

    kind = "sql"
    asserts = "A query returns the value that is expected."
    title = "Question to the database"
    example: ClassVar[Mapping[str, Any]] = {
        "source": "database",
        "query": "select count(*) from students",
        "expect": ">= 1000",
    }
    turn = Turn.ASKS
    proves_service = True
    answered_by = "answers_queries"

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
            "value that the same query returned at capture, of a `postgres` or `mysql` source.",
            examples=[">= 1000", "captured"],
        ),
    ]

    @property
    def captured_query(self) -> tuple[str | None, str] | None:
        """Its own, where the value at capture is what is expected."""
        return (self.database, self.query) if self.expect == CAPTURED else None


class FileCheck(CheckBody):
    """Certain files were restored."""

    kind = "file"
    asserts = "Certain files were restored."
    title = "Files are there"
    example: ClassVar[Mapping[str, Any]] = {"source": "uploads", "path": "photos/*.jpg", "expect": ">= 10"}
    turn = Turn.LOOKS

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
        CountExpectation | None,
        Field(
            description="How many files must match: a number, or a comparison. Default: at least one.",
            examples=[">= 10"],
        ),
    ] = None
    size: Annotated[
        CountExpectation | None,
        Field(
            description="The size of each of them in bytes: a number, or a comparison. Default: any size.",
            examples=[">= 1000000"],
        ),
    ] = None
    contains: Annotated[
        Annotated[str, AfterValidator(of_contents)] | None,
        Field(
            description="Regular expression that the text of each of them must match somewhere. Default: the text is "
            "not looked at.",
            examples=["^TOTAL"],
        ),
    ] = None

    @property
    def sampled_path(self) -> str | None:
        """The files that it looks at."""
        return self.path


class CommandExpectation(Declaration):
    """How a command must end."""

    exit: Annotated[
        Count,
        Field(
            ge=0,
            le=255,
            description="The exit code; of a program that a signal ends it is 128 and that signal.",
            examples=[0],
        ),
    ] = 0
    stdout: Annotated[
        Expectation | None,
        Field(
            description="What it prints: a value, or a comparison. Of more than 128 KiB the first and the last 64 are "
            "looked at. Default: anything.",
            examples=["matches all good"],
        ),
    ] = None


class CommandCheck(CheckBody):
    """A command, run in the sandbox, ends as expected.

    Its environment has DR_SANDBOX, DR_SOURCE_NAME with the directory of each source, and how the restored databases
    are reached (PGHOST, MYSQL_UNIX_PORT, DATABASE_URL and others).
    """

    kind = "command"
    asserts = "A command ends as expected."
    title = "Command run on the restored system"
    example: ClassVar[Mapping[str, Any]] = {"run": ["./smoke-test"]}
    turn = Turn.RUNS_PROGRAMS
    proves_service = True

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
    ] = CommandExpectation.model_construct()
    timeout: Annotated[
        PositiveDuration,
        Field(description="The command is stopped after this time, and the check fails.", examples=["2m"]),
    ] = 600

    @property
    def starts(self) -> tuple[str, ...]:
        """See `CheckBody`."""
        return self.run


class HttpExpectation(Declaration):
    """What a service must answer."""

    status: Annotated[Count, Field(ge=100, le=599, description="The HTTP status.", examples=[200])] = 200
    body: Annotated[
        Expectation | None,
        Field(
            description="The body of the answer: a value, or a comparison. Default: anything.",
            examples=["matches Welcome"],
        ),
    ] = None


class HttpCheck(CheckBody):
    """A service that runs on the restored data answers over HTTP."""

    kind = "http"
    asserts = "A service answers over HTTP."
    title = "The service answers"
    example: ClassVar[Mapping[str, Any]] = {"serve": ["./portal", "{port}"], "url": "http://127.0.0.1:{port}/health"}
    turn = Turn.RUNS_PROGRAMS
    proves_service = True

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
    ] = HttpExpectation.model_construct()
    within: Annotated[
        PositiveDuration,
        Field(description="How long the service may take until it answers as expected.", examples=["2m"]),
    ] = 60

    @property
    def starts(self) -> tuple[str, ...]:
        """See `CheckBody`."""
        return self.serve or ()


#: Every kind of check, by its key in a plan. What comes first here is made first of those of one turn.
KINDS: dict[str, type[CheckBody]] = {
    each.kind: each for each in (ManifestCheck, RowsCheck, SchemaCheck, SqlCheck, FileCheck, CommandCheck, HttpCheck)
}


def proves_service(kind: str) -> bool:
    """Whether a check of that kind that passed shows a service; False of a kind that is not known any more."""
    return kind in KINDS and KINDS[kind].proves_service
