"""Programs we start end with us, at whatever moment that is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.waiting import soon


@pytest.mark.parametrize("killed", [True, False])
def test_a_program_whose_parent_died_before_it_could_be_tied_to_it_never_runs(tmp_path: Path, killed: bool) -> None:
    slow = tmp_path / "bin" / "setpriv"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ntouch {tmp_path}/begun\nsleep 0.5\nexec {shutil.which("setpriv")} "$@"\n')
    slow.chmod(0o755)
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from dr.tools import command\ncommand.run(['touch', '{tmp_path}/ran'])"],
        env={"PATH": f"{slow.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
    )
    assert soon(lambda: (tmp_path / "begun").exists())
    if killed:
        parent.kill()
    parent.wait()
    time.sleep(1.0)
    assert (tmp_path / "ran").exists() is not killed
