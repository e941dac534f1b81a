"""Annexes: written down before they are made, swept with their sandbox, with all that runs in them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dr.errors import DrError
from dr.evidence.record import Point
from dr.run.recovery.place.sandbox import Sandbox, sweep
from dr.run.recovery.place.server_dirs import ServerDirs
from dr.tools.state_dir import StateDir
from tests.waiting import LIMIT, soon

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
POINT = Point(run_id="r", system="sis", consistency_time=NOON, finished=NOON, outcome="ok", kinds={})


@pytest.fixture(autouse=True)
def _place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)


def at_work(place: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], cwd=place, start_new_session=True)


def test_a_sandbox_goes_with_its_annexes_and_what_runs_in_them(tmp_path: Path) -> None:
    sandbox = Sandbox(StateDir(tmp_path), "drill-1")
    root = sandbox.prepare(POINT, 0)
    annex = sandbox.annex("postgres")
    assert annex.is_dir() and annex.stat().st_mode & 0o077 == 0 and len(str(annex)) < 60
    running = [at_work(annex), at_work(root)]
    assert sandbox.finish() == "destroyed"
    assert [child.wait(timeout=LIMIT) for child in running] == [-9, -9]
    assert not annex.exists() and not root.exists()


def test_what_a_dead_drill_left_is_swept_with_its_processes(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from dr.run.recovery.place.sandbox import Sandbox; from dr.tools.state_dir import StateDir\n"
        "from tests.run.test_annex import POINT\n"
        f"box = Sandbox(StateDir(Path({str(tmp_path)!r})), 'drill-2'); box.prepare(POINT, 0); annex = box.annex('mysql')\n"
        "child = subprocess.Popen(['sleep', '60'], cwd=annex, start_new_session=True, stdout=-3, stderr=-3)\n"
        "print(annex, child.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    annex, pid = done.stdout.split()
    assert Path(annex).is_dir() and Path(f"/proc/{pid}").exists(), "the negative: it was left"
    assert sweep(StateDir(tmp_path)) == ["drill-2"]
    assert soon(lambda: not Path(f"/proc/{pid}/cwd").exists())
    assert not Path(annex).exists() and not os.path.exists(f"/proc/{pid}/exe")


def test_a_record_that_names_another_place_removes_nothing_of_value(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    record = tmp_path / ".annexes"
    record.write_text(f"{tmp_path}/precious\nrelative/dr-x\n\n/\n")
    assert ServerDirs(record).places() == []


def test_a_place_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(DrError, match="a place for a scratch server cannot be made"):
        ServerDirs(tmp_path / "gone" / ".annexes").make("postgres")
