"""ACLs and extended attributes of files that are put back on another host: by its `getfattr` and `setfattr`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dr.evidence.attributes import covers, digest_of
from dr.evidence.manifest import Entry
from dr.run.recovery.place.remote_halves import Folder, walking
from dr.sources.attributes import Attributes, attributes_here, attributes_there
from dr.tools.host import Host

_HOUR = 3600.0
_RESTORE = "setfattr --restore=-;"
#: Pairs of an attribute and the file that has it and should not.
_REMOVE = 'while [ "$#" -ge 2 ]; do setfattr -h -x "$1" -- "./$2"; shift 2; done; exit 0;'


class Marks:
    """Gives files on a host their ACLs and extended attributes. `lost`: how many did not get theirs."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.lost = 0

    def give(self, folder: Folder, files: Sequence[tuple[str, Entry, bytes]]) -> bool:
        """Give those of entries that lie in a folder under some names; return whether anything was changed.

        The third is where the entry lies in the sandbox. What a new file took from its folder is taken off.
        """
        wanted = [(name, entry, staged) for name, entry, staged in files if entry.kind != "link"]
        if not wanted:
            return False
        paths = {name: folder.path.rstrip(b"/") + b"/" + os.fsencode(name) for name, _, _ in wanted}
        there = attributes_there(self._host, list(paths.values()))
        if there is None:
            self.lost += sum(entry.attributes is not None for _, entry, _ in wanted)
            return False
        other: dict[str, tuple[Entry, Attributes]] = {}
        for name, entry, staged in wanted:
            if digest_of(there.get(paths[name], {})) != entry.attributes:
                other[name] = entry, attributes_here(staged) if os.path.lexists(staged) else {}
        if not other:
            return False
        self._set(folder, {name: own for name, (_, own) in other.items()}, {n: there.get(paths[n], {}) for n in other})
        now = attributes_there(self._host, [paths[name] for name in other]) or {}
        self.lost += sum(digest_of(now.get(paths[name], {})) != entry.attributes for name, (entry, _) in other.items())
        return True

    def _set(self, folder: Folder, wanted: dict[str, Attributes], there: dict[str, Attributes]) -> None:
        extra = [(each, name) for name, found in there.items() for each in found if each not in wanted[name]]
        if extra:
            self._host.run(walking(folder, _REMOVE, *(text for pair in extra for text in pair)), timeout=_HOUR)
        if text := b"".join(_block(name, own) for name, own in wanted.items() if own):
            self._host.run(walking(folder, _RESTORE), stdin=text, timeout=_HOUR)


def _block(name: str, own: Attributes) -> bytes:
    """Return the attributes of one file as getfattr writes them."""
    kept = {os.fsencode(each): value for each, value in own.items() if covers(each)}
    lines = [_escaped(each) + b"=0x" + value.hex().encode() for each, value in kept.items()]
    return b"\n".join([b"# file: ./" + _escaped(os.fsencode(name)), *lines, b"", b""])


def _escaped(name: bytes) -> bytes:
    plain = (0x21 <= each <= 0x7E and each not in b"\\=" for each in name)
    return b"".join(b"%c" % each if good else b"\\%03o" % each for each, good in zip(name, plain, strict=True))
