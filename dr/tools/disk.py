"""An object store in a directory."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import AbsentError, DamageError, DrError, RefusedError, TargetDownError
from dr.tools.store import ObjectStore, Posture, Stored

_BLOCK = 1 << 20
#: The name of what is being written: the object's, hidden, with eight digits of its own.
_BESIDE = re.compile(r"\..+\.[0-9a-f]{8}")


#: The file by which a disk that is taken away is known when it is there.
MARK = ".dr-target"


class DiskStore:
    """A directory of objects. `top` is the directory that must be there for the target to be up.

    `label` is the name of a target whose disk may be taken away: what lies at `top` then is a mount point, which is
    not to be filled. Such a disk is there when it bears the mark of first use, or a repository.
    """

    def __init__(self, root: Path, top: Path | None = None, *, label: str = "") -> None:
        self.root = root
        self._top = top or root
        self._label = label

    @property
    def where(self) -> str:
        """See `ObjectStore`."""
        return str(self.root)

    def child(self, prefix: str) -> DiskStore:
        """See `ObjectStore`."""
        return DiskStore(self.root / prefix, self._top, label=self._label)

    def reachable(self) -> None:
        """See `ObjectStore`. A directory of which only the last part is missing answers: the first write makes it.

        `AbsentError` for a disk that was taken away.
        """
        with self._errors("reaching the target"):
            if self._label:
                self._require_disk()
            if not self._top.parent.is_dir():
                raise TargetDownError(
                    "the directory is not there", str(self._top), hint="mount the disk, or correct the path"
                )
            there = self._top.exists()
            if there and not self._top.is_dir():
                raise DrError("what is there is no directory", str(self._top), hint="correct the path, or move it away")
            if there and not os.access(self._top, os.R_OK | os.X_OK):
                raise RefusedError("the directory may not be read", str(self._top), hint="correct its rights")
            if not there and not os.access(self._top.parent, os.W_OK | os.X_OK):
                what = "the directory is not there, and may not be made"
                raise RefusedError(what, str(self._top), hint="make it, or correct the rights of the one above")

    def first_use(self) -> None:
        """Mark the disk that is there now as the target's, so that it is known from an empty mount point."""
        with self._errors("marking the disk", absent="its directory is not there"):
            (self._top / MARK).write_text(f"{self._label}\n", "utf-8")

    def _require_disk(self) -> None:
        mark = self._top / MARK
        label = mark.read_text("utf-8", "replace").strip() if mark.is_file() else self._label
        if label != self._label:
            raise DrError(
                f"the disk there is that of the target {label!r}",
                str(self._top),
                hint=f"put in the disk of {self._label}, or remove {mark} if it is meant to be",
            )
        if not mark.is_file() and not any(self._top.glob("*/config")):
            raise AbsentError(
                "the disk is not there, or was never used",
                str(self._top),
                hint=f"mount it; before its first use confirm it with `dr target adopt {self._label}`",
            )

    def preflight(self) -> Posture:
        """See `ObjectStore`."""
        self.reachable()
        try:
            mode = self._top.stat().st_mode
        except FileNotFoundError:
            return Posture(None, None, "unknown")
        return Posture(None, None, "open" if mode & 0o007 else "closed")

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See `ObjectStore`."""
        with self._errors("listing objects"):
            yield from _below(self.root, prefix.rstrip("/"))

    def sha256(self, name: str) -> tuple[str, int]:
        """See `ObjectStore`."""
        digest, size, block = hashlib.sha256(), 0, bytearray(_BLOCK)
        with self._errors(f"reading {name}"), (self.root / name).open("rb", buffering=0) as file:
            while count := file.readinto(block):
                digest.update(memoryview(block)[:count])
                size += count
        return digest.hexdigest(), size

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"):
            return (self.root / name).read_bytes()

    def blocks(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"), (self.root / name).open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                yield block

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"), (self.root / name).open("rb") as file:
            file.seek(start)
            yield file.read(end - start)

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`. Whole or not at all."""
        self._write(name, iter((data,)), sha256=None)

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        """See `ObjectStore`."""
        return self._write(name, source.blocks(name), sha256=sha256)

    def _write(self, name: str, blocks: Iterator[bytes], *, sha256: str | None) -> bool:
        """Write beside the place and move there what is whole. What a killed writer left beside is swept by `tidy`."""
        path, digest = self.root / name, hashlib.sha256()
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with self._errors(f"writing {name}", absent="the directory went away"):
            if self._label:
                self._require_disk()  # each time: a disk may be pulled out meanwhile
            self._top.mkdir(mode=0o700, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("wb") as file:
                    for block in blocks:
                        digest.update(block)
                        file.write(block)
                    file.flush()
                    os.fsync(file.fileno())
                if sha256 not in (None, digest.hexdigest()):
                    return False
                beside.replace(path)
                _sync_folder(path.parent)
                return True
            finally:
                beside.unlink(missing_ok=True)

    def tidy(self) -> int:
        """Remove what writers that were killed left beside their objects; return how many there were.

        Only for who knows that nobody else writes here.
        """
        with self._errors("tidying up"):
            stale = [path for path in self.root.rglob(".*") if _BESIDE.fullmatch(path.name) and path.is_file()]
            for path in stale:
                path.unlink(missing_ok=True)
        return len(stale)

    def remove(self, name: str) -> None:
        """See `ObjectStore`."""
        with self._errors(f"removing {name}"):
            (self.root / name).unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """See `ObjectStore`."""
        with self._errors(f"looking for {name}"):
            return (self.root / name).exists()

    @contextmanager
    def _errors(self, doing: str, *, absent: str = "") -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if absent:
                raise TargetDownError(
                    f"{doing}: {absent}", self.where, hint="mount the disk, then try again", retryable=True
                ) from error
            raise DamageError(f"{doing}: it is not there", self.where, hint="run `dr verify` to see all") from error
        except PermissionError as error:
            raise RefusedError(f"{doing}: not permitted", self.where, hint="correct the rights") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise DrError(f"{doing} failed", self.where, reason, hint="see the disk, then try again") from error


def _sync_folder(folder: Path) -> None:
    """See to it that a renamed file is still there after the power went, where the file system can say so."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _below(root: Path, folder: str) -> Iterator[Stored]:
    """Yield the files below a folder, by their names below the root; one folder is open at a time. Not what is hidden,
    nor what is taken away meanwhile.
    """
    folders = [folder]
    while folders:
        inner = folders.pop()
        start = f"{inner}/" if inner else ""
        try:
            entries = os.scandir(root / inner)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(start + entry.name)
                elif not entry.name.startswith(".") and (status := _status(entry)):
                    yield Stored(start + entry.name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None
