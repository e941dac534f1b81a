"""Scratch servers: a database server of a drill's own, thrown away with it, on the host where the drill is held.

It runs in an annex (a directory with a short path), listens on a unix socket there and nowhere else, and as
an unprivileged user also when we are root there: database servers refuse to run as root. It ends with the thread
that started it, however that ends; on another host, with the connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dr.errors import SourceError
from dr.plan.source_kinds import KINDS
from dr.tools import command
from dr.tools.command import Done
from dr.tools.host import Host, Process, script
from dr.tools.isolation import within

_ASK_SECONDS = 300.0
#: A server that ended is noticed at once; one that lives has this long to answer, on a machine that is busy restoring.
START_SECONDS = 600.0

_USER = """
[ "$(id -u)" = 0 ] || exit 0;
for u in "$@"; do if id -u "$u" >/dev/null 2>&1; then echo "$u"; exit 0; fi; done; exit 1;
"""
_HAND_OVER = 'umask 077; mkdir -p -- "$1" && chmod 700 -- "$1" && { [ -z "$2" ] || chown -- "$2" "$1"; };'
#: $1 how many names there are; then the names, then the places.
_FIND = """
n=$1; shift; names=; while [ "$n" -gt 0 ]; do names="$names $1"; shift; n=$((n - 1)); done;
for name in $names; do for place in "$@"; do
if [ -f "$place/$name" ] && [ -x "$place/$name" ]; then echo "$place/$name"; exit 0; fi; done;
command -v "$name" && exit 0; done; exit 1;
"""
#: $1 who, $2 the signal that ends it when its parent is gone: out of reach of what else ends the parent's group.
#: What is temporary goes into its own place: that of the user there may be closed to it.
_AS_USER = """
u=$1 s=$2; shift 2; TMPDIR=$PWD; export TMPDIR;
if setpriv --pdeathsig "$s" -- true 2>/dev/null; then
[ -n "$u" ] || exec setsid setpriv --pdeathsig "$s" -- "$@";
exec setsid setpriv --reuid "$u" --regid "$(id -g "$u")" --init-groups --pdeathsig "$s" -- "$@"; fi;
[ -n "$u" ] || exec "$@";
exec runuser -u "$u" -- "$@";
"""


def service_user(host: Host, *preferred: str) -> str | None:
    """Return the user for a scratch server: one of `preferred` or of the usual; None when we are not root there."""
    usual = [kind.service_user for kind in KINDS.values() if kind.service_user]
    done = host.run(script(_USER, *preferred, *usual, "nobody"), timeout=_ASK_SECONDS)
    if done.code != 0:
        raise SourceError(
            f"there is no unprivileged user for a scratch server on {host.name}", hint="add the user `nobody`"
        )
    return done.stdout.decode("utf-8", "replace").strip() or None


def hand_over(host: Host, place: Path, user: str | None) -> None:
    """Give a directory to the user of a scratch server, and to nobody else."""
    done = host.run(script(_HAND_OVER, str(place), user or ""), timeout=_ASK_SECONDS)
    if done.code != 0:
        raise SourceError(
            f"the place of a scratch server cannot be made on {host.name}", cause=done.last_words, hint="see its disk"
        )


def find_program(host: Host, names: Sequence[str], places: Sequence[Path], *, hint: str) -> str:
    """Return the first program found: in `places` first, then on the PATH. Raises `SourceError`."""
    done = host.run(script(_FIND, str(len(names)), *names, *map(str, places)), timeout=_ASK_SECONDS)
    if done.code != 0:
        raise SourceError(f"the program {' or '.join(names)} is not on {host.name}", hint=hint)
    return done.stdout.decode("utf-8", "replace").strip()


def run_as(
    host: Host, argv: Sequence[str], *, user: str | None, cwd: Path, env: Mapping[str, str], timeout: float
) -> Done:
    """Run a program to its end as that user. Here `env` is all of its environment; there, what is added to it."""
    if host.here:
        return command.run(argv, env=env, cwd=cwd, timeout=timeout, user=user, within=within(host, cwd))
    return host.run(script(_AS_USER, user or "", "KILL", *argv), env=_added(env), cwd=str(cwd), timeout=timeout)


def start_as(
    host: Host, argv: Sequence[str], *, user: str | None, cwd: Path, env: Mapping[str, str], death: str = "KILL"
) -> Process:
    """Start a server as that user; see `run_as`. The signal `death` ends it when we are gone."""
    if host.here:
        return command.Running(argv, env=env, cwd=cwd, user=user, death=death, within=within(host, cwd))
    return host.start(script(_AS_USER, user or "", death, *argv), env=_added(env), cwd=str(cwd), standing=True)


def _added(env: Mapping[str, str]) -> dict[str, str]:
    """What another host is told of an environment of this one: nothing but the language."""
    return {name: value for name, value in env.items() if name in ("LANG", "LC_ALL")}


def memory_of(host: Host) -> int:
    """Return the bytes of memory of a host."""
    done = host.run(script('echo "$(getconf PAGE_SIZE) $(getconf _PHYS_PAGES)";'), timeout=_ASK_SECONDS)
    numbers = [int(word) for word in done.stdout.split() if word.isdigit()]
    return numbers[0] * numbers[1] if len(numbers) == 2 else 1 << 30


def wait_until(
    answers: Callable[[], bool], running: Process, *, seconds: float, what: str, last_words: Callable[[], str]
) -> None:
    """Wait until a scratch server answers. Raises `SourceError` with its last words when it ends or does not."""
    deadline = time.monotonic() + seconds
    while not answers():
        command.raise_if_stopping()
        if running.ended() or time.monotonic() > deadline:
            why = "ended" if running.ended() else f"did not answer within {seconds:g} s"
            raise SourceError(f"the scratch {what} {why}", cause=last_words(), hint="see the disk and its log")
        time.sleep(0.05)


def last_line(host: Host, log: Path) -> str:
    """Return the last line of a server's log, at most 300 characters, printable."""
    done = host.run(["tail", "-n", "1", "--", str(log)], timeout=_ASK_SECONDS)
    return "".join(c if c.isprintable() else "?" for c in done.stdout.decode("utf-8", "replace").strip())[:300]
