"""Programs we start end with us, at whatever moment that is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dr.tools import command
from dr.tools.command import TimeoutExpiredError
from tests.conftest import ROOT
from tests.waiting import LIMIT, soon


@pytest.mark.parametrize("killed", [True, False])
def test_a_program_whose_parent_died_before_it_could_be_tied_to_it_never_runs(tmp_path: Path, killed: bool) -> None:
    slow = tmp_path / "bin" / "setpriv"
    slow.parent.mkdir()
    waits = f"mv {tmp_path}/its {tmp_path}/begun; until test -e {tmp_path}/gate; do sleep 0.05; done"
    slow.write_text(f'#!/bin/sh\necho $$ >{tmp_path}/its; {waits}\nexec {shutil.which("setpriv")} "$@"\n')
    slow.chmod(0o755)
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from dr.tools import command\ncommand.run(['touch', '{tmp_path}/ran'])"],
        env={"PATH": f"{slow.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
    )
    assert soon(lambda: (tmp_path / "begun").exists())
    if killed:
        parent.kill()
        parent.wait()
    (tmp_path / "gate").touch()
    parent.wait()
    child = Path("/proc", (tmp_path / "begun").read_text().strip(), "cmdline")
    assert soon(lambda: not (child.exists() and child.read_bytes())), "it has come to its end, one way or the other"
    assert (tmp_path / "ran").exists() is not killed


FLOODED = """
import os, signal, subprocess, sys
from dr.tools import command
met = []
def stop(number, frame):
    met.append(command.interrupt_all())
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
flood = (
    f"import os\\nfor _ in range(300_000):\\n os.kill({os.getpid()}, 2)\\n os.kill({os.getpid()}, 15)"
)
flooding = subprocess.Popen([sys.executable, "-c", flood])
while flooding.poll() is None:
    command.wait_for_stop(0.001)
    command.resume()
assert len(met) > 100, len(met)
met.clear()
command.resume()
for number in (signal.SIGINT, signal.SIGTERM):
    os.kill(os.getpid(), number)
print([stopped.first for stopped in met], command.wait_for_stop(600))
"""


def test_stops_that_fall_into_one_another_neither_stand_still_nor_get_lost() -> None:
    argv = [sys.executable, "-c", FLOODED]
    done = subprocess.run(argv, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout == "[True, False] True\n", done.stderr


def test_what_a_program_left_behind_cannot_hold_its_output_past_its_time(tmp_path: Path) -> None:
    """As a daemon that a check or a hook starts, and that keeps the output it was given."""
    left = f"setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep {LIMIT}' 2>/dev/null & echo said; exit 0"
    with pytest.raises(TimeoutExpiredError, match="did not end within 1 s"):
        command.run(["sh", "-c", left], timeout=1)
    assert soon((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGKILL)  # it is still there: nobody waited for it
    with command.Running(["sh", "-c", "head -c 300000 /dev/zero; exit 3"], timeout=LIMIT) as running:
        assert sum(map(len, iter(running.read, b""))) == 300_000 and running.finish().code == 3
