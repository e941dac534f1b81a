"""What is mounted at and below the declared paths, by a host's own table of mounts.

Other file systems are data like any other and are stored, unless the plan says `one_filesystem: true`. Pseudo file
systems (`proc`, `sysfs`, cgroups …) hold no data: they are never walked, by us or by restic.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.units import first_few
from dr.sources.driver import shown, upward
from dr.sources.walk import Excluded, literally

TABLE = "/proc/self/mountinfo"
#: File systems that show the kernel's or a session's state: what is in them is not stored anywhere.
PSEUDO = frozenset(
    {
        "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
        "functionfs", "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fusectl", "hugetlbfs", "mqueue", "nfsd", "nsfs",
        "proc", "pstore", "resctrl", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs", "xenfs",
    }
)  # fmt: skip
_AUTOMOUNT = "autofs"
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_FIRST = 5


class Mount(NamedTuple):
    """One mount: where, the kind of its file system, and its device as `st_dev` has it."""

    point: bytes
    kind: str
    device: int


@dataclass(frozen=True)
class Mounted:
    """The visible mounts at and below some paths, by their points."""

    tops: tuple[bytes, ...] = ()
    mounts: tuple[Mount, ...] = ()
    #: The device of each of the paths themselves, where the table says it.
    devices: tuple[int | None, ...] = ()

    @property
    def pseudo(self) -> tuple[Mount, ...]:
        """The outermost file systems that hold no data."""
        found: list[Mount] = []
        for mount in sorted(self.mounts):
            if mount.kind in PSEUDO and not any(_within(mount.point, outer.point) for outer in found):
                found.append(mount)
        return tuple(found)

    @property
    def data(self) -> tuple[Mount, ...]:
        """Those that may hold data."""
        pseudo = [mount.point for mount in self.pseudo]
        return tuple(
            mount for mount in self.mounts
            if mount.kind not in PSEUDO and not any(_within(mount.point, outer) for outer in pseudo)
        )  # fmt: skip

    @property
    def waiting(self) -> tuple[bytes, ...]:
        """The automount points on which nothing is mounted."""
        return tuple(mount.point for mount in self.data if mount.kind == _AUTOMOUNT)

    @property
    def excludes(self) -> tuple[str, ...]:
        """The patterns that leave out what is in pseudo file systems, for us and for restic."""
        return tuple(pattern for mount in self.pseudo for pattern in _patterns(mount))

    @property
    def elsewhere(self) -> frozenset[bytes]:
        """The points below the paths where another device begins."""
        tops = tuple(zip(self.tops, self.devices, strict=True))
        return frozenset(
            mount.point for mount in self.data for top, device in tops
            if mount.point != top and _within(mount.point, top) and device is not None and mount.device != device
        )  # fmt: skip


def here(tops: Iterable[bytes]) -> Mounted:
    """Return what is mounted on this machine; nothing where its kernel has no such table."""
    try:
        table = Path(TABLE).read_bytes()
    except OSError:
        return Mounted()
    return mounted(table, tops)


def mounted(table: bytes, tops: Iterable[bytes]) -> Mounted:
    """Return what a table of mounts says of some paths. What another mount hides is not there."""
    visible = {mount.point: mount for mount in _visible(table)}
    kept = tuple(dict.fromkeys(tops))
    found = [mount for mount in visible.values() if any(_within(mount.point, top) for top in kept)]
    return Mounted(kept, tuple(sorted(found)), tuple(_device_of(top, visible) for top in kept))


def _device_of(path: bytes, visible: dict[bytes, Mount]) -> int | None:
    holder = next((visible[outer] for outer in upward(path) if outer in visible), None)
    return holder.device if holder else None


class _Line(NamedTuple):
    number: bytes
    parent: bytes
    mount: Mount


def _visible(table: bytes) -> Iterator[Mount]:
    """Yield the mounts that no other hides: none stands on it, or above it on what it stands on."""
    lines = {line.number: line for line in _lines(table)}
    on: dict[tuple[bytes, bytes], list[bytes]] = {}
    for line in lines.values():
        on.setdefault((line.parent, line.mount.point), []).append(line.number)
    for line in lines.values():
        chain = [line.number, *_chain(line, lines)]
        hiding = (
            number for below in chain for outer in upward(line.mount.point) for number in on.get((below, outer), ())
        )
        if not any(number not in chain for number in hiding):
            yield line.mount


def _chain(line: _Line, lines: dict[bytes, _Line]) -> Iterator[bytes]:
    """Yield the numbers of the mounts that a mount stands on."""
    seen = {line.number}
    while (below := lines.get(line.parent)) is not None and below.number not in seen:
        seen.add(below.number)
        yield below.number
        line = below


def _lines(table: bytes) -> Iterator[_Line]:
    for text in table.splitlines():
        before, dash, after = text.partition(b" - ")
        fields = before.split(b" ")
        if not dash or len(fields) < 6:
            continue
        major, _, minor = fields[2].partition(b":")
        if not (major.isdigit() and minor.isdigit()):
            continue
        point = _ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), fields[4])
        kind = after.split(b" ", 1)[0].decode("ascii", "replace")
        yield _Line(fields[0], fields[1], Mount(point, kind, os.makedev(int(major), int(minor))))


def _within(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top.rstrip(b"/") + b"/")


def _patterns(mount: Mount) -> tuple[str, ...]:
    point = literally(os.fsdecode(mount.point))
    # The directory stays, as what is mounted there needs it; a mount over a file is left out itself.
    return (point,) if mount.kind == "nsfs" else (f"{point.rstrip('/')}/*",)


# -- what is said of it ------------------------------------------------------------------------------


def left_out(points: Iterable[bytes]) -> tuple[Omission, ...]:
    """Say what lies on other file systems and is left out, as the plan asks for."""
    names = tuple(sorted(map(shown, points)))
    if not names:
        return ()
    many = "1 file system that is" if len(names) == 1 else f"{len(names)} file systems that are"
    some = first_few(names, _FIRST)
    what = f"{many} mounted below the declared paths left out, as the plan says (`one_filesystem`): {some}"
    listed = ", ".join(f'"{name}"' for name in names[:_FIRST])
    hint = (
        f"to store what is there take `one_filesystem` out of the plan; to be told no more write `exclude: [{listed}]`"
    )
    return (Omission(what=what, hint=hint, names=names, partial=False),)


def not_mounted(points: Iterable[bytes], excluded: Excluded) -> tuple[Omission, ...]:
    """Say where an automounter waits with nothing mounted: what belongs there is not in the capture."""
    names = tuple(shown(point) for point in points if not excluded(point))
    if not names:
        return ()
    what = f"nothing is mounted at the automount point{'' if len(names) == 1 else 's'} {first_few(names, _FIRST)}"
    hint = f"see why with `ls {names[0]}`, declare the directories that are mounted there by name, or exclude it"
    return (Omission(what=what, hint=hint, names=names),)


def not_data(mounts: Sequence[Mount]) -> str:
    """Say which pseudo file systems are not walked; nothing where there are none."""
    if not mounts:
        return ""
    named = first_few([f"{shown(mount.point)} ({mount.kind})" for mount in mounts], _FIRST)
    return f"not data, so never stored: what is in {named}"
