"""Forgetting killed amid its work: what is left at the replica is a valid repository each time."""

from __future__ import annotations

import random
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dr.run.replication.retention.forget import ForgetIntent, Gone, carry_out
from dr.run.replication.retention.garbage import sweepable
from dr.tools.disk import DiskStore
from dr.tools.restic import Repository
from tests.faults.child import Child
from tests.faults.test_replicate_killed import Repositories
from tests.waiting import soon

KILLS = 16


class Halting(DiskStore):
    """Takes away `stop` objects, and perhaps a few more at the same time; then it says so, and waits for the kill."""

    def __init__(self, root: Path, stop: int, say: Callable[[], object]) -> None:
        super().__init__(root)
        self._stop, self._say, self._numbers, self._gone = stop, say, count(), list[str]()
        self._guard = threading.Lock()

    def remove(self, name: str) -> None:
        with self._guard:
            number = next(self._numbers)
        if number == self._stop or (number > self._stop and number % 2):
            assert soon(lambda: len(self._gone) >= self._stop)
            self._say()
            threading.Event().wait()
        super().remove(name)
        self._gone.append(name)


class Mirror(Repositories):
    """A source that was pruned, and a replica that still holds what went."""

    def fill(self) -> None:
        for number in range(12):
            for path in self.tree.glob("own-*"):
                path.unlink()
            self.grow_own(number)
        shutil.copytree(self.source, self.replica)
        self.restic(self.source, "forget", "--keep-last", "4", "--prune", "--max-unused", "0")
        assert self.copy().wait() == 0

    def grow_own(self, number: int) -> None:
        for part in range(3):
            (self.tree / f"own-{number}-{part}").write_bytes(random.Random(number * 10 + part).randbytes(600_000))
        (self.tree / f"all-{number}").write_bytes(random.Random(number).randbytes(1_000))
        self.restic(self.source, "backup", "--pack-size", "4", str(self.tree))

    def doomed(self, program: str) -> list[list[str]]:
        """What may go: found on a copy without the snapshots that the source lacks."""
        there = {item.name for item in DiskStore(self.replica).list()}
        gone = sorted(there - {item.name for item in DiskStore(self.source).list()})
        snapshots = [name for name in gone if name.startswith("snapshots/")]
        tried = self.replica.with_name("tried")
        shutil.copytree(self.replica, tried)
        for name in snapshots:
            (tried / name).unlink()
        seen = Repository(
            program=program, location=str(tried), where="tried", host="x", env=self.env, cache=tried / "cache"
        )  # fmt: skip
        short = seen.unneeded_packs(timeout=60)
        packs = {name[-64:] for name in gone if name.startswith("data/") and name[8:16] in short}
        indexes, packs = sweepable(seen.index_files(), [x[-64:] for x in gone if x.startswith("index/")], packs)
        shutil.rmtree(tried)
        return [snapshots, sorted(f"index/{x}" for x in indexes), sorted(f"data/{x[:2]}/{x}" for x in packs)]

    def forget(self, at: Path, doomed: list[list[str]], how: str = "right", *, stop: int = 10**6) -> None:
        """Let it take away `stop` objects, and kill it; all where there are no more. `wrong`: packs before indexes."""
        snapshots, indexes, packs = map(set, doomed)
        if how == "wrong":
            snapshots, packs = packs, snapshots
        intent = ForgetIntent(snapshots=snapshots, indexes=indexes, packs=packs)
        repository = SimpleNamespace(occupied=lambda work: nullcontext())

        def forgetting(say: Callable[[], object]) -> None:
            place: Any = SimpleNamespace(store=Halting(at, stop, say), repository=repository)
            carry_out(place, intent, Gone(), work=Path("."))

        process = Child(forgetting)
        if process.hears():
            process.kill()
        assert process.wait() == (-signal.SIGKILL if stop < sum(map(len, doomed)) else 0)

    def check(self, at: Path) -> None:
        self.restic(at, "check", "--read-data", "--no-cache", "--no-lock")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory, restic_program: str) -> Mirror:
    made = Mirror(tmp_path_factory.mktemp("mirror"), restic_program)
    made.fill()
    return made


@pytest.mark.slow
def test_killed_wherever_it_is_the_replica_is_whole_each_time(
    mirror: Mirror, restic_program: str, tmp_path: Path
) -> None:
    doomed, rng = mirror.doomed(restic_program), random.Random(20261125)
    total = sum(map(len, doomed))
    assert len(doomed[0]) == 8 and len(doomed[1]) == 12 and len(doomed[2]) > 8, doomed
    at, cut = tmp_path / "replica", 0
    for _ in range(KILLS):
        if not at.exists():
            shutil.copytree(mirror.replica, at)
        mirror.forget(at, doomed, stop=rng.randint(1, total - 1))
        mirror.check(at)
        left = sum((at / name).exists() for names in doomed for name in names)
        cut += 0 < left < total
        if not left or rng.random() < 0.3:
            shutil.rmtree(at)
    assert cut >= KILLS // 3, f"{cut}: the kills must hit the forgetting"
    shutil.copytree(mirror.replica, at, dirs_exist_ok=True)
    mirror.forget(at, doomed)
    assert {x.name for x in DiskStore(at).list()} == {x.name for x in DiskStore(mirror.source).list()}
    mirror.check(at)


@pytest.mark.slow
def test_the_wrong_order_is_found_by_that_check(mirror: Mirror, restic_program: str, tmp_path: Path) -> None:
    """The negative control: packs first, and killed, is what the check must not pass."""
    doomed, at = mirror.doomed(restic_program), tmp_path / "replica"
    shutil.copytree(mirror.replica, at)
    mirror.forget(at, doomed, "wrong", stop=1)
    with pytest.raises(AssertionError, match="check"):
        mirror.check(at)
