"""A small district with real sources, two local targets and two recovery points, made once a session."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dr.evidence.record import BackupRun, Copy, Drill, Point
from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.run.backup.backup import run_backup
from dr.run.backup.progress import BackupRequest
from dr.run.recovery.drill import run_drill
from dr.run.recovery.recover import run_recover
from dr.run.recovery.request import RecoveryRequest
from dr.run.workspace.open_toolbox import open_toolbox
from dr.run.workspace.toolbox import Toolbox
from dr.tools.restic_program import find_restic
from dr.tools.state_dir import StateDir

_ELSEWHERE = """
import importlib.util, pickle, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("elsewhere", sys.argv[1])
module = sys.modules["elsewhere"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
district = module.District(*pickle.loads(Path(sys.argv[2]).read_bytes()))
exec(sys.argv[3])
"""


def now() -> datetime:
    return datetime.now(UTC)


def point_of(run: BackupRun) -> Point:
    """The point that a backup run made, as the catalog would have it."""
    assert run.consistency_time is not None
    copies = tuple(
        Copy(target=t.target, complete=t.outcome == "ok", snapshots=t.snapshots, manifests=t.manifests)
        for t in run.targets
    )
    return Point(
        run_id=run.run_id,
        system=run.system,
        consistency_time=run.consistency_time,
        finished=run.finished,
        outcome=run.outcome,
        kinds={s.source: s.kind for s in run.sources},
        bytes=sum(s.bytes for s in run.sources),
        copies=copies,
    )


@dataclass
class District:
    """One system. `points` are newest first; `drill` and `recover` use a state of the test's own."""

    home: Path
    state: StateDir
    body: dict[str, Any]
    points: list[Point] = field(default_factory=list)

    def plan(self, **changes: Any) -> Plan:
        return Plan.model_validate({**self.body, **changes})

    def toolbox(self, **changes: Any) -> Toolbox:
        plan = self.plan(**changes)
        targets = {
            name: Target.model_validate({"target": name, "local": {"path": self.home / name}}) for name in plan.targets
        }
        return open_toolbox(
            plan,
            targets,
            digest="0" * 64,
            state=self.state,
            plan_dir=self.home / "plans",
            restic=find_restic(os.environ),
            versions={"dr": "test"},
        )

    def backup(self, run_id: str, **changes: Any) -> Point:
        request = BackupRequest(run_id=run_id, clock=now, reuse=self.state.cache / "manifests")
        done = run_backup(self.toolbox(**changes), request)
        assert done.run.outcome in ("ok", "degraded"), done.run
        self.points.insert(0, point_of(done.run))
        return self.points[0]

    def drill(self, *, checks: list[Any] | None = None, scenario: str = "system-loss", **asked: Any) -> Drill:
        changes = {} if checks is None else {"drill": {"checks": checks}}
        began = now()
        request = RecoveryRequest(
            drill_id=asked.pop("drill_id", "drill-1"),
            scenario=scenario,
            clock=now,
            t_loss=asked.pop("t_loss", began),
            **asked,
        )
        return run_drill(self.toolbox(**changes), self.points, request)

    def recover(self, to: Path, **asked: Any) -> Drill:
        drill_id = asked.pop("drill_id", "recovery-1")
        request = RecoveryRequest(drill_id=drill_id, to=to, clock=now, t_loss=now(), **asked)
        return run_recover(self.toolbox(), self.points, request)

    def elsewhere(self, what: str, scratch: Path) -> subprocess.Popen[bytes]:
        """Start another process that does `what` (Python) with this `district`."""
        known = scratch / "district.pickle"
        known.write_bytes(pickle.dumps((self.home, self.state, self.body, self.points)))
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.Popen([sys.executable, "-c", _ELSEWHERE, __file__, known, what], env=env)

    def changed_point(self, **changes: Any) -> None:
        """Change what is recorded of the newest point."""
        self.points[0] = replace(self.points[0], **changes)


def make_sources(home: Path) -> None:
    uploads = home / "srv" / "uploads"
    (uploads / "photos").mkdir(parents=True)
    (uploads / "empty").mkdir()
    for number in range(12):
        (uploads / "photos" / f"{number}.jpg").write_bytes(os.urandom(2_000 + number))
    (uploads / "read me.txt").write_text("first line\nsecond line\n")
    (uploads / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"odd")
    (uploads / "new\nline").write_bytes(b"odd too")
    (uploads / "link").symlink_to("photos/0.jpg")
    (uploads / "photos" / "1.jpg").chmod(0o640)
    with closing(sqlite3.connect(home / "srv" / "sis.db")) as database, database:
        database.execute("create table students (name text, seen text)")
        rows = [(f"s{n}", f"2026-11-01T00:00:{n % 60:02d}Z") for n in range(1_000)]
        database.executemany("insert into students values (?, ?)", rows)


def body_of(home: Path) -> dict[str, Any]:
    export = [sys.executable, "-c", "print('ledger' * 1000)"]
    return {
        "system": "sis",
        "objectives": {"rto": "2h", "rpo": "4h"},
        "sources": {
            "uploads": {"files": {"paths": [str(home / "srv" / "uploads")]}},
            "database": {"sqlite": {"path": str(home / "srv" / "sis.db"), "newest": "select max(seen) from students"}},
            "finance": {"command": {"run": export, "filename": "ledger.txt"}},
        },
        "targets": ["near", "far"],
        "drill": {"checks": ["manifest"]},
    }


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> District:
    home = tmp_path_factory.mktemp("district")
    (home / "plans").mkdir()
    make_sources(home)
    district = District(home, StateDir(home / "state"), body_of(home))
    district.backup("20261124T010000Z-aaaaaa")
    (home / "srv" / "uploads" / "late.txt").write_text("late")
    district.backup("20261124T020000Z-bbbbbb")
    return district


@pytest.fixture
def district(_made: District, tmp_path: Path) -> Iterator[District]:
    """The district with a fresh state (and its secrets); its targets are shared: do not harm them."""
    state = StateDir(tmp_path / "state")
    shutil.copytree(_made.state.secrets, state.secrets)
    yield District(_made.home, state, _made.body, list(_made.points))


@pytest.fixture
def own_district(district: District, tmp_path: Path) -> District:
    """The same with targets of its own, which may be harmed."""
    for name in ("near", "far"):
        shutil.copytree(district.home / name, tmp_path / name)
    (tmp_path / "plans").mkdir()
    return District(tmp_path, district.state, district.body, list(district.points))
