"""Tests write into memory where there is room, and leave nothing there."""

from __future__ import annotations

import os
from pathlib import Path

from tests.in_memory import folder_in_memory, temporary_beside


def test_a_run_takes_a_folder_of_its_own_and_removes_those_of_runs_that_were_killed(tmp_path: Path) -> None:
    for process in (4194305, os.getppid()):  # beyond the greatest number; one that lives
        for mark in ("pytest-mem", "tests"):
            (tmp_path / f"{mark}-{process}").mkdir()
    (tmp_path / "tests-of-others").mkdir()
    folder = folder_in_memory(tmp_path, 1)
    assert folder == tmp_path / f"pytest-mem-{os.getpid()}"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"pytest-mem-{os.getppid()}", f"tests-{os.getppid()}", "tests-of-others"}
    temporary = temporary_beside(folder)
    assert temporary == tmp_path / f"tests-{os.getpid()}" and temporary.stat().st_mode & 0o7777 == 0o1777


def test_without_room_the_disk_serves(tmp_path: Path) -> None:
    assert folder_in_memory(tmp_path, 1 << 60) is None
    assert folder_in_memory(tmp_path / "nowhere", 1) is None
