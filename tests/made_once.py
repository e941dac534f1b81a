"""What makes a database server's directory does so once a session; whoever asks again is given a copy.

A new PostgreSQL cluster costs most of a second of CPU, a new directory of MariaDB half of one, and the tests and the
drills in them make more than two hundred. A copy costs a tenth. The same arguments, user and time zone make the same
thing, but for identifiers that nobody here reads; what is asked otherwise goes to the real program.

Nothing is looked for elsewhere than without it: test servers are told of it, and plans of tests name its directories
as those of their server's programs (`bin`).
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
from pathlib import Path

from scripts.servers.owned import own_folder
from scripts.servers.postgres import program

#: `initdb -D PLACE`, `mariadb-install-db --datadir=PLACE --tmpdir=PLACE`: those name places, the rest says what.
_SCRIPT = """\
#!/bin/sh
into= next= asked="$(id -u) ${{TZ-}}"
for each; do
  if [ "$next" ]; then into=$each next=; continue; fi
  case $each in
    -D) next=yes ;;
    --datadir=*) into=${{each#*=}} ;;
    --tmpdir=*) ;;
    *) asked="$asked $each" ;;
  esac
done
kept={kept}/{name}-$(printf '%s' "$asked" | sha256sum | cut -c 1-32)
if [ -z "$into" ] || [ -e "$into" ]; then exec {real} "$@"; fi
if [ -d "$kept" ]; then exec cp -a --sparse=always "$kept" "$into"; fi
{real} "$@" || exit
cp -a --sparse=always "$into" "$kept.$$" && mv -T "$kept.$$" "$kept" 2>/dev/null || rm -rf "$kept.$$"
"""


def make(folder: Path, real: Path) -> Path:
    """Make a program in a new `folder` of that name which makes directories as the `real` one; whoever the user is."""
    kept, made = folder / "kept", folder / "bin" / real.name
    for place, mode in ((folder, 0o755), (made.parent, 0o755), (kept, 0o1777)):
        place.mkdir(exist_ok=True)
        place.chmod(mode)
    made.write_text(_SCRIPT.format(name=real.name, kept=kept, real=real))
    made.chmod(0o755)
    return made


@functools.cache
def postgres_programs() -> Path:
    """The directory of all of PostgreSQL's programs: dr takes them from one."""
    real = Path(program("initdb"))
    made = make(_session_folder(), real).parent
    for each in real.parent.iterdir():
        if each.name != real.name:
            (made / each.name).symlink_to(each)
    return made


#: A drill's server of MariaDB is given a log of 512 MB, whole from the start: in memory that is a fifth of a second of
#: processor time each, and as much memory. Less serves what tests load.
_SMALL_LOG = '#!/bin/sh\nexec {real} "$@" --innodb-log-file-size=48M\n'


@functools.cache
def mariadb_programs() -> Path:
    """The directory of MariaDB's programs that a plan may name: clients, what makes a directory, and a server."""
    real = shutil.which("mariadb-install-db")
    server = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert real and server, "mariadb-install-db or mariadbd is not here: install mariadb-server"
    made = make(_session_folder(), Path(real)).parent
    for name in ("mariadb", "mariadb-dump"):
        (made / name).symlink_to(Path(real).with_name(name))
    (made / "mariadbd").write_text(_SMALL_LOG.format(real=server))
    (made / "mariadbd").chmod(0o755)
    return made


def postgres_maker() -> str:
    """The program that makes a cluster."""
    return str(postgres_programs() / "initdb")


def mariadb_maker() -> str:
    """The program that makes a directory of MariaDB."""
    return str(mariadb_programs() / "mariadb-install-db")


def _session_folder() -> Path:
    folder = own_folder("made-")
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    return folder
