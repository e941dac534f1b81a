"""What `make fast` runs starts no server: marks and fixtures leave it out, and what slips through fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import LIMIT

ROOT = Path(__file__).parents[1]
#: Tests with a fixture that is a server, with the program as typed, with a server that no fixture tells of, and a quick one.
FOUR = """
import scripts.servers.s3 as s
def test_a_fixture(s3):
    pass
def test_as_typed(site):
    pass
def test_hidden(tmp_path):
    with s.S3Server(tmp_path):
        pass
def test_quick():
    pass
"""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param(
            ["--fast"], ("it starts a server", "1 failed, 1 passed, 2 deselected"), id="but for what is quick"
        ),
        pytest.param(["-k", "typed"], ("1 passed, 3 deselected",), id="and without the option all stays"),
    ],
)
def test_fast_leaves_out_what_starts_servers(tmp_path: Path, options: list[str], told: tuple[str, ...]) -> None:
    (tmp_path / "test_it.py").write_text(FOUR)
    argv = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        [*argv, *options, "test_it.py"], cwd=tmp_path, env={**kept, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert all(words in done.stdout for words in told), done.stdout + done.stderr
    assert ("FAILED test_it.py::test_hidden" in done.stdout) is ("--fast" in options)
