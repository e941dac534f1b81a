"""A mount namespace of the test's own: what is mounted in it, no other process of the machine sees."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NEWNS, _FS = 0x00020000, 0x00000200
_BIND, _REC, _PRIVATE, _DETACH = 4096, 16384, 1 << 18, 2
_libc = ctypes.CDLL(None, use_errno=True)
needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


class Mounts:
    """Mounts and unmounts in the namespace that this process is in."""

    def tmpfs(self, at: Path) -> Path:
        """Mount a new, empty file system."""
        at.mkdir(parents=True, exist_ok=True)
        _call("mount", b"tmpfs", os.fsencode(at), b"tmpfs", 0, b"mode=755")
        return at

    def proc(self, at: Path) -> Path:
        """Mount the kernel's processes."""
        at.mkdir(parents=True, exist_ok=True)
        _call("mount", b"proc", os.fsencode(at), b"proc", 0, None)
        return at

    def bind(self, what: Path, at: Path) -> Path:
        """Let a directory, or a file, be seen at another place too."""
        _call("mount", os.fsencode(what), os.fsencode(at), None, _BIND, None)
        return at

    def away(self, at: Path) -> None:
        """Unmount."""
        _call("umount2", os.fsencode(at), _DETACH)


@contextmanager
def own_mounts() -> Iterator[Mounts]:
    """Be in a mount namespace of one's own, as are all programs started in it; it goes away with the last of them."""
    before, cwd = os.open("/proc/self/ns/mnt", os.O_RDONLY), os.getcwd()
    _call("unshare", _NEWNS)
    try:
        _call("mount", b"none", b"/", None, _REC | _PRIVATE, None)
        yield Mounts()
    finally:
        _call("unshare", _FS)  # a thread that was begun here may live on: it keeps what it sees
        _call("setns", before, _NEWNS)
        os.close(before)
        os.chdir(cwd)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", str(arguments[:2]))
