"""Reading ACLs and extended attributes: here by the kernel, on another host by its program `getfattr`."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from dr.errors import DamageError, DrError
from dr.evidence import manifest
from dr.evidence.attributes import covers, digest_of
from dr.evidence.record import Omission
from dr.tools.host import Host

#: What a header says of a manifest that has them.
COVERED = "attributes"
_HINT = "install the package attr there"
_PROBE_SECONDS = 60.0
_NONE = (errno.ENOTSUP, errno.ENODATA, errno.ENOENT, errno.ENOTDIR)
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_OF_A_FILE = re.compile(rb"getfattr: .+: (No such file or directory|Permission denied|Operation not [a-z]+)", re.DOTALL)
_FILE = b"# file: "
Attributes = dict[str, bytes]


def attributes_here(file: bytes | int) -> Attributes:
    """Return the attributes of a file, by its path or open; links are not followed.

    What may not be read is left out, as in what is stored.
    """
    opened = isinstance(file, int)
    try:
        names = os.listxattr(file, follow_symlinks=opened)
    except OSError:
        return {}
    found = {}
    for name in names:
        if covers(name):
            try:
                found[name] = os.getxattr(file, name, follow_symlinks=opened)
            except OSError as error:
                if error.errno not in (*_NONE, errno.EACCES, errno.EPERM):
                    raise
    return found


def digest_here(file: bytes | int) -> str | None:
    """Return the digest of the attributes of a file, by its path or open; None when it has none.

    Of one that has none that is one call of the kernel; of an open one its name is not looked up again.
    """
    try:
        if not os.listxattr(file, follow_symlinks=isinstance(file, int)):
            return None
    except OSError:
        return None
    found = attributes_here(file)
    return digest_of(found) if found else None


def keep_here(path: bytes, found: Attributes) -> bool:
    """Give a file the attributes; return whether all of them could be given."""
    whole = True
    for name, value in found.items():
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError:
            whole = False
    return whole


def unseen(reuse: Path | None, what: str, host: str) -> tuple[str, ...]:
    """Say that a host cannot tell of its attributes, unless the last manifest was made without them too."""
    with suppress(DamageError):
        if reuse is not None and manifest.header(reuse).get(COVERED) is False:
            return ()
    return (f"ACLs and extended attributes {what}: {host} has no getfattr that dr may run; {_HINT}",)


def lost(count: int) -> tuple[Omission, ...]:
    """Say that ACLs or attributes of that many files are not on the copy, and so in no snapshot."""
    if not count:
        return ()
    hint = "run dr as root, with its state on a file system that holds them, or write `mode: agent`"
    what = f"{count} file(s) have ACLs or extended attributes that cannot be kept on this machine"
    return (Omission(what=what, hint=hint, partial=False),)


def tells(host: Host) -> bool:
    """Whether a host's programs can tell of attributes at all: one that has nothing but SFTP cannot."""
    return attributes_there(host, [], timeout=_PROBE_SECONDS) is not None


def attributes_there(
    host: Host, paths: Sequence[bytes], *, timeout: float | None = None
) -> dict[bytes, Attributes] | None:
    """Return the attributes of those files on a host that have some; None when its programs cannot tell."""
    argv = ["xargs", "-0", "-r", "getfattr", "-h", "-d", "-m", "-", "-e", "hex", "--absolute-names", "--"]
    try:
        names = b"".join(path + b"\0" for path in paths or [b"/"])
        done = host.run(argv, env={"LC_ALL": "C"}, stdin=names, timeout=timeout)
    except DrError as error:
        if error.retryable:
            raise
        return None
    if done.code != 0 and not (done.code == 123 and _only_of_files(done.stderr)):
        return None
    return dict(_files(done.stdout))


def _only_of_files(complaints: bytes) -> bool:
    """Whether all that it complained of is files that vanished, or that it may not look at."""
    lines = [line for line in complaints.splitlines() if line.strip()]
    return bool(lines) and all(_OF_A_FILE.fullmatch(line) for line in lines)


def _files(text: bytes) -> Iterator[tuple[bytes, Attributes]]:
    for block in text.split(b"\n\n"):
        first, *lines = block.lstrip(b"\n").split(b"\n")
        if not first.startswith(_FILE):
            continue
        path = _ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), first[len(_FILE) :])
        found = {}
        for line in lines:
            name, _, value = line.rpartition(b"=")
            text_of = _ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), name)
            if value.startswith(b"0x") and covers(decoded := os.fsdecode(text_of)):
                found[decoded] = bytes.fromhex(value[2:].decode("ascii"))
        yield path, found
