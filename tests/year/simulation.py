"""A simulated time: real plans, the real due, lifecycle of a tick, chain and catalog; only what the verbs do is made up.

The clock goes from tick to tick. What a backup, a proof or a drill comes to is drawn from a seed; most go well.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dr.evidence.change import Change
from dr.evidence.fact import Fact
from dr.evidence.look import Look
from dr.evidence.record import BackupRun, CheckResult, Drill, ObjectivesThen, Proof, SourceCapture, TargetState
from dr.operations import due_work, run_due
from dr.operations.lifecycle import Finished
from dr.plan.declarations import Declarations, Loaded
from dr.plan.unchanged import Stamp, Unchanged
from dr.queries.expired import expired_now
from dr.session import Session
from dr.tools.state_dir import StateDir

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
TARGET = "disk"
_PLAN = """system: {system}
title: System {number}
owner: {{role: Data manager, contact: owner@district.example}}
objectives: {{rto: 2h, rpo: 26h}}
sources:
  data: {{files: {{paths: [{source}]}}}}
targets: [{target}]
cadence:
  backup: {backup}
  verify: every {day} at 03:{minute:02d}
  drill: cron {minute} 5 {date} * *
retention: {{last: 6, daily: 14, weekly: 8, monthly: 12, yearly: 1}}
drill: {{checks: [{{manifest: {{}}}}]}}
"""
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def digest(*parts: object) -> str:
    """64 hex digits that follow from the parts, as an id or a digest has."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class _Looked(Unchanged):
    """What a daemon keeps that looks every minute: from one tick of a simulation to the next no time passes for it."""

    def same(self, stamp: Stamp, *, now: datetime) -> Declarations | None:
        return super().same(stamp, now=self._at or now)


class _OneByOne(Session):
    """A session that does what it would do side by side in turn: a simulation is to be the same each time."""

    def each(self, items: Sequence[Loaded], act: Callable[[Loaded], Any], **_: Any) -> list[Any]:
        return [act(item) for item in items]


@dataclass
class Simulation:
    """Systems, their plans below `home`, and a clock."""

    home: Path
    systems: int
    seed: int = 1
    now: datetime = BEGIN
    folding: bool = True
    durable: bool = True  # whether each transaction is flushed to the disk, as it is outside of a simulation
    ticks: list[tuple[bool, float]] = field(default_factory=list)  # whether anything was due, and the CPU seconds
    half: dict[str, int] = field(default_factory=dict)  # `open_rows` after half of the time
    whole: dict[str, int] = field(default_factory=dict)  # and after all of it
    _unchanged: Unchanged = field(default_factory=_Looked)

    def declare(self) -> None:
        """Write the plans: one in twenty is backed up every four hours, the others once a day."""
        for folder in ("config/plans", "config/targets", "source"):
            (self.home / folder).mkdir(parents=True)
        (self.home / "config/targets/disk.yaml").write_text(f"target: {TARGET}\nlocal: {{path: {self.home}/disk}}\n")
        for number in range(self.systems):
            name = f"s-{number:04d}"
            often = number % 20 == 0
            backup = "every 4 hours" if often else f"every day at {number % 24:02d}:{number % 60:02d}"
            text = _PLAN.format(
                system=name, number=number, source=self.home / "source", target=TARGET, backup=backup,
                day=_DAYS[number % 7], minute=number % 60, date=number % 28 + 1,
            )  # fmt: skip
            (self.home / f"config/plans/{name}.yaml").write_text(text)

    def session(self) -> Session:
        """A new session at this moment, as each look of the daemon has."""
        session = _OneByOne(
            self.home / "config", StateDir(self.home / "state"), clock=lambda: self.now, unchanged=self._unchanged
        )
        if not self.durable:
            session.catalog._connections._connection().execute("pragma synchronous = off")
        return session

    def tick(self) -> int:
        """One look of the daemon; return how many runs it made."""
        session, began = self.session(), time.process_time()
        try:
            with _made_up(self):
                done = run_due.run_due(session)
        finally:
            session.close()
        assert not session.problems, session.problems
        made = len(done.backups) + len(done.proofs) + len(done.drills)
        self.ticks.append((bool(made), time.process_time() - began))
        return made

    def go(self, days: float, every: timedelta) -> None:
        """Tick for so many days, now and then twice, so that one finds nothing due."""
        until, number = self.now + timedelta(days=days), 0
        while self.now < until:
            self.tick()
            if number % 8 == 0:
                self.tick()
            self.now, number = self.now + every, number + 1

    @property
    def catalog_bytes(self) -> int:
        """How large the catalog is, its log left out: that is as large as the last transaction."""
        return (self.home / "state/catalog.sqlite").stat().st_size

    @property
    def open_rows(self) -> dict[str, int]:
        """By table how many rows lie open; `folded` and `chunks` are where the rest went."""
        with closing(sqlite3.connect(self.home / "state/catalog.sqlite")) as db:
            names = [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]
            return {name: db.execute(f"select count(*) from {name}").fetchone()[0] for name in names}

    @property
    def records(self) -> int:
        """How many records are on the chain."""
        rows = self.open_rows
        return rows["evidence"] + rows["folded"]

    # -- what the verbs come to -----------------------------------------------------------------------

    def run(self, session: Session, loaded: Loaded, verb: str) -> Fact:
        """Begin a run, end it as the dice say, put it on record, and note that the target has the record."""
        dice = random.Random(f"{self.seed} {loaded.plan.system} {verb} {self.now.isoformat()}")
        number = loaded.plan.system.rpartition("-")[2]  # all begin in the same second
        run_id = f"{verb}-{self.now:%Y%m%dT%H%M%SZ}-{number}{dice.randbytes(3).hex()}"
        session.begin(loaded, verb, run_id, started=self.now)
        made = {"backup": self._backup, "verify": self._proof, "drill": self._drill}[verb]
        fact = made(session, loaded, run_id, dice)
        session.catalog.record(fact)
        system = loaded.plan.system
        for record in session.catalog.unsent(system, TARGET):
            session.catalog.mark_sent(system, TARGET, record.seq)
        return fact

    def _backup(self, session: Session, loaded: Loaded, run_id: str, dice: random.Random) -> BackupRun:
        system, lot = loaded.plan.system, dice.random()
        failed, end = lot < 0.01, self.now + timedelta(seconds=dice.uniform(20, 400))
        snapshot, changed = digest(run_id), dice.randrange(200)
        source = SourceCapture(
            source="data", kind="files", outcome="failed" if failed else "ok",
            snapshot_id=None if failed else snapshot, files=9_000 + changed, bytes=10**9 + changed * 777,
            bytes_added=changed * 777, seconds=dice.uniform(10, 300), error="the source was not there" if failed else None,
            change=Change(
                files=9_000, before=9_000, changed=changed, added=dice.randrange(9), raw_added=changed * 777,
                sampled=20, processed=10**9,
            ),
        )  # fmt: skip
        state = TargetState(
            target=TARGET, outcome="ok", snapshots={} if failed else {"data": snapshot}, bytes_added=changed * 777
        )
        return BackupRun(
            run_id=run_id, system=system, outcome="failed" if failed else "ok", started=self.now, finished=end,
            consistency_time=self.now, complete=not failed, sources=(source,), targets=(state,),
            plan_digest=loaded.digest, versions=VERSIONS, suspect="much was changed" if 0.01 < lot < 0.0103 else None,
            looks=(Look(target=TARGET, at=self.now, repository=digest(system), config=digest(system, "config")),),
        )  # fmt: skip

    def _proof(self, session: Session, loaded: Loaded, run_id: str, dice: random.Random) -> Proof:
        gone = tuple(sorted(expired_now(session, loaded.plan)))
        held = [point.run_id for point in session.catalog.points([loaded.plan.system]) if point.run_id not in gone]
        end = self.now + timedelta(seconds=dice.uniform(20, 400))
        return Proof(
            run_id=run_id, system=loaded.plan.system, target=TARGET, outcome="ok", started=self.now, finished=end,
            level_asked=3, level_reached=3, objects=1_000 + dice.randrange(99), bytes=10**10, share="1/10",
            points=tuple(held), expired=gone, versions=VERSIONS, looks=(Look(target=TARGET, at=self.now, expired=gone),),
        )  # fmt: skip

    def _drill(self, session: Session, loaded: Loaded, run_id: str, dice: random.Random) -> Drill:
        point = next((each for each in session.catalog.points([loaded.plan.system], limit=9) if each.complete), None)
        failed = point is None or dice.random() < 0.03
        seconds = dice.uniform(60, 4000)
        check = CheckResult(
            check="manifest", source="data", mandatory=True, outcome="failed" if failed else "ok",
            expected="9,000 files as captured", observed="8,999 files" if failed else "9,000 files",
        )  # fmt: skip
        return Drill(
            drill_id=run_id, system=loaded.plan.system, scenario="system-loss", real=False,
            outcome="failed" if failed else "ok", t_loss=self.now, started=self.now,
            finished=self.now + timedelta(seconds=seconds), objectives=ObjectivesThen(rto_seconds=7200, rpo_seconds=93600),
            run_id=point.run_id if point else None, target=TARGET, consistency_time=point.consistency_time if point else None,
            rta_seconds=None if failed else seconds, rpa_seconds=3600.0, proof_level=0 if failed else 4, checks=(check,),
            phases={"provision": 0.5, "restore": seconds - 9.5, "verify": 9.0}, files=9_000, bytes=10**9,
            sources=("data",), plan_digest=loaded.digest, versions=VERSIONS, machine="2 cores, 8 GiB",
        )  # fmt: skip


VERSIONS = {"dr": "0.1.0", "restic": "0.18.0", "python": "3.11.2", "system": "Linux 6.1"}


@contextmanager
def _made_up(simulation: Simulation) -> Iterator[None]:
    """Let a tick make up what its verbs do; all else of it is real."""

    def one(verb: str) -> Callable[..., Any]:
        def act(session: Session, loaded: Loaded, *_: object, **__: object) -> Any:
            done = Finished(record=simulation.run(session, loaded, verb), exit_code=0)
            return [done] if verb == "verify" else done

        return act

    names: dict[str, Any] = {f"{verb}_one": one(verb) for verb in ("backup", "verify", "drill")}
    names["expire_due_of"] = lambda *_: []  # what goes by retention is told by the proofs
    if not simulation.folding:
        names["fold"] = lambda session: None
    owner = {name: run_due if name == "fold" else due_work for name in names}
    before = {name: getattr(owner[name], name) for name in names}
    try:
        for name, act in names.items():
            setattr(owner[name], name, act)
        yield
    finally:
        for name, act in before.items():
            setattr(owner[name], name, act)
