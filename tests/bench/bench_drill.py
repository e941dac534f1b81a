"""A drill with a 100 % manifest check, against plain `restic restore --verify` of the same snapshots.

Prints ratios of medians of interleaved repetitions, for one source and for a system of four: plain restic
takes one snapshot after the other, a drill two at a time. The drill's time includes choosing the point,
making the sandbox and destroying it. `restic restore` without `--verify` stands beside, because a drill,
which restores with restic, cannot take less. Run: `python tests/bench/bench_drill.py`.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dr.evidence.record import Copy, Point
from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.run.backup.backup import run_backup
from dr.run.backup.progress import BackupRequest
from dr.run.recovery.drill import run_drill
from dr.run.recovery.request import RecoveryRequest
from dr.run.workspace.open_toolbox import open_toolbox
from dr.run.workspace.toolbox import Toolbox
from dr.tools.restic_program import find_restic
from dr.tools.state_dir import StateDir

GOAL = 1.0
REPETITIONS = 5


def now() -> datetime:
    return datetime.now(UTC)


def make_tree(top: Path, sizes: list[int]) -> None:
    """A few large files, some of a photo's size, many small ones."""
    rng = random.Random(1)
    for number, size in enumerate(sizes):
        folder = top / f"{number % 40:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.bin").write_bytes(rng.randbytes(size))


def make_database(path: Path, size: int) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table seen (body blob)")
        database.executemany("insert into seen values (?)", ([os.urandom(4_000)] for _ in range(size // 4_096)))


def one_source(home: Path) -> dict[str, Any]:
    """260 MB of files."""
    sizes = [48_000_000] * 2 + [16_000_000] * 4 + [1_500_000] * 55 + [60_000] * 250 + [2_000] * 1_000
    make_tree(home / "share", sizes)
    return {"share": {"files": {"paths": [str(home / "share")]}}}


def four_sources(home: Path) -> dict[str, Any]:
    """The same in all: uploads, papers, a database, an export."""
    make_tree(home / "uploads", [40_000_000] * 2 + [1_500_000] * 50 + [2_000] * 1_000)
    make_tree(home / "papers", [60_000] * 600)
    make_database(home / "sis.db", 40_000_000)
    script = "import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes(25_000_000))"
    export = [sys.executable, "-c", script]
    return {
        "uploads": {"files": {"paths": [str(home / "uploads")]}},
        "papers": {"files": {"paths": [str(home / "papers")]}},
        "database": {"sqlite": {"path": str(home / "sis.db")}},
        "export": {"command": {"run": export, "filename": "export.bin"}},
    }


def make_toolbox(home: Path, sources: dict[str, Any]) -> Toolbox:
    plan = Plan.model_validate({
        "system": "bench", "objectives": {"rto": "2h", "rpo": "4h"}, "targets": ["disk"],
        "sources": sources, "drill": {"checks": [{"manifest": {"sample": "100%"}}]},
    })  # fmt: skip
    disk = Target.model_validate({"target": "disk", "local": {"path": home / "disk"}})
    return open_toolbox(
        plan, {"disk": disk}, digest="0" * 64, state=StateDir(home / "state"), plan_dir=home,
        restic=find_restic(os.environ), versions={},
    )  # fmt: skip


def make_point(toolbox: Toolbox, home: Path) -> Point:
    request = BackupRequest(run_id="20261124T010000Z-aaaaaa", clock=now, reuse=home / "reuse")
    run = run_backup(toolbox, request).run
    assert run.outcome == "ok", run
    assert run.consistency_time is not None
    stored = run.targets[0]
    copy = Copy(target="disk", complete=True, snapshots=stored.snapshots, manifests=stored.manifests)
    return Point(
        run_id=run.run_id, system="bench", consistency_time=run.consistency_time, finished=run.finished,
        outcome="ok", kinds={s.source: s.kind for s in run.sources}, bytes=sum(s.bytes for s in run.sources),
        copies=(copy,),
    )  # fmt: skip


def time_plain(toolbox: Toolbox, point: Point, to: Path, *more: str) -> float:
    repository, seconds = toolbox.places[0].repository, 0.0
    for name, snapshot in point.copies[0].snapshots.items():
        argv = [repository.program, "restore", snapshot, "--no-lock", "--target", str(to / name), *more]
        began = time.monotonic()
        subprocess.run(argv, env=repository.environment(), check=True, stdout=subprocess.DEVNULL)
        seconds += time.monotonic() - began
    shutil.rmtree(to)
    return seconds


def time_drill(toolbox: Toolbox, point: Point, number: int) -> tuple[float, float]:
    request = RecoveryRequest(drill_id=f"drill-{number}", scenario="system-loss", t_loss=now(), clock=now)
    began = time.monotonic()
    drill = run_drill(toolbox, [point], request)
    seconds = time.monotonic() - began
    assert (drill.outcome, drill.sample, drill.proof_level) == ("ok", 1.0, 4), drill
    return seconds, drill.phases["verify"]


def measure(title: str, home: Path, sources: dict[str, Any]) -> None:
    toolbox = make_toolbox(home, sources)
    point = make_point(toolbox, home)
    verified, bare, drills = [], [], []
    for number in range(REPETITIONS):
        verified.append(time_plain(toolbox, point, home / "plain", "--verify"))
        drills.append(time_drill(toolbox, point, number))
        bare.append(time_plain(toolbox, point, home / "plain"))
    plain, floor = statistics.median(verified), statistics.median(bare)
    drill, comparing = (statistics.median(times) for times in zip(*drills, strict=True))
    print(
        f"drill / restic restore --verify, {title}, {point.bytes / 1e6:.0f} MB: "
        f"{drill / plain:.2f} (goal {GOAL}); {drill:.2f} s, {comparing:.2f} s of it comparing / {plain:.2f} s; "
        f"restic restore alone / with --verify: {floor / plain:.2f}"
    )


def main() -> None:
    for title, make in (("one source", one_source), ("four sources", four_sources)):
        with tempfile.TemporaryDirectory(prefix="bench-drill-") as scratch:
            measure(title, Path(scratch), make(Path(scratch)))


if __name__ == "__main__":
    main()
