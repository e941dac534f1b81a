"""What a source's next capture is compared with: the manifest of the last one whose run is on record."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from dr.sources import database_inventory as facts

_BEFORE = ".before"  # no source can have this name


def baseline(reuse: Path, name: str) -> Path | None:
    """Return the manifest of a source's last capture whose run was recorded; None when there is none.

    `reuse` may hold a newer one of a run that was killed: what that run had seen must be seen again.
    """
    return next((path for path in (reuse / _BEFORE / name, reuse / name) if path.is_file()), None)


def keep_baseline(reuse: Path, name: str) -> None:
    """Keep a source's last manifest until the run is recorded that is about to replace it. May be called twice."""
    before = reuse / _BEFORE
    if (before / name).exists():
        return
    before.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (rows_kept(reuse / name), reuse / name):
        if path.is_file():
            _lay(path, before / path.name)


def keep(made: Path, to: Path) -> None:
    """Move a file of this run to where the next looks for it; the cache may be a disk of its own."""
    try:
        made.replace(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _lay(made, to)


def _lay(path: Path, to: Path) -> None:
    beside = to.with_name(f".{to.name}.new")
    shutil.copyfile(path, beside)
    beside.replace(to)


def recorded(reuse: Path) -> None:
    """Note that the last run is on record, whatever it found: the next is compared with what that one captured."""
    shutil.rmtree(reuse / _BEFORE, ignore_errors=True)


def rows_kept(listed: Path) -> Path:
    """Return where the facts of a database are kept beside its last manifest."""
    return listed.with_name(f"{listed.name}.{facts.FILENAME}")
