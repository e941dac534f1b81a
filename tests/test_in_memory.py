"""Tests write into memory where there is room, and leave nothing there."""

from __future__ import annotations

import os
from pathlib import Path

from tests.in_memory import folder_in_memory


def test_a_run_takes_a_folder_of_its_own_and_removes_those_of_runs_that_were_killed(tmp_path: Path) -> None:
    gone, lives = tmp_path / "pytest-mem-4194305", tmp_path / f"pytest-mem-{os.getppid()}"  # beyond the greatest number
    for folder in (gone, lives):
        folder.mkdir()
    assert folder_in_memory(tmp_path, 1) == tmp_path / f"pytest-mem-{os.getpid()}"
    assert not gone.exists() and lives.exists()


def test_without_room_the_disk_serves(tmp_path: Path) -> None:
    assert folder_in_memory(tmp_path, 1 << 60) is None
    assert folder_in_memory(tmp_path / "nowhere", 1) is None
