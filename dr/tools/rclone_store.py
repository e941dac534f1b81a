"""An object store on any remote of rclone. What reaches it goes through rclone's own checked copying."""

from __future__ import annotations

import hashlib
import posixpath
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dr.errors import DamageError, TargetDownError
from dr.tools import line, retry
from dr.tools.digest import sha256_of
from dr.tools.rclone import Rclone
from dr.tools.store import ObjectStore, Posture, Stored

#: rclone writes again although size and time are alike: what is there may be damaged.
_AGAIN = {"IgnoreTimes": True}


class RcloneStore:
    """Objects below a path of a remote. Safe for several threads."""

    def __init__(self, rclone: Rclone, prefix: str = "") -> None:
        self._rclone, self._prefix = rclone, prefix.strip("/")

    @property
    def where(self) -> str:
        """See `ObjectStore`."""
        return f"{self._rclone.where}/{self._prefix}".rstrip("/")

    def child(self, prefix: str) -> RcloneStore:
        """See `ObjectStore`. Shares the program."""
        return RcloneStore(self._rclone, f"{self._prefix}/{prefix}")

    def reachable(self) -> None:
        """See `ObjectStore`. A remote that has no such directory yet answers too."""
        with suppress(DamageError):
            self._rclone.call(
                "operations/list", "reaching the target", tries=1, fs=self._rclone.remote, remote=self._full("_control")
            )

    def preflight(self) -> Posture:
        """See `ObjectStore`."""
        self.reachable()
        return Posture(None, None, "unknown")

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See `ObjectStore`."""
        folder = self._full(prefix.rpartition("/")[0])
        start = f"{self._prefix}/" if self._prefix else ""
        try:
            for item in self._rclone.listed(folder, "listing objects"):
                name = str(item["Path"])[len(start) :]
                if name.startswith(prefix) and not name.rpartition("/")[2].startswith("."):
                    yield Stored(name, int(item["Size"]), _time(str(item.get("ModTime", ""))))
        except DamageError:  # there is no such folder
            return

    def exists(self, name: str) -> bool:
        """See `ObjectStore`."""
        try:
            found = self._call("operations/stat", f"looking for {name}", self._full(name))
        except DamageError:
            return False
        return bool(found.get("item"))

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        return retry.persist(lambda: b"".join(self.blocks(name)), what=self.where)

    def blocks(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        return self._rclone.blocks(self._full(name), f"reading {name}")

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """See `ObjectStore`."""
        return self._rclone.blocks(self._full(name), f"reading {name}", start=start, end=end)

    def sha256(self, name: str) -> tuple[str, int]:
        """See `ObjectStore`."""

        return retry.persist(lambda: sha256_of(self.blocks(name)), what=self.where)

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._write(name, (data,), sha256="")

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        """See `ObjectStore`. rclone compares size and checksum, as far as the remote tells one; what came is read back.

        Whole or not at all: where a remote can be left with part of a file, rclone writes beside and renames.
        """
        return self._write(name, source.blocks(name), sha256=sha256)

    def _write(self, name: str, blocks: Iterable[bytes], *, sha256: str) -> bool:
        digest, file = hashlib.sha256(), secrets.token_hex(8)
        with tempfile.TemporaryDirectory(dir=self._rclone.folder) as folder:
            with Path(folder, file).open("wb") as copy:
                for block in blocks:
                    digest.update(block)
                    copy.write(block)
            if sha256 not in ("", digest.hexdigest()):
                return False
            size = Path(folder, file).stat().st_size
            line.sending(size)
            asked: dict[str, Any] = {"srcFs": folder, "srcRemote": file, "_config": _AGAIN}
            asked |= {"dstFs": self._rclone.remote, "dstRemote": self._full(name)}
            self._rclone.call("operations/copyfile", f"writing {name}", **asked)
            self._rclone.meter.passed(sent=size)
        if self.sha256(name)[0] != digest.hexdigest():
            hint = "see the remote; then try again"
            raise TargetDownError(f"{name} is not what was written", self.where, hint=hint, retryable=True)
        return True

    def remove(self, name: str) -> None:
        """See `ObjectStore`."""
        with suppress(DamageError):
            self._call("operations/deletefile", f"removing {name}", self._full(name))

    def _call(self, what: str, doing: str, remote: str, **more: Any) -> dict[str, Any]:
        return self._rclone.call(what, doing, fs=self._rclone.remote, remote=remote, **more)

    def _full(self, name: str) -> str:
        return posixpath.join(self._prefix, name.strip("/")).strip("/")


def _time(text: str) -> datetime:
    """Return when rclone says that an object was written; the beginning of time where it does not."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
