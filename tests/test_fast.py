"""What `make fast` runs starts no server: marks and fixtures leave it out, and what slips through fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import LIMIT

ROOT = Path(__file__).parents[1]
HIDDEN = "import scripts.servers.s3 as s\ndef test_it(tmp_path):\n    with s.S3Server(tmp_path):\n        pass\n"


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        pytest.param("def test_it(s3):\n    pass\n", ["--fast"], "1 deselected", id="a fixture that is a server"),
        pytest.param("def test_it(site):\n    pass\n", ["--fast"], "1 deselected", id="the program as typed"),
        pytest.param(HIDDEN, ["--fast"], "it starts a server", id="a server that no fixture tells of"),
        pytest.param("def test_it():\n    pass\n", ["--fast"], "1 passed", id="what is quick stays"),
        pytest.param("def test_it(site):\n    pass\n", [], "1 passed", id="and without the option all stays"),
    ],
)
def test_fast_leaves_out_what_starts_servers(tmp_path: Path, text: str, options: list[str], told: str) -> None:
    (tmp_path / "test_it.py").write_text(text)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
        *options,
        "test_it.py",
    ]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        argv, cwd=tmp_path, env={**kept, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=LIMIT
    )  # fmt: skip
    assert told in done.stdout, done.stdout + done.stderr
