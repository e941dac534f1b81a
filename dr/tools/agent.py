"""restic on another host: placed there, checked by its hash, and run so that data goes straight to the target.

Secrets travel through the channel into the environment of that restic alone: on no command line, in no file
there. Under `~/.cache/dr` of the user there lie the program and restic's cache, nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dr.errors import DrError, RefusedError, TargetDownError
from dr.late_dataclass import dataclass
from dr.tools import activity
from dr.tools.command import Done, TimeoutExpiredError
from dr.tools.digest import sha256_file
from dr.tools.host import Process
from dr.tools.restic import Repository
from dr.tools.restic_events import Events, Stored, failure
from dr.tools.restic_program import OLDEST
from dr.tools.restic_tries import Tries

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko

#: Below the home of the user there.
PLACE = ".cache/dr"
#: How long the target may take to answer that host: restic itself would try for a quarter of an hour.
REACH_SECONDS = 60.0
_ASK_SECONDS = 60.0
_LOOK = """
umask 077; f="$HOME/$1";
uname -s; uname -m; date +%s; echo "$HOME"; getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1;
{ sha256sum <"$f" || echo none; } 2>/dev/null;
"""
_READY = """
umask 077; d="$HOME/$1"; mkdir -p "$d" || exit 1;
find "$d" -maxdepth 1 -name "*.new-*" -mmin +60 -exec rm -f {} + 2>/dev/null; exit 0;
"""
#: $1 the file that came, $2 its hash, $3 what it is to be called. Nothing runs that was not checked here.
_TAKE = """
cd "$HOME" || exit 1; s=$(sha256sum <"$1") || exit 1;
if [ "${s%% *}" = "$2" ]; then mv -f "$1" "$3"; else rm -f "$1"; echo "its hash is another one" >&2; exit 1; fi;
"""
#: The standard error of the program around restic: restic loses what a failing command says last.
_SAYING = 'exec 8>&2; exec "$@";'
#: Hashes and counts what a command writes on its way to restic; fails when the command fails, or writes nothing.
#: $1 the mark of our report, $2 names of secrets that are not the command's business. Nothing touches a disk.
_WRAP = """
dr_mark=$1; unset $2; shift 2; exec 2>&8 8>&- 4>&1;
dr_said=$( { {
{ ( exec "$@" ) 3>&- 4>&-; echo "code $?" >&3; } </dev/null | { tee /dev/fd/4; echo "tee $?" >&3; } |
{ tee /dev/fd/5 | echo "bytes $(wc -c)" >&3; } 5>&1 | echo "sha256 $(sha256sum)" >&3;
} 3>&1 >/dev/null; } ); dr_said=" $(echo $dr_said) "; echo "$dr_mark$dr_said" >&2;
case $dr_said in *" bytes 0 "*) exit 1;; esac; case $dr_said in *" tee 0 "*) ;; *) exit 1;; esac;
case $dr_said in *" code 0 "*) exit 0;; esac; exit 1;
"""
#: What restic there must not take from that host's own settings, but from us.
_OURS = (
    "RESTIC_PASSWORD_FILE",
    "RESTIC_PASSWORD_COMMAND",
    "RESTIC_REPOSITORY_FILE",
    "RESTIC_CACERT",
    "AWS_SESSION_TOKEN",
    "RESTIC_REST_USERNAME",
    "RESTIC_REST_PASSWORD",
)
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Placed:
    """restic on the host: how it is called, the home of our user there, the machine's cores, and its clock."""

    program: str
    home: str
    cores: int
    now: datetime


@dataclass(frozen=True)
class Output:
    """What a command wrote, as hashed and counted beside restic; `said` is what it put on its standard error."""

    stored: Stored
    sha256: str
    bytes: int
    said: str = ""


@dataclass(frozen=True)
class _There:
    system: str
    machine: str
    now: datetime
    home: str
    cores: int
    sha256: str


def _unheard(done: Done) -> None:
    """Nobody wants to know how it ended."""


class Agent:
    """restic on `host`; `program` is ours here, of which it gets a copy. Holds nothing: may be made anew each time."""

    def __init__(self, host: SshHost, program: str) -> None:
        self.host, self._program = host, shutil.which(program) or program

    # -- the program ---------------------------------------------------------------------------------------

    def placed(self) -> Placed:
        """Return restic there, the same as ours, by its hash at this moment; placed first where need be.

        On another kind of machine it is that host's own restic. Raises `DrError` when there is none to be had.
        """
        digest = _digest(self._program)
        path = f"{PLACE}/restic-{digest[:16]}"
        there = self._look(path)
        ours = os.uname()
        if (there.system, there.machine) != (ours.sysname, _MACHINES.get(ours.machine, ours.machine)):
            return Placed(self._own(there), there.home, there.cores, there.now)
        if there.sha256 != digest:
            self._place(path, digest, there.home)
        return Placed(f"{there.home}/{path}", there.home, there.cores, there.now)

    def _look(self, path: str) -> _There:
        done = self._sh(_LOOK, path, doing="looking at the host")
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        if len(lines) != 6 or not lines[2].isdecimal() or not lines[3].startswith("/"):
            raise DrError(f"{self.host.name} does not say what machine it is", hint="see what `uname` says there")
        system, machine, seconds, home, cores, digest = lines
        now = datetime.fromtimestamp(int(seconds), UTC)
        cores_there = int(cores) if cores.isdecimal() else 1
        return _There(system, _MACHINES.get(machine, machine), now, home, cores_there, digest.split(" ")[0])

    def _own(self, there: _There) -> str:
        """Return the host's own restic, when it is new enough."""
        done = self._sh("restic version 2>&1;", doing="asking for restic", must=False)
        found = re.search(rb"restic (\d+)\.(\d+)\.(\d+)", done.stdout)
        if found and tuple(int(part) for part in found.groups()) >= OLDEST:
            return "restic"
        ours = os.uname()
        raise DrError(
            f"our restic cannot run on {self.host.name}: that is {there.system} {there.machine}, "
            f"and this is {ours.sysname} {ours.machine}",
            cause=f"its own is {b'.'.join(found.groups()).decode()}" if found else "it has none of its own",
            hint="install restic 0.18.0 or newer there, or write `mode: stream`",
        )

    def _place(self, path: str, digest: str, home: str) -> None:
        """Bring our restic there: under a passing name, until its hash has been seen to be right."""
        passing = f"{path}.new-{secrets.token_hex(6)}"
        self._sh(_READY, PLACE, doing=f"making ~/{PLACE}")
        with self.host.files() as session:
            try:
                session.put(os.fsencode(f"{home}/{passing}"), Path(self._program).read_bytes(), 0o700)
            except OSError as error:
                raise DrError(
                    f"restic cannot be placed on {self.host.name}", cause=error.strerror or str(error),
                    hint=f"free some space in ~/{PLACE} there, or write `mode: stream`",
                ) from error  # fmt: skip
        self._sh(_TAKE, passing, digest, path, doing="checking restic there")
        self._sh('exec "$HOME/$1" version;', path, doing="starting restic there")

    def _bring(self, file: Path, home: str) -> str:
        """Bring the certificates by which a target is trusted; return where they lie there. They are no secret."""
        try:
            data = file.read_bytes()
            there = f"{home}/{PLACE}/authorities-{hashlib.sha256(data).hexdigest()[:16]}.pem"
            self._sh(_READY, PLACE, doing=f"making ~/{PLACE}")
            with self.host.files() as session:
                session.put(os.fsencode(there), data, 0o600)
        except OSError as error:
            raise DrError(
                f"the authorities of the target cannot be brought to {self.host.name}",
                str(file),
                error.strerror or str(error),
                hint=f"see `ca_file` here, and the space in ~/{PLACE} there",
            ) from error
        return there

    def _sh(self, script: str, *arguments: str, doing: str, must: bool = True) -> Done:
        argv = ["sh", "-c", script.replace("\n", " "), "dr", *arguments]
        done = self.host.run(argv, env={"LC_ALL": "C"}, timeout=_ASK_SECONDS)
        if must and done.code != 0:
            raise DrError(
                f"{doing} failed on {self.host.name}", cause=done.last_words,
                hint="see its disk and that home directories may hold programs there, or write `mode: stream`",
            )  # fmt: skip
        return done

    # -- storing -------------------------------------------------------------------------------------------

    def backup_tree(
        self,
        repository: Repository,
        paths: Sequence[str],
        *,
        tags: Mapping[str, str],
        excludes: Sequence[str] = (),
        one_filesystem: bool = False,
    ) -> Stored:
        """Store absolute paths of that host as one snapshot; see `Repository.backup_tree`."""
        far = self._reached(repository)
        return far.backup_tree(paths, cwd=Path("/"), tags=tags, excludes=excludes, one_filesystem=one_filesystem)

    def backup_command(
        self,
        repository: Repository,
        argv: Sequence[str],
        *,
        filename: str,
        tags: Mapping[str, str],
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Output:
        """Store what a command there writes, as one file. It knows nothing of our secrets, but what is in `env`.

        One that fails, is killed or writes nothing leaves no snapshot, and raises `DrError`.
        """
        mark, heard = f"dr-{secrets.token_hex(8)}", list[Done]()
        far = self._reached(
            repository, before=("sh", "-c", _SAYING, "dr"), timeout=timeout, heard=heard.append, more=env or {}
        )
        ours = " ".join(name for name in _secrets_of(repository, "/") if name.startswith(("AWS_", "RESTIC_")))
        wrap = ["sh", "-c", _WRAP.replace("\n", " "), "dr", mark, ours, *argv]
        try:
            stored = far.backup_output(wrap, filename=filename, tags=tags)
        except TimeoutExpiredError as error:
            error.what = f"the command did not end within {timeout:g} s and was stopped"
            raise
        except DrError:
            for done in heard:
                _blame_the_command(done, mark)
            raise
        said = _said(heard[-1], mark)
        if "sha256" not in said or said.get("bytes") != str(stored.bytes):
            raise DrError(
                "what was stored is not what was hashed on its way", repository.where,
                hint="see that sha256sum, tee and wc work on that host",
            )  # fmt: skip
        return Output(stored, said["sha256"], stored.bytes, _own_words(heard[-1], mark).decode("utf-8", "replace"))

    def _reached(
        self,
        repository: Repository,
        *,
        before: Sequence[str] = (),
        timeout: float | None = None,
        heard: Callable[[Done], None] = _unheard,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Repository:
        """Return the repository as it is worked with from there, once it has answered that host.

        A restic that was killed there has left a lock that only that host knows to be stale: it goes now.
        """
        placed = self.placed()
        env = _secrets_of(repository, placed.home)
        if file := env["RESTIC_CACERT"]:
            env["RESTIC_CACERT"] = self._bring(Path(file), placed.home)
        runner = functools.partial(_run, self.host, {**more, **env}, tuple(before), timeout, heard)
        where = f"{repository.where}, from {self.host.name}"
        far = replace(repository, program=placed.program, where=where, runner=runner)
        try:
            done = _run(self.host, env, (), REACH_SECONDS, _unheard, far.argv("unlock"), heed=Tries(where))
        except TimeoutExpiredError:
            raise TargetDownError(
                f"the target does not answer that host within {REACH_SECONDS:g} s", where,
                hint="let that host connect to the target, or write `mode: stream`",
            ) from None  # fmt: skip
        if done.code != 0:
            events = Events()
            events.feed_all(done.stderr)
            raise failure(done.code, events, where=where, doing="reaching the target")
        return far


def _run(
    host: SshHost,
    secret_env: Mapping[str, str],
    before: Sequence[str],
    timeout: float | None,
    heard: Callable[[Done], None],
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None] = lambda line: None,
    heed: Callable[[str], bool] | None = None,
    **_here: Any,
) -> Done:
    """Run restic there, as `command.run` does here; this machine's environment and directory are no use there."""
    with host.start([*before, *argv], env=secret_env, timeout=timeout, heed=heed) as process:
        for line in _lines(process):
            on_line(line)
        done = process.finish()
    heard(done)
    return done


def _lines(process: Process) -> Iterator[str]:
    held = b""
    while block := process.read():
        *whole, held = (held + block).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if held:
        yield held.decode("utf-8", "replace")


def _secrets_of(repository: Repository, home: str) -> dict[str, str]:
    """Return the environment of restic there. Files that are here are read: their paths mean nothing there."""
    env = dict.fromkeys(_OURS, "") | dict(repository.env)
    if file := env.get("RESTIC_PASSWORD_FILE"):
        env |= {"RESTIC_PASSWORD_FILE": "", "RESTIC_PASSWORD": _read(file)}
    own = {"RESTIC_REPOSITORY": repository.location, "RESTIC_CACHE_DIR": f"{home}/{PLACE}/cache"}
    return env | own | repository.limits.env | {"RESTIC_PROGRESS_FPS": "2" if activity.watched() else "0.2"}


def _read(file: str) -> str:
    try:
        return Path(file).read_text("utf-8").strip()  # as restic reads it
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise RefusedError(f"the passphrase file {file} cannot be read", cause=reason, hint="see its mode") from None


def _said(done: Done, mark: str) -> dict[str, str]:
    """Return what the wrap around a command reported: `code`, `bytes`, `sha256`."""
    for line in done.stderr.decode("utf-8", "replace").splitlines():
        if line.startswith(f"{mark} "):
            words = [word for word in line.split()[1:] if word != "-"]
            return dict(zip(words[::2], words[1::2], strict=False))
    return {}


def _own_words(done: Done, mark: str) -> bytes:
    """Return what the command said, without what restic and the wrap around it did."""
    lines = done.stderr.splitlines()
    return b"\n".join(line for line in lines if line.strip() and not line.startswith((b"{", mark.encode())))


def _blame_the_command(done: Done, mark: str) -> None:
    """Raise what the command deserves, when it was the command that failed, and not restic or the target."""
    said = _said(done, mark)
    code, size = said.get("code", "0"), said.get("bytes")
    last_words = replace(done, stderr=_own_words(done, mark)).last_words
    # A command that only lost its reader (SIGPIPE: 141) failed because restic did.
    if code not in ("0", "141"):
        raise DrError(f"the command failed with exit code {code}", cause=last_words, hint="run it by hand there")
    if size == "0":
        raise DrError("the command wrote nothing", cause=last_words, hint="run it by hand there")


@functools.cache
def _digest_of(program: str, size: int, mtime_ns: int) -> str:
    return sha256_file(program)[0]


def _digest(program: str) -> str:
    """Return the SHA-256 of our restic, read once while it stays the same."""
    status = Path(program).stat()
    return _digest_of(program, status.st_size, status.st_mtime_ns)
