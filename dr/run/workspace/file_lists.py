"""Which files a run found something about: a local list, for its owner alone. Names of files are no evidence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dr.tools.state_dir import StateDir


def write_names(state: StateDir, run_id: str, names: Sequence[tuple[str, str, bytes]]) -> Path | None:
    """Write (source, problem, name) lines to `STATE/details/RUN_ID.txt` and return it; None when there are none.

    Raises `OSError`.
    """
    if not names:
        return None
    path = state.details / f"{run_id}.txt"
    lines = [os.fsencode(f"{source}\t{problem}\t") + name for source, problem, name in names]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(b"\n".join(line.replace(b"\n", b"\\n") for line in lines) + b"\n")
    return path
