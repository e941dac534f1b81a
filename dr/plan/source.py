"""A source: one part of a system's data."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from dr.plan.base import ConfigPath, Declaration, Duration
from dr.plan.host import SshHost
from dr.plan.secret import SecretPlace
from dr.plan.zone import checked_zone

AbsolutePath = Annotated[str, Field(pattern=r"^/")]
TimeZone = Annotated[
    str,
    AfterValidator(checked_zone),
    Field(
        description="The time zone of what `newest` gives, where that has none of its own, such as America/New_York. "
        "Absent: that of a PostgreSQL database at capture, else UTC. How it was read stands in the drill's timeline."
    ),
]


class FilesSource(Declaration):
    """Directory trees or single files on this host.

    What other file systems are mounted below a path is stored too. With `one_filesystem: true` it is left out, and
    each of them is named at every backup until it is excluded. Pseudo file systems (proc, sysfs …) are never data.
    """

    paths: Annotated[
        tuple[AbsolutePath, ...], Field(min_length=1, description="Directories or single files, by absolute path.")
    ]
    exclude: Annotated[
        tuple[str, ...],
        Field(description='Patterns of what is left out, as restic has them, such as "*.tmp" or "/srv/data/cache".'),
    ] = ()
    one_filesystem: Annotated[
        bool,
        Field(
            description="true: leave out what other file systems are mounted below the paths, and name each at every "
            "backup. false (the default): store them too. Pseudo file systems (proc, sysfs, cgroups) are never stored."
        ),
    ] = False


class SqliteSource(Declaration):
    """One SQLite database, copied consistently while it is in use.

    `newest` is a query for one timestamp: the newest record in the data.
    """

    path: AbsolutePath
    newest: str | None = None
    newest_timezone: TimeZone | None = None


class CommandSource(Declaration):
    """What a command writes to its standard output, stored under `filename`."""

    run: Annotated[tuple[str, ...], Field(min_length=1)]
    filename: Annotated[str, Field(min_length=1)]
    timeout: Duration = 3600

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
    """Databases of one server: one (`database`), several (`databases`), or `all` of them with its accounts.

    Without connection keys the server's own programs decide (its environment and files), as when typed by
    hand there. Secrets are named by place and never reach a command line. `newest` is a query, in the first
    database, for one timestamp: the newest record in the data. `bin` is the directory of the server's
    programs, where they are not on the PATH.
    """

    database: DatabaseName | None = None
    databases: tuple[DatabaseName, ...] = ()
    all: bool = False
    newest: str | None = None
    newest_timezone: TimeZone | None = None
    host: str | None = None
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    user: str | None = None
    password: SecretPlace | None = None
    bin: AbsolutePath | None = None
    timeout: Annotated[Duration, Field(gt=0)] = 6 * 3600

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
    """PostgreSQL databases, by `pg_dump`, with their roles.

    `service` is an entry of the connection service file, `passfile` a password file in `.pgpass` format.
    """

    service: str | None = None
    passfile: ConfigPath | None = None


class MysqlSource(DatabaseSource):
    """MariaDB or MySQL databases, by `mariadb-dump` or `mysqldump`.

    `socket` is a unix socket, `defaults_file` an option file that may hold the password.
    """

    socket: AbsolutePath | None = None
    defaults_file: ConfigPath | None = None


SourceKind = Literal["files", "sqlite", "command", "postgres", "mysql"]
#: Kinds that answer queries once they are restored.
DATABASES = frozenset({"sqlite", "postgres", "mysql"})
_KINDS: tuple[SourceKind, ...] = ("files", "sqlite", "command", "postgres", "mysql")


class Source(Declaration):
    """One source, of exactly one kind; with `host`, on another host than the plan's."""

    files: FilesSource | None = None
    sqlite: SqliteSource | None = None
    command: CommandSource | None = None
    postgres: PostgresSource | None = None
    mysql: MysqlSource | None = None
    host: SshHost | None = None

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
