"""The words by which another host's shell starts a program for us, guards it, and ends it with the channel.

The channel's input is ours to steer by. First come lines with the environment, so that secrets are on no
command line; then, for a program that is fed, blocks with their length before them, and the word `end`.
So a connection that breaks is never taken for the end of what is fed: a guard on the host reads the channel,
and when that ends before the program has, it ends the program and everything it started, at once.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence

from dr.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# All must be ended with the process group that sshd makes for a command. Where a forced command or another
# server left us in a group of others, we make one.
_OWN_GROUP = 'kill -s 0 -- "-$$" 2>/dev/null && exec sh -c "$@"; exec setsid sh -c "$@"'

# $1 the mark that our words begin with, $2 `open` when the program is fed, $3 where it runs, then the program.
# The left side of the pipe is the guard; with `open` a second one waits for the end of sshd's process, since the
# first may be stuck in writing to a program that does not read; it ends by itself, a second after us, and says
# nothing: only the first may write, or its words would come amid the fed bytes. The right side runs the program
# and then ends the first guard. Login shells differ: no line may hold an exclamation mark or end without a `;`.
_PROLOGUE = """\
dr_t=$1 dr_m=$2 dr_d=$3; shift 3;
while IFS= read -r dr_l && [ -n "$dr_l" ]; do export "$dr_l"; done;
[ -z "$dr_d" ] || CDPATH= cd -- "$dr_d" 2>/dev/null || { echo "$dr_t directory"; exit 1; };
command -v "$1" >/dev/null 2>&1 || { echo "$dr_t program"; exit 1; };
[ "$dr_m" = shut ] || dd count=0 iflag=fullblock </dev/null >/dev/null 2>&1 || { echo "$dr_t dd"; exit 1; };
echo "$dr_t ready $$"; exec 4>&2 2>/dev/null;
{ exec 4>&-;
if [ "$dr_m" = open ]; then
{ exec >/dev/null; kill -0 "$PPID" || exit 0; while kill -0 "$PPID"; do kill -0 "$$" || exit 0; sleep 1; done;
kill -0 "$$" && kill -s KILL -- "-$$"; } </dev/null & fi;
sh -c 'echo "$PPID"';
if [ "$dr_m" = open ]; then while IFS= read -r dr_l; do [ "$dr_l" = end ] && break;
dd bs="$dr_l" count=1 iflag=fullblock; done; [ "$dr_l" = end ] || kill -s KILL -- "-$$"; fi;
exec >/dev/null; while IFS= read -r dr_l; do :; done; kill -s KILL -- "-$$"; } |
{ IFS= read -r dr_g; if [ "$dr_m" = open ]; then ( exec "$@" ) 2>&4 4>&-;
else ( exec "$@" ) </dev/null 2>&4 4>&-; fi; dr_s=$?; kill "$dr_g"; exit "$dr_s"; }
""".replace("\n", " ")


def remote_command(mark: str, argv: Sequence[str], cwd: str | None, *, feed: bool) -> str:
    """Return the command line for the user's login shell, whatever shell that is."""
    if not argv or any("\0" in word for word in (*argv, cwd or "")):
        raise UsageError("a program's arguments cannot hold a NUL byte", hint="correct the arguments")
    own = [mark, "open" if feed else "shut", cwd or "", *argv]
    return "exec " + shlex.join(["sh", "-c", _OWN_GROUP, "dr", _PROLOGUE, "dr", *own])


def environment_lines(env: Mapping[str, str]) -> bytes:
    """Return the environment as the prologue reads it. Values are never told in an error."""
    for name, value in env.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a name for an environment variable on another host", hint="rename it")
        if "\n" in value or "\0" in value:
            raise UsageError(
                f"the value of {name} has a line break or a NUL byte in it, which cannot be sent to another host",
                hint="give the secret one line",
            )
    return b"".join(os.fsencode(f"{name}={value}\n") for name, value in env.items()) + b"\n"
