"""Throw-away servers of a program that is killed end with it, and their folders go with the next that is made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
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
        os.kill(maker.pid, signal.SIGKILL)
        maker.wait()
    assert soon(lambda: not _runs(server))
    another = owned.own_folder("test-")
    assert not folder.exists()
    assert mine.exists() and another.exists(), "the control: ours are in use"
    for each in (mine, another):
        shutil.rmtree(each)


def _runs(pid: int) -> bool:
    """Whether it runs: one that has ended may wait for somebody to ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
