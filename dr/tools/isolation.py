"""Programs kept from every network: a network of their own with nothing but a loopback, by the kernel's namespaces.

One process, the holder, keeps the namespaces open for as long as a drill lasts; every other program enters them
(`nsenter`), so that a server and those who ask it find each other. The unix sockets that others listen on are out
of reach there too, but for those that only tell the names of users; what lies on disks is as everywhere. Root needs
the right to make namespaces (CAP_SYS_ADMIN), anybody else a kernel that lets users make them; it is util-linux's
programs that do it, which every Linux system has, on this host or on another.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dr.errors import DrError
from dr.tools import command
from dr.tools.command import Done
from dr.tools.host import Host, Process, own_environment, script

#: $1 a Python that brings up the loopback where nothing else does. Says `ready`, its number and whether it is root's,
#: or `refused` and why. What is listened on is read before the new network hides it.
_HOLD = r"""
m=$(sed -n "s|^[0-9a-f]*: [0-9A-F]* [0-9A-F]* 00010000 [0-9A-F]* [0-9A-F]* *[0-9]* /|/|p" /proc/net/unix 2>/dev/null);
how=; [ "$(id -u)" = 0 ] || how="--user --map-current-user --keep-caps";
for program in unshare nsenter mount; do
command -v "$program" >/dev/null || { echo "refused the program $program is not there"; exit 0; }; done;
said=$(unshare $how --net --mount --propagation slave -- true 2>&1) || { echo "refused $said"; exit 0; };
exec unshare $how --net --mount --propagation slave -- sh -c "$2" dr "$1" "$m" "$how";
"""
_HELD = r"""
fail() { echo "refused $1"; exit 0; }; PATH="$PATH:/usr/sbin:/sbin";
ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || busybox ip link set lo up 2>/dev/null ||
"${1:-python3}" -c "import fcntl, socket, struct;
fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sh22x\", b\"lo\", 1))" 2>/dev/null ||
fail "its loopback cannot be brought up: install iproute2";
for d in /run/postgresql /run/mysqld /run/mariadb; do
[ -d "$d" ] || continue; mount -t tmpfs none "$d" 2>/dev/null || fail "$d cannot be hidden"; done;
printf "%s\n" "$2" | while IFS= read -r p; do
case "$p" in */sss/pipes/*|*/nscd/*|*/systemd/userdb/*|"") continue;; esac;
[ -S "$p" ] || continue;
mount --bind /dev/null "$p" 2>/dev/null || if [ -S "$p" ]; then exit 1; fi; done ||
fail "a unix socket of this host cannot be hidden";
trap "" INT; echo "ready $$ ${3:+user}"; exec sleep 2147483;
"""
_ENTER = 'cd -- "$0" || exit 126; exec "$@"'
_READY = re.compile(rb"ready (\d+) (user)?\s*")


class NotIsolatedError(DrError):
    """The host does not let programs be kept from its networks; `what` says why."""


class Isolated:
    """A host whose programs reach each other and nothing else; see `dr.tools.host.Host`. A context that ends it.

    `place` is the holder's working directory: whoever clears it away ends the holder. Raises `NotIsolatedError`. The
    holder ends with the thread that called; on another host, with the connection.
    """

    def __init__(self, host: Host, place: Path) -> None:
        self.name, self.here, self.outside = host.name, host.here, host
        python = sys.executable if host.here else ""
        argv = script(_HOLD, python, _HELD.replace("\n", " "))
        self._holder = host.start(argv, cwd=str(place), standing=True)
        try:
            number, user = self._await()
        except BaseException:
            self.close()
            raise
        own = ("--user", "--preserve-credentials") if user else ()
        self._enter = ("nsenter", "--target", number, *own, "--mount", "--net", "--", "sh", "-c", _ENTER)

    def within(self, cwd: Path | str | None) -> tuple[str, ...]:
        """Return the command that runs another inside, in a directory."""
        return (*self._enter, str(cwd or (Path.cwd() if self.here else "/")))

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        feed: bool = False,
        standing: bool = False,
    ) -> Process:
        """See `Host`."""
        within = self.within(cwd)
        if self.here:
            return command.Running(argv, env=own_environment(env), cwd=cwd, timeout=timeout, feed=feed, within=within)
        return self.outside.start([*within, *argv], env=env, cwd=cwd, timeout=timeout, feed=feed, standing=standing)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
        timeout: float | None = None,
        regardless: bool = False,
    ) -> Done:
        """See `Host`."""
        within = self.within(cwd)
        if not self.here:
            whole = [*within, *argv]
            return self.outside.run(whole, env=env, cwd=cwd, stdin=stdin, timeout=timeout, regardless=regardless)
        return command.run(
            argv, env=own_environment(env), cwd=cwd, stdin=stdin, timeout=timeout, regardless=regardless, within=within
        )

    def close(self) -> None:
        """Let the namespaces go; they last until the last program in them has ended. May be called twice."""
        with self._holder:
            self._holder.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await(self) -> tuple[str, bool]:
        """Read what the holder says; return its number, and whether it is an ordinary user's."""
        said = b""
        while b"\n" not in said and (block := self._holder.read()):
            said += block
        if ready := _READY.match(said):
            return ready[1].decode(), bool(ready[2])
        command.raise_if_stopping()
        words = said.decode("utf-8", "replace").removeprefix("refused ").strip() or self._holder.finish().last_words
        why = " ".join(words.split())[:300] or "the process that holds it ended"
        raise NotIsolatedError(why, self.name, hint=_way_to_get_it(why))


def _way_to_get_it(why: str) -> str:
    """Return what an administrator does on that host, by what refused it."""
    if program := re.match(r"the program (\w+) is not there", why):
        return f"install util-linux there, which has {program[1]}"
    if "install iproute2" in why:
        return "install iproute2 there"
    return (
        "run dr as root there (in a container with the capability SYS_ADMIN), or let users make namespaces: "
        "`sysctl kernel.unprivileged_userns_clone=1`; Ubuntu: `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    )


def within(host: Host, cwd: Path | str | None) -> tuple[str, ...]:
    """Return what stands before a command on this machine so that it runs where a host's programs run."""
    return host.within(cwd) if isinstance(host, Isolated) else ()
