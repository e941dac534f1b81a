"""Throw-away servers of a program that is killed end with it, and their folders go with the next that is made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from scripts.servers import owned
from tests.conftest import ROOT
from tests.waiting import soon

_MAKER = """
import subprocess
from scripts.servers.owned import dying_with_us, own_folder
print(own_folder("test-"), flush=True)
print(subprocess.Popen([*dying_with_us(), "sleep", "900"]).pid, flush=True)
import time; time.sleep(900)
"""


def test_nothing_of_a_killed_program_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned, "_FRESH_SECONDS", 0.0)
    argv = [sys.executable, "-c", _MAKER]
    with subprocess.Popen(
        argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as maker:
        assert maker.stdout is not None
        folder, server = Path(maker.stdout.readline().strip()), int(maker.stdout.readline())
        (folder / "data").mkdir()
        mine = owned.own_folder("test-")
        assert folder.exists(), "the control: its maker lives"
        # What has it end with its maker is set before it becomes what it is to be, not before its maker goes on.
        assert soon(lambda: Path(f"/proc/{server}/comm").read_text() == "sleep\n")
        os.kill(maker.pid, signal.SIGKILL)
        maker.wait()
    assert soon(lambda: not _runs(server))
    another = owned.own_folder("test-")
    assert not folder.exists()
    assert mine.exists() and another.exists(), "the control: ours are in use"
    for each in (mine, another):
        shutil.rmtree(each)


@pytest.mark.parametrize(
    ("name", "mode", "taken"),
    [("short", 0o755, True), ("too-long-for-sockets-" * 3, 0o755, False), ("closed-to-servers", 0o700, False)],
)
def test_a_folder_lies_in_a_tmpdir_that_suits_servers(
    monkeypatch: pytest.MonkeyPatch, name: str, mode: int, taken: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        Path(top).chmod(0o755)
        named = Path(top, name)
        named.mkdir()
        named.chmod(mode)
        monkeypatch.setenv("TMPDIR", str(named))
        made = owned.own_folder("test-")
        assert made.parent == (named if taken else Path("/tmp"))
        made.rmdir()


def _runs(pid: int) -> bool:
    """Whether it runs: one that has ended may wait for somebody to ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
