"""The kinds of source, each declared once: its keys in a plan, and what the program is to know of it.

`KINDS` is what loading, JSON Schema, lint, `dr doctor` and the engine read. What a kind does is its driver's, in
`dr/sources`: `dr.sources.kinds` says which. docs/extending.md walks through both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from dr.plan.base import ConfigPath, Count, Declaration, Duration, PositiveDuration
from dr.plan.cadence import checked_zone
from dr.plan.secret import SecretPlace

AbsolutePath = Annotated[str, Field(pattern=r"^/")]
TimeZone = Annotated[str, AfterValidator(checked_zone)]
#: What is the same for a file and for a server.
_NEWEST = Field(
    description="Query for one timestamp, that of the newest record in the data: with it a drill measures how much "
    "data a loss would have cost. Default: not measured.",
    examples=["select max(updated_at) from attendance"],
)
_NEWEST_TIMEZONE = Field(
    description="The time zone of what `newest` returns, where the value has no zone of its own. How the value was "
    "read is in the drill's timeline. Default: the zone of a PostgreSQL database at capture, else UTC.",
    examples=["America/New_York"],
)


#: What a check may need of the source that it asks.
Capability = Literal["answers_queries", "own_server"]
#: Of each group one program must be there.
Programs = tuple[tuple[str, ...], ...]


class SourceBody(Declaration):
    """What a kind of source declares, and what the program is to know of the kind: the class variables."""

    #: Its key in a plan, and its name in the evidence.
    kind: ClassVar[str]
    #: What such a source is, in one sentence for the JSON Schema.
    holds: ClassVar[str]
    #: One as people write it.
    example: ClassVar[Mapping[str, Any]]
    #: Answers the queries of `sql` checks once it is restored; has the keys `newest` and `newest_timezone` then.
    answers_queries: ClassVar[bool] = False
    #: A drill restores it into a server of its own, which knows the rows and objects of its databases.
    own_server: ClassVar[bool] = False
    #: Single tables of it can be brought back, as files or beside the live ones: `dr recover --table`.
    holds_tables: ClassVar[bool] = False
    #: `mode: sftp` can bring it from another host.
    by_sftp: ClassVar[bool] = False
    #: What captures it, and what does so on another host where that is more.
    capture_programs: ClassVar[Programs] = ()
    remote_programs: ClassVar[Programs] = ()
    #: What a drill's server of its own needs: its programs, shell patterns of where Debian keeps them, the server's
    #: name, Debian's packages of it, and the account that it runs as when we are root (the first of all that is there).
    server_programs: ClassVar[Programs] = ()
    server_places: ClassVar[tuple[str, ...]] = ()
    server: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ()
    service_user: ClassVar[str] = ""

    @property
    def local_paths(self) -> tuple[str, ...]:
        """What it captures by path: asked for when the plan is looked at on the host where they lie."""
        return ()

    @property
    def pattern_bases(self) -> tuple[str, ...]:
        """What the relative patterns of a file check start from."""
        return ("/",)

    @property
    def why_no_agent(self) -> str:
        """Why restic on the source's own host (`mode: agent`) cannot store it, {} for its name; "" when it can."""
        return ""

    def advice(self, name: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """Yield what is sound and could be better: the key below the source, what, and what to do."""
        if self.answers_queries and not getattr(self, "newest", None):
            what = f"the source {name!r} has no `newest` query: lost data cannot be measured"
            yield (), what, "add one, such as `newest: select max(updated_at) from …`"


class FilesSource(SourceBody):
    """Directory trees or single files."""

    kind = "files"
    holds = "Directory trees or single files."
    example: ClassVar[Mapping[str, Any]] = {"paths": ["/srv/sis/uploads"], "exclude": ["*.tmp"]}
    by_sftp = True

    paths: Annotated[
        tuple[AbsolutePath, ...],
        Field(
            min_length=1,
            description="Directories or single files, each with its absolute path.",
            examples=[["/srv/sis/uploads"]],
        ),
    ]
    exclude: Annotated[
        tuple[str, ...],
        Field(
            description="Patterns of what to leave out, in restic's form: a name anywhere, or an absolute path. "
            "Default: nothing.",
            examples=[["*.tmp", "/srv/sis/uploads/cache"]],
        ),
    ] = ()
    one_filesystem: Annotated[
        bool,
        Field(
            description="true: leave out what other file systems are mounted below the paths, and name each of them at "
            "every backup. false: store them too. Pseudo file systems (proc, sysfs, cgroups) are never stored."
        ),
    ] = False

    @property
    def local_paths(self) -> tuple[str, ...]:
        """See `SourceBody`."""
        return self.paths

    @property
    def pattern_bases(self) -> tuple[str, ...]:
        """See `SourceBody`."""
        return self.paths


class SqliteSource(SourceBody):
    """One SQLite database, copied consistently while it is in use."""

    kind = "sqlite"
    holds = "One SQLite database."
    example: ClassVar[Mapping[str, Any]] = {"path": "/srv/sis/sis.db"}
    answers_queries = True
    holds_tables = True
    remote_programs = (("sqlite3",),)

    path: Annotated[
        AbsolutePath,
        Field(description="The database's file, with its absolute path.", examples=["/srv/sis/sis.db"]),
    ]
    newest: Annotated[str | None, _NEWEST] = None
    newest_timezone: Annotated[TimeZone | None, _NEWEST_TIMEZONE] = None

    @property
    def local_paths(self) -> tuple[str, ...]:
        """See `SourceBody`."""
        return (self.path,)


class CommandSource(SourceBody):
    """What a command writes to its standard output. A command that fails leaves no recovery point."""

    kind = "command"
    holds = "The output of a command."
    example: ClassVar[Mapping[str, Any]] = {"run": ["sis-export"], "filename": "export.csv"}

    run: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="The program and its arguments, one word each. No shell is started: for a pipeline, write "
            "`[bash, -o, pipefail, -c, …]`.",
            examples=[["sis-export", "--all"]],
        ),
    ]
    filename: Annotated[
        str,
        Field(
            min_length=1,
            description="Name of the file that the output is stored as, without a directory.",
            examples=["export.csv"],
        ),
    ]
    timeout: Annotated[
        Duration,
        Field(description="The command is stopped after this time, and the capture fails.", examples=["30m"]),
    ] = 3600

    @field_validator("filename")
    @classmethod
    def _plain(cls, value: str) -> str:
        if PurePosixPath(value).name != value or value in {".", ".."}:
            raise ValueError("must be a plain file name, without a directory")
        return value

    def advice(self, name: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """See `SourceBody`."""
        from dr.plan.lint_commands import hides_failure

        if hides_failure(self.run):
            what = f"the pipeline of the source {name!r} hides the failure of all but its last program"
            yield ("run",), what, "let bash heed each: `run: [bash, -o, pipefail, -c, …]`"


def _no_address(value: object) -> object:
    if isinstance(value, str) and "://" in value:
        raise ValueError("must be the database's name alone: host, port, user and password have keys of their own")
    return value


DatabaseName = Annotated[
    str, BeforeValidator(_no_address), Field(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f/]+$")
]


class DatabaseSource(SourceBody):
    """Databases of one server: exactly one of `database`, `databases` and `all`."""

    answers_queries = True
    holds_tables = True
    own_server = True

    database: Annotated[
        DatabaseName | None,
        Field(
            description="Name of the one database to capture. Default: none; `databases` or `all` is given instead.",
            examples=["sis"],
        ),
    ] = None
    databases: Annotated[
        tuple[DatabaseName, ...],
        Field(
            description="Names of several databases to capture; `newest` is asked of the first. Default: none; "
            "`database` or `all` is given instead.",
            examples=[["sis", "library"]],
        ),
    ] = ()
    all: Annotated[
        bool,
        Field(description="true: capture every database of the server, with all its accounts."),
    ] = False
    newest: Annotated[str | None, _NEWEST] = None
    newest_timezone: Annotated[TimeZone | None, _NEWEST_TIMEZONE] = None
    host: Annotated[
        str | None,
        Field(
            description="The server's host name or address; for PostgreSQL also the directory of its socket. Default: "
            "what the server's own programs use when they are started by hand.",
            examples=["db.district.example"],
        ),
    ] = None
    port: Annotated[
        Annotated[Count, Field(gt=0, lt=65536)] | None,
        Field(description="The server's port. Default: what the server's own programs use.", examples=[5433]),
    ] = None
    user: Annotated[
        str | None,
        Field(
            description="Account to connect as; docs/services.md lists the rights that it needs. Default: what the "
            "server's own programs use.",
            examples=["backup"],
        ),
    ] = None
    password: Annotated[
        SecretPlace | None,
        Field(
            description="Where the account's password is read from; it never reaches a command line. Default: what the "
            "server's own programs use.",
            examples=[{"file": "/etc/dr/secrets/sis-database"}],
        ),
    ] = None
    bin: Annotated[
        AbsolutePath | None,
        Field(
            description="Directory of the server's programs, such as pg_dump or mariadb-dump. Default: they are found "
            "on the PATH.",
            examples=["/opt/database/bin"],
        ),
    ] = None
    timeout: Annotated[
        PositiveDuration,
        Field(description="The whole capture is stopped after this time, and fails.", examples=["12h"]),
    ] = 6 * 3600

    @model_validator(mode="after")
    def _which(self) -> DatabaseSource:
        if bool(self.database) + bool(self.databases) + self.all != 1:
            raise ValueError("give exactly one of database, databases or all")
        if len(set(self.databases)) != len(self.databases):
            raise ValueError("a database stands twice in databases")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The databases named; none when it is `all`."""
        return (self.database,) if self.database else self.databases


class PostgresSource(DatabaseSource):
    """PostgreSQL databases, by `pg_dump`, with their roles. Give exactly one of `database`, `databases` and `all`."""

    kind = "postgres"
    holds = "Databases of a PostgreSQL server."
    example: ClassVar[Mapping[str, Any]] = {"database": "sis"}
    capture_programs = (("psql",), ("pg_dump",), ("pg_dumpall",))
    server_programs = (("initdb",), ("pg_restore",))
    server_places = ("/usr/lib/postgresql/*/bin",)
    server = "PostgreSQL"
    packages = ("postgresql",)
    service_user = "postgres"

    service: Annotated[
        str | None,
        Field(
            description="Entry of PostgreSQL's connection service file (pg_service.conf) to connect by. Default: none.",
            examples=["sis"],
        ),
    ] = None
    passfile: Annotated[
        ConfigPath | None,
        Field(
            description="Password file in the format of `.pgpass`, with mode 0600. Default: what PostgreSQL's own "
            "programs use.",
            examples=["/etc/dr/secrets/pgpass"],
        ),
    ] = None

    @property
    def why_no_agent(self) -> str:
        """See `SourceBody`."""
        return "" if self.database else "restic there stores one database of PostgreSQL at a time, and {} names several"


class MysqlSource(DatabaseSource):
    """MariaDB or MySQL databases, by `mariadb-dump` or `mysqldump`.

    Give exactly one of `database`, `databases` and `all`.
    """

    kind = "mysql"
    holds = "Databases of a MariaDB or MySQL server."
    example: ClassVar[Mapping[str, Any]] = {"database": "library", "socket": "/run/mysqld/mysqld.sock"}
    capture_programs = (("mariadb", "mysql"), ("mariadb-dump", "mysqldump"))
    server_programs = (("mariadbd", "mysqld"),)
    server_places = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")
    server = "MariaDB or MySQL"
    packages = ("mariadb-server",)
    service_user = "mysql"

    socket: Annotated[
        AbsolutePath | None,
        Field(
            description="The server's unix socket. Default: what the server's own programs use.",
            examples=["/run/mysqld/mysqld.sock"],
        ),
    ] = None
    defaults_file: Annotated[
        ConfigPath | None,
        Field(
            description="Option file for the server's programs, with mode 0600, which may hold account and password. "
            "Default: what the server's own programs use.",
            examples=["/etc/dr/secrets/library.cnf"],
        ),
    ] = None


#: Every kind of source, by its key in a plan.
KINDS: dict[str, type[SourceBody]] = {
    each.kind: each for each in (FilesSource, SqliteSource, CommandSource, PostgresSource, MysqlSource)
}


def able(capability: Capability) -> frozenset[str]:
    """Return the kinds of source that have a capability."""
    return frozenset(name for name, kind in KINDS.items() if getattr(kind, capability))


def in_own_server(kind: str) -> bool:
    """Whether a drill restores that kind into a server of its own; False of a kind that is not known any more."""
    return kind in KINDS and KINDS[kind].own_server
