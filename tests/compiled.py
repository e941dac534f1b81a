"""What the tests' modules are compiled to, made once and not by each worker at the same time.

pytest rewrites and compiles a module where nothing is kept of it yet: 10 s of processor time for all, in a fresh
checkout, for each of six workers, since all begin with the same module.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

#: So few modules a worker compiles in less time than another process starts.
FEW = 20


def stale(places: Iterable[str]) -> list[Path]:
    """Return the test modules at these `places` (`tests/run`, `tests/test_house.py::test_x`) that are to be compiled."""
    found: list[Path] = []
    for place in places:
        path = Path(place.partition("::")[0])
        found += filter(_is_stale, path.rglob("test_*.py") if path.is_dir() else [path])
    return found


def _is_stale(module: Path) -> bool:
    """Whether nothing is kept of it, or what is kept is older."""
    written = module.stat().st_mtime
    kept = module.parent.joinpath("__pycache__").glob(f"{module.stem}.*-pytest-*.pyc")
    return all(each.stat().st_mtime < written for each in kept)


def compile_once(places: Iterable[str]) -> None:
    """Have one process a processor compile its part of what is to be, unless that is little, or nobody keeps it."""
    if sys.dont_write_bytecode or len(found := sorted(set(stale(places)))) < FEW:
        return
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    count = min(os.cpu_count() or 1, len(found))
    parts = (found[number::count] for number in range(count))
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for each in [subprocess.Popen([*argv, *part], **quiet) for part in parts]:
        each.wait()  # what does not compile is said by the workers
