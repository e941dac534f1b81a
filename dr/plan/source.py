"""A source: one part of a system's data."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from dr.plan.base import ConfigPath, Declaration, Duration, PositiveDuration
from dr.plan.host import SshHost
from dr.plan.secret import SecretPlace
from dr.plan.zone import checked_zone

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


class FilesSource(Declaration):
    """Directory trees or single files."""

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


class SqliteSource(Declaration):
    """One SQLite database, copied consistently while it is in use."""

    path: Annotated[
        AbsolutePath,
        Field(description="The database's file, with its absolute path.", examples=["/srv/sis/sis.db"]),
    ]
    newest: Annotated[str | None, _NEWEST] = None
    newest_timezone: Annotated[TimeZone | None, _NEWEST_TIMEZONE] = None


class CommandSource(Declaration):
    """What a command writes to its standard output. A command that fails leaves no recovery point."""

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


def _no_address(value: object) -> object:
    if isinstance(value, str) and "://" in value:
        raise ValueError("must be the database's name alone: host, port, user and password have keys of their own")
    return value


DatabaseName = Annotated[
    str, BeforeValidator(_no_address), Field(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f/]+$")
]


class DatabaseSource(Declaration):
    """Databases of one server: exactly one of `database`, `databases` and `all`."""

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
        Annotated[int, Field(gt=0, lt=65536)] | None,
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


class MysqlSource(DatabaseSource):
    """MariaDB or MySQL databases, by `mariadb-dump` or `mysqldump`.

    Give exactly one of `database`, `databases` and `all`.
    """

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


SourceKind = Literal["files", "sqlite", "command", "postgres", "mysql"]
#: Kinds that answer queries once they are restored.
DATABASES = frozenset({"sqlite", "postgres", "mysql"})
_KINDS: tuple[SourceKind, ...] = ("files", "sqlite", "command", "postgres", "mysql")


class Source(Declaration):
    """One part of a system's data: give exactly one of `files`, `sqlite`, `command`, `postgres` and `mysql`."""

    files: Annotated[
        FilesSource | None,
        Field(
            description="Directory trees or single files. Default: none; a source has one kind.",
            examples=[{"paths": ["/srv/sis/uploads"], "exclude": ["*.tmp"]}],
        ),
    ] = None
    sqlite: Annotated[
        SqliteSource | None,
        Field(
            description="One SQLite database. Default: none; a source has one kind.",
            examples=[{"path": "/srv/sis/sis.db"}],
        ),
    ] = None
    command: Annotated[
        CommandSource | None,
        Field(
            description="The output of a command. Default: none; a source has one kind.",
            examples=[{"run": ["sis-export"], "filename": "export.csv"}],
        ),
    ] = None
    postgres: Annotated[
        PostgresSource | None,
        Field(
            description="Databases of a PostgreSQL server. Default: none; a source has one kind.",
            examples=[{"database": "sis"}],
        ),
    ] = None
    mysql: Annotated[
        MysqlSource | None,
        Field(
            description="Databases of a MariaDB or MySQL server. Default: none; a source has one kind.",
            examples=[{"database": "library", "socket": "/run/mysqld/mysqld.sock"}],
        ),
    ] = None
    host: Annotated[
        SshHost | None,
        Field(
            description="The host that this source is on. Default: the plan's `host`; without one, the backup host.",
            examples=[{"ssh": "backup@db.district.example"}],
        ),
    ] = None

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(getattr(self, kind) is not None for kind in _KINDS) != 1:
            raise ValueError("give exactly one of files, sqlite, command, postgres or mysql")
        return self

    @property
    def kind(self) -> SourceKind:
        """The name of the kind declared."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def database(self) -> DatabaseSource | None:
        """The database server's declaration, where the kind is one."""
        return self.postgres or self.mysql

    @property
    def newest(self) -> str | None:
        """The query for the newest record, where the kind has one."""
        body = self.sqlite or self.database
        return body.newest if body else None
