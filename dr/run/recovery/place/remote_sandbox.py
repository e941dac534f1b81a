"""A sandbox on another host: a directory there, always destroyed, and a local one for what stands beside the data.

The local sandbox is the drill's identity: its lock says that the drill lives, and its record
(`dr.run.recovery.place.remote_dirs`) what there is to remove. So whoever sweeps it removes what is there
first; while that host is out of reach, both stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dr.errors import DrError
from dr.evidence.record import Point
from dr.plan.host import SshHost
from dr.run.recovery.place.remote_dirs import FarPlaces
from dr.run.recovery.place.restore_host import RemoteHost
from dr.run.recovery.place.sandbox import Disposition, Sandbox
from dr.run.recovery.place.space import LARGER, free_of, require
from dr.run.workspace.machine import in_words
from dr.sources.hosts import open_host
from dr.tools.host import script
from dr.tools.state_dir import StateDir

_LOOK_SECONDS = 60.0
#: A place for us (its path is short: sockets lie below it), who we are, room there, and the class of the machine.
_LOOK = """
[ -n "$1" ] || set -- "$TMPDIR" /var/tmp /tmp; h=; for d in "$@"; do
case "$d" in /*) if [ "${#d}" -le 40 ] && [ -d "$d" ] && [ -w "$d" ]; then h=$d; break; fi;; esac; done;
[ -n "$h" ] || { if [ $# -gt 1 ]; then echo "none of TMPDIR, /var/tmp and /tmp lets us write";
elif ! [ -d "$1" ]; then echo "that directory is not there"; elif [ -w "$1" ]; then echo "its path is too long";
else echo "that directory does not let us write"; fi >&2; exit 1; };
echo "home $h"; echo "user $(id -u)"; echo "space $(df -Pk "$h" | tail -n 1)";
echo "cores $(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc)";
echo "memory $(sed -n "s/^MemTotal: *\\([0-9]*\\) kB/\\1/p" /proc/meminfo 2>/dev/null)";
echo "system $(sed -n "s/^PRETTY_NAME=//p" /etc/os-release 2>/dev/null || uname -s)";
echo "kind $(uname -m)";
"""


class FarSandbox:
    """One drill's sandbox on another host, below `elsewhere` there where that is named.

    `prepare` makes it; `finish` must follow, and may be called twice.
    """

    def __init__(
        self, state: StateDir, drill_id: str, declared: SshHost, *, keep: bool = False, elsewhere: Path | None = None
    ) -> None:
        self._local = Sandbox(state, drill_id, keep=keep)
        self._declared, self._elsewhere = declared, str(elsewhere or "")
        self._places = FarPlaces(self._local.root)
        self._home, self._root = "", Path()
        # Nothing is known of it before it is reached.
        self.land = RemoteHost(
            open_host(declared), machine="", owners=False, free=0, kept=self._local.root, root=Path()
        )

    @property
    def where(self) -> str:
        """Where it is, in words."""
        return f"{self._root} on {self.land.host.name}, noted in {self._local.root}"

    def prepare(self, point: Point, size: int) -> Path:
        """Make the sandbox for `size` bytes and return it, a path there; `DrError` when that cannot be."""
        kept = self._local.prepare(point, 0)
        if self._home:
            return self._root  # it was emptied for another copy
        host = open_host(self._declared)
        done = host.run(script(_LOOK, self._elsewhere), env={"LC_ALL": "C"}, timeout=_LOOK_SECONDS)
        if done.code != 0:
            named = f"make {self._elsewhere} there, a path of at most 40 characters that this account may write to"
            raise DrError(
                f"{host.name} cannot take the drill", self._elsewhere, done.last_words,
                hint=named if self._elsewhere else "free some space there, or name a place in its TMPDIR",
            )  # fmt: skip
        seen = dict(line.partition(" ")[::2] for line in done.stdout.decode("utf-8", "replace").splitlines())
        self._home = seen["home"]
        free = free_of(seen["space"]) or 0
        require(size, free=free, where=f"{self._home} on {host.name}", hint=LARGER)
        self._places.begin(self._declared)
        self._root = self._places.make(self._home, "drill")
        self.land = RemoteHost(
            host, machine=_machine(seen), owners=seen["user"] == "0", free=free, kept=kept, root=self._root
        )
        return self._root

    @property
    def servers(self) -> Path:
        """See `RestoreSite`."""
        return Path(self._home)

    def annex(self, kind: str) -> Path:
        """Make a directory beside the sandbox there that goes away with it."""
        return self._places.make(self._home, kind)

    def empty(self, names: Sequence[str], *, same: bool) -> bool:
        """See `Site`."""
        if self._home:
            done = self.land.host.run(script('cd -- "$1" && shift && rm -rf -- "$@";', str(self._root), *names))
            if done.code != 0:
                return False
        return self._local.empty(names, same=same)

    def finish(self, *, achieved: bool = True) -> Disposition:
        """Destroy the sandbox, there and here, or keep both when asked to, and say which."""
        return self._local.finish(achieved=achieved)


def _machine(seen: Mapping[str, str]) -> str:
    def number(key: str) -> int:
        text = seen.get(key, "").strip()
        return int(text) if text.isdecimal() else 0

    return in_words(number("cores") or 1, number("memory") * 1024, seen["system"].strip('"'), seen["kind"])
