"""The programs of a server's own kind: what MariaDB's dump of MySQL can be restored nowhere, and the other way round
objects are left out. On many machines `mysqldump` is MariaDB's under an old name, so each is asked what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from dr.errors import SourceError
from dr.plan.source_kinds import MysqlSource
from dr.sources.mysql.connection import Server
from dr.sources.mysql.inventory import server_of
from dr.sources.mysql.session import Session
from dr.tools.host import Host, script

_SECONDS = 60.0
#: $1 how many names there are; then the names, then the places. Prints all that are there.
_ALL = """
n=$1; shift; names=; while [ "$n" -gt 0 ]; do names="$names $1"; shift; n=$((n - 1)); done;
for place in "$@"; do for name in $names; do
if [ -f "$place/$name" ] && [ -x "$place/$name" ]; then echo "$place/$name"; fi; done; done;
for name in $names; do command -v "$name"; done; exit 0;
"""


def find(host: Host, names: Sequence[str], places: Sequence[Path], *, maria: bool) -> str | None:
    """Return the first program, in `places` and then on the PATH, that is MariaDB's (or MySQL's); None for none."""
    done = host.run(script(_ALL, str(len(names)), *names, *map(str, places)), timeout=_SECONDS)
    candidates = dict.fromkeys(done.stdout.decode("utf-8", "replace").split("\n"))
    return next((path for path in candidates if path and _is_marias(host, path) is maria), None)


def _is_marias(host: Host, path: str) -> bool:
    if PurePosixPath(path).name.startswith("mariadb"):
        return True
    return b"MariaDB" in host.run([path, "--version"], timeout=_SECONDS).stdout


def suited(server: Server, declared: MysqlSource, *, seconds: float = _SECONDS) -> Server:
    """Return how a server is reached by the programs of its own kind. Raises `SourceError` when one is missing."""
    with Session(server, timeout=seconds) as session:
        maria = server_of(session).startswith("MariaDB")
    kind, other = ("MariaDB", "MySQL") if maria else ("MySQL", "MariaDB")
    places = [Path(declared.bin)] if declared.bin else []
    host, chosen = server.host, dict[str, str]()
    for role, name in (("client", "mysql"), ("dump", "mysqldump")):
        names = [{"mysql": "mariadb", "mysqldump": "mariadb-dump"}[name], name] if maria else [name]
        found = find(host, names, places, maria=maria)
        if found is None:
            raise SourceError(
                f"the server is {kind}, and only the programs of {other} are on {host.name}: not all that they dump"
                " can be restored", server.where,
                hint=f"install the client programs of {kind} there, or name their directory with `bin`",
            )  # fmt: skip
        chosen[role] = found
    return replace(server, client=chosen["client"], dump=chosen["dump"])
