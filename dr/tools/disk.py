"""An object store in a directory."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.tools.store import Posture, Stored


class DiskStore:
    """A directory of objects. `top` is the directory that must be there for the target to be up."""

    def __init__(self, root: Path, top: Path | None = None) -> None:
        self.root = root
        self._top = top or root

    @property
    def where(self) -> str:
        """See `ObjectStore`."""
        return str(self.root)

    def child(self, prefix: str) -> DiskStore:
        """See `ObjectStore`."""
        return DiskStore(self.root / prefix, self._top)

    def reachable(self) -> None:
        """See `ObjectStore`. The directory is made when only its last part is missing."""
        with self._errors("reaching the target"):
            if not self._top.parent.is_dir():
                raise TargetDownError(
                    "the directory is not there", str(self._top), hint="mount the disk, or correct the path"
                )
            self._top.mkdir(mode=0o700, exist_ok=True)
            if not os.access(self._top, os.R_OK | os.X_OK):
                raise RefusedError("the directory may not be read", str(self._top), hint="correct its rights")

    def preflight(self) -> Posture:
        """See `ObjectStore`."""
        self.reachable()
        return Posture(None, None, "open" if self._top.stat().st_mode & 0o007 else "closed")

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See `ObjectStore`."""
        with self._errors("listing objects"):
            for folder, _, names in os.walk(self.root / prefix, onerror=_raise_unless_absent):
                for name in names:
                    path = Path(folder, name)
                    if name.startswith(".") or not path.is_file():
                        continue
                    status = path.stat()
                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                    yield Stored(path.relative_to(self.root).as_posix(), status.st_size, modified)

    def sha256(self, name: str) -> tuple[str, int]:
        """See `ObjectStore`."""
        digest, size, block = hashlib.sha256(), 0, bytearray(1 << 20)
        with self._errors(f"reading {name}"), (self.root / name).open("rb", buffering=0) as file:
            while count := file.readinto(block):
                digest.update(memoryview(block)[:count])
                size += count
        return digest.hexdigest(), size

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        with self._errors(f"reading {name}"):
            return (self.root / name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`. Whole or not at all."""
        path = self.root / name
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with self._errors(f"writing {name}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """See `ObjectStore`."""
        with self._errors(f"removing {name}"):
            (self.root / name).unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """See `ObjectStore`."""
        with self._errors(f"looking for {name}"):
            return (self.root / name).exists()

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise DamageError(f"{doing}: it is not there", self.where, hint="run `dr verify` to see all") from error
        except PermissionError as error:
            raise RefusedError(f"{doing}: not permitted", self.where, hint="correct the rights") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise DrError(f"{doing} failed", self.where, reason, hint="see the disk, then try again") from error


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
