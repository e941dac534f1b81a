"""Replication killed at fifty random moments: what is at the replica is whole each time."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dr.run.replication.copy_repository import copy_repository
from dr.tools.disk import DiskStore
from tests.conftest import ROOT
from tests.faults.child import Child

KILLS = 30


class Repositories:
    """A source that grows, and its replica."""

    def __init__(self, home: Path, program: str) -> None:
        self.source, self.replica, self.tree = home / "source", home / "replica", home / "tree"
        self._program = program
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "RESTIC_PASSWORD": "x",
            "RESTIC_CACHE_DIR": str(home / "cache"),
        }  # fmt: skip
        self.tree.mkdir()
        self.restic(self.source, "init")

    def restic(self, at: Path, *arguments: str) -> str:
        argv = [self._program, "-r", str(at), "--quiet", *arguments]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def grow(self, number: int) -> None:
        for part in range(4):
            (self.tree / f"{number}-{part}").write_bytes(os.urandom(300_000))
        self.restic(self.source, "backup", "--pack-size", "4", str(self.tree))

    def copy(self) -> Child:
        """Start copying; return when it is about to."""

        def copying(say: Callable[[], object]) -> None:
            say()
            copy_repository(DiskStore(self.source), DiskStore(self.replica))

        process = Child(copying)
        assert process.hears()
        return process

    def whole(self, path: Path) -> set[str]:
        return {each.name for each in (path / "snapshots").glob("*") if not each.name.startswith(".")}


@pytest.mark.long
@pytest.mark.slow
def test_killed_at_random_moments_the_replica_is_whole_each_time(tmp_path: Path, restic_program: str) -> None:
    """Each restart finds a repository that `restic check --read-data` passes, so no snapshot lacks its data.

    Where the source grew since, the copy must bring what is new; now and then the replica begins from nothing.
    """
    pair, rng = Repositories(tmp_path, restic_program), random.Random(20261124)
    for number in range(6):
        pair.grow(number)
    began = time.monotonic()
    process = pair.copy()
    process.wait()
    seconds, checked, cut = time.monotonic() - began, 0, 0
    shutil.rmtree(pair.replica)
    for number in range(KILLS):
        process = pair.copy()
        time.sleep(rng.uniform(0, seconds))
        seconds *= 0.8 if process.ended() else 1.1  # however busy this machine is, most kills are to hit
        process.kill()
        process.wait()
        if (pair.replica / "config").exists():
            pair.restic(pair.replica, "check", "--read-data", "--no-cache", "--no-lock")
            checked += 1
            cut += pair.whole(pair.replica) != pair.whole(pair.source)
        if number % 10 == 9:
            pair.grow(100 + number)
        if number % 3 == 2:
            shutil.rmtree(pair.replica, ignore_errors=True)
    assert checked >= KILLS // 3 and cut >= 2, (checked, cut, "the kills must hit the copying")
    assert pair.copy().wait() == 0
    assert pair.whole(pair.replica) == pair.whole(pair.source)
    pair.restic(pair.replica, "check", "--read-data", "--no-cache", "--no-lock")


@pytest.mark.slow
def test_a_copy_in_the_wrong_order_is_found_by_that_check(tmp_path: Path, restic_program: str) -> None:
    """The negative control: snapshots before data, and cut, is what the check must not pass."""
    pair = Repositories(tmp_path, restic_program)
    pair.grow(0)
    shutil.copytree(pair.source, pair.replica)
    shutil.rmtree(pair.replica / "data")
    (pair.replica / "data").mkdir()
    with pytest.raises(AssertionError, match="check"):
        pair.restic(pair.replica, "check", "--read-data", "--no-cache", "--no-lock")


@pytest.mark.slow
def test_a_prune_at_the_source_meanwhile_leaves_the_replica_whole(tmp_path: Path, restic_program: str) -> None:
    """Whatever the prune takes away while objects are copied, each snapshot at the replica has its data."""
    pair, seen = Repositories(tmp_path, restic_program), set[str]()
    for number in range(5):
        pair.grow(number)
        for path in pair.tree.glob(f"{number - 1}-*"):
            path.unlink()
        argv = [restic_program, "-r", str(pair.source), "forget", "--keep-last", "1", "--prune", "--max-unused", "0"]
        pruning = subprocess.Popen(argv, env=pair.env, stdout=subprocess.DEVNULL)
        copying = pair.copy()
        assert pruning.wait() == 0
        copying.wait()
        pair.restic(pair.replica, "check", "--read-data", "--no-cache", "--no-lock")
        assert seen <= pair.whole(pair.replica), "deletions are not copied"
        seen = pair.whole(pair.replica)
    assert pair.copy().wait() == 0
    assert pair.whole(pair.source) <= pair.whole(pair.replica)
    pair.restic(pair.replica, "check", "--read-data", "--no-cache", "--no-lock")
