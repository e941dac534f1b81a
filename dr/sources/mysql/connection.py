"""How a server is reached: its programs, on whichever host they run, what they are told, and what they say.

Passwords go by environment (`MYSQL_PWD`) or option file, never by argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field

from dr.errors import REFUSED, RefusedError, SourceError
from dr.late_dataclass import dataclass
from dr.plan.source_kinds import MysqlSource
from dr.sources.secret import read_secret
from dr.tools.host import Host

CLIENTS = ("mariadb", "mysql")
DUMPS = ("mariadb-dump", "mysqldump")
#: Databases of the server itself.
SYSTEM = frozenset({"information_schema", "performance_schema", "sys", "mysql"})
#: Seconds that a query may take.
QUERY_SECONDS = 600
#: The largest row that programs take, in bytes: the most a server can send.
LARGEST = "--max-allowed-packet=1073741824"
UTF8 = "--default-character-set=utf8mb4"

_FIND = 'for name in "$@"; do command -v "$name" && exit 0; done; exit 1'
#: How clients and dump programs put what the server says: number and words, or words and number.
_ERROR = re.compile(
    r"(?:ERROR|[Ee]rror:?) (?P<a>\d{4})\b(?: \(\w+\))?(?: at line \d+)?: (?P<x>.*)"
    r"|execute '.*': (?P<y>.*) \((?P<b>\d{4})\)"
)
_PRIVATE = re.compile(
    r"(Duplicate entry|Incorrect [\w ]+ value:|Data truncated[^']*|Truncated[^']*) '.*?'(?= for | at |$)"
)
#: What may pass: the connection was lost, a lock was waited for, a table was changed meanwhile.
PASSING = frozenset({1040, 1053, 1077, 1080, 1205, 1213, 1317, 1412, 1927, 2002, 2003, 2006, 2013, 2026, 2055})
_REFUSED = frozenset({1044, 1045, 1130, 1698, 1862, 4151})


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server and how its programs reach it: `login` are their options, `env` holds the password.

    `where` is the source's name, for messages.
    """

    where: str
    host: Host
    client: str
    dump: str
    login: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def client_argv(self, *options: str) -> list[str]:
        """The command line of the client program."""
        return [self.client, *self.login, UTF8, LARGEST, *options]

    def dump_argv(self, *options: str) -> list[str]:
        """The command line of the dump program, with what every dump of ours needs.

        Nothing in it tells the time, so that equal data gives equal bytes. No table is locked while it is loaded:
        one whose columns take their defaults from a sequence could not be. `loose`: programs that do not know an
        option go on without it.
        """
        return [
            self.dump, *self.login, UTF8, LARGEST, "--single-transaction", "--quick", "--skip-lock-tables",
            "--hex-blob", "--skip-dump-date", "--skip-add-locks", "--no-tablespaces",
            "--loose-column-statistics=0",
            "--loose-set-gtid-purged=OFF", *options,
        ]  # fmt: skip


def reach(declared: MysqlSource, host: Host, where: str) -> Server:
    """Return how a plan's server is reached. Raises `SourceError` when a program or the password is missing."""
    return Server(
        where=where,
        host=host,
        client=_program(CLIENTS, declared.bin, host, where),
        dump=_program(DUMPS, declared.bin, host, where),
        login=_login(declared),
        env=_password(declared, where),
    )


def _program(names: Sequence[str], folder: str | None, host: Host, where: str) -> str:
    paths = [f"{folder}/{name}" for name in names] if folder else list(names)
    done = host.run(["sh", "-c", _FIND, "sh", *paths], timeout=60)
    found = done.stdout.decode("utf-8", "replace").strip()
    if done.code != 0 or not found:
        place = f"in {folder} on {host.name}" if folder else f"on {host.name}"
        raise SourceError(
            f"the program {' or '.join(names)} is not {place}",
            where,
            hint="install the MariaDB or MySQL client programs there, or name their directory with `bin`",
        )
    return found


def _login(declared: MysqlSource) -> tuple[str, ...]:
    pairs = (
        ("defaults-extra-file", declared.defaults_file),  # must be the first option
        ("host", declared.host),
        ("port", declared.port),
        ("socket", declared.socket),
        ("user", declared.user),
    )
    return tuple(f"--{key}={value}" for key, value in pairs if value is not None)


def _password(declared: MysqlSource, where: str) -> dict[str, str]:
    if declared.password is None:
        return {}
    try:
        return {"MYSQL_PWD": read_secret(declared.password, f"{where}: password")}
    except RefusedError as error:
        raise SourceError(error.what, error.where, error.cause, hint=error.hint, exit_code=REFUSED) from error


def quoted(name: str) -> str:
    """Return a name as an identifier in SQL."""
    return "`" + name.replace("`", "``") + "`"


def text_of(value: str) -> str:
    """Return a text as a literal in SQL, whatever the server's modes say about quotes and backslashes."""
    return f"_utf8mb4 x'{value.encode('utf-8', 'surrogateescape').hex()}'"


def one_line(text: str) -> str:
    """Return what a server said as one printable line, without values of the data."""
    line = _PRIVATE.sub(r"\1 '…'", " ".join(text.split()))
    return "".join(c if c.isprintable() else "?" for c in line)[:300]


def complaint(what: str, where: str, said: str) -> SourceError:
    """Return the error for what a program said, with what to do about it."""
    found = next(reversed(list(_ERROR.finditer(said))), None)
    number = int(found["a"] or found["b"]) if found else 0
    words = f"{found['x'] or found['y']} [{number}]" if found else said.strip().rpartition("\n")[2]
    cause = one_line(words)
    return SourceError(
        what,
        where,
        cause,
        hint=_hint(number),
        retryable=number in PASSING,
        exit_code=REFUSED if number in _REFUSED else 1,
    )


def _hint(number: int) -> str:
    if number in _REFUSED:
        return "correct the plan's user and password, or the account's rights on the server"
    if number in (2002, 2003, 2005):
        return "see whether the server runs, and the plan's host, port or socket"
    if number in (2006, 2013, 1927, 1053, 1317):
        return "see the server's log: the connection was ended there"
    if number in (1142, 1143, 1227, 1370, 1419):
        return "grant the account the right that is missing"
    if number == 1205:
        return "see by SHOW FULL PROCESSLIST who holds the tables, end that, then try again"
    if number == 1356:
        return "repair or drop that view: nobody can read it"
    return "see the server's log, or run the statement by hand"
