"""The record of a thousand systems: `dr audit`, `dr report`, `dr status` and a look of the daemon, by processor time.

100,000 runs lie open and none is folded: the worst there is. Run: `python tests/bench/bench_record.py`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dr.catalog import attempts, chain, derive
from dr.catalog.store import Catalog
from dr.evidence.fact import Fact
from dr.evidence.record import BackupRun, Drill, ObjectivesThen, Proof, SourceCapture, TargetState
from dr.evidence.seal import seal
from dr.operations.run_due import run_due
from dr.plan.unchanged import Unchanged
from dr.session import Session
from dr.tools.state_dir import StateDir
from tests.bench.bench_start import borgmatic
from tests.bench.measure import environment, make_disk, make_files, scratch
from tests.year.simulation import VERSIONS, digest

SYSTEMS, RUNS = 1_000, 98
_PLAN = (
    "system: {system}\nowner: {{role: Data manager, contact: owner@district.example}}\n"
    "objectives: {{rto: 2h, rpo: 26h}}\nsources:\n  data: {{files: {{paths: [{home}/source]}}}}\ntargets: [disk]\n"
    "cadence: {{backup: every day at 23:{minute:02d}, verify: every sunday at 03:{minute:02d}, drill: cron 0 5 1 * *}}\n"
    "drill: {{checks: [{{manifest: {{}}}}]}}\n"
)


def facts(now: datetime) -> Iterator[Fact]:
    """Ninety-eight backups of each system, the last of a minute ago, then a proof and a drill."""
    for back in range(RUNS, 0, -1):
        for number in range(SYSTEMS):
            yield _backup(number, back, now - timedelta(hours=2 * back) + timedelta(hours=2, minutes=-1))
    for number in range(SYSTEMS):
        system, at = f"s-{number:04d}", now - timedelta(minutes=1)
        yield Proof(run_id=f"verify-{number}", system=system, target="disk", outcome="ok", started=at, finished=at,
                    level_asked=3, level_reached=3, versions=VERSIONS)  # fmt: skip
        yield Drill(drill_id=f"drill-{number}", system=system, scenario="system-loss", real=False, outcome="ok",
                    t_loss=at, started=at, finished=at, rta_seconds=61.5, versions=VERSIONS,
                    objectives=ObjectivesThen(rto_seconds=7200, rpo_seconds=93600))  # fmt: skip


def _backup(number: int, back: int, at: datetime) -> BackupRun:
    snapshot = digest(number, back)
    source = SourceCapture(source="data", kind="files", outcome="ok", snapshot_id=snapshot, files=9_000 + back,
                           bytes=10**9 + back, bytes_added=back * 777, seconds=3.25 + back / 97)  # fmt: skip
    return BackupRun(
        run_id=f"run-{number:04d}-{back:04d}", system=f"s-{number:04d}", outcome="ok", started=at,
        finished=at + timedelta(seconds=20), consistency_time=at, complete=True, sources=(source,),
        targets=(TargetState(target="disk", outcome="ok", snapshots={"data": snapshot}),), plan_digest=digest(number),
        versions=VERSIONS,
    )  # fmt: skip


def fill(home: Path, now: datetime) -> None:
    """Put all on record in a hurry: as `Catalog.record` does, in one transaction."""
    with Catalog.open(StateDir(home / "state")) as catalog, catalog._connections.writing() as db:
        number, last = chain.head(db)
        for fact in facts(now):
            sealed = seal(seq=number + 1, prev=last, fact=fact)
            chain.put(db, sealed)
            chain.close_run(db, sealed, fact)
            derive.apply(db, fact)
            number, last = sealed.seq, sealed.digest


def declare(home: Path) -> None:
    """A thousand plans."""
    make_disk(home)
    make_files(home / "source", [1_000])
    (home / "config" / "plans").mkdir()
    for number in range(SYSTEMS):
        text = _PLAN.format(system=f"s-{number:04d}", home=home, minute=number % 60)
        (home / "config" / "plans" / f"s-{number:04d}.yaml").write_text(text)


def cost(home: Path, *argv: str) -> tuple[float, float, int]:
    """Run a program; return its processor seconds, its peak memory in MB, and the size of what it printed in MB."""
    out = home / "out"
    child = os.posix_spawn(
        argv[0], list(argv), environment(home),
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)],
    )  # fmt: skip
    _, status, used = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 4):
        raise SystemExit(f"{argv} ended with {status}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.stat().st_size // 1_000_000


def dr(home: Path, *arguments: str) -> tuple[float, float, int]:
    """What `dr` as typed costs."""
    config = ("--config", str(home / "config"), "--state", str(home / "state"))
    return cost(home, sys.executable, "-m", "dr", *config, *arguments)


def look(home: Path, unchanged: Unchanged) -> float:
    """Return the processor seconds of one look of the daemon that finds nothing due."""
    began = time.process_time()
    session = Session(home / "config", StateDir(home / "state"), unchanged=unchanged)
    try:
        done = run_due(session)
    finally:
        session.close()
    assert not (done.backups or done.proofs or done.drills)
    return time.process_time() - began


def more_runs(home: Path, times: int) -> None:
    """Put older runs into the index, so many times as there are."""
    with Catalog.open(StateDir(home / "state")) as catalog, catalog._connections.writing() as db:
        for number in range(times):
            db.execute(
                "insert into runs (run_id, verb, system, scenario, started, finished, outcome, process, plan_digest)"
                " select run_id || ?, verb, system, scenario, started - ?, finished, outcome, process, plan_digest"
                " from runs where seq is not null",
                (f"-{number}", (number + 1) * 9 * 86_400 * 10**6),
            )
        attempts.note(db, system="s-0000", verb="backup", scenario="")


def say(title: str, found: tuple[float, float, int], goal: str) -> None:
    """Print one row."""
    print(f"{title}: {found[0]:.1f} CPU s, {found[1]:.0f} MB of memory, prints {found[2]} MB (goal {goal})", flush=True)


def main() -> None:
    """Measure."""
    with scratch() as home:
        declare(home)
        fill(home, datetime.now(UTC))
        program = borgmatic(home)
        theirs = statistics.median(cost(home, program, "--version")[0] for _ in range(3))
        say("dr audit, 100,000 records", dr(home, "audit"), "6 s, 80 MB")
        say("dr status, 1,000 plans, read for the first time", dr(home, "status"), "4 s")
        say("dr status, 1,000 plans, again", dr(home, "status"), "")
        for form in ("html", "json"):
            say(f"dr report, all, 100,000 runs, {form}", dr(home, "report", "--format", form), "15 s, 150 MB")
        unchanged = Unchanged()
        look(home, unchanged)
        few = statistics.median(look(home, unchanged) for _ in range(5))
        more_runs(home, 9)
        many = statistics.median(look(home, unchanged) for _ in range(5))
        print(
            f"a look of the daemon, 1,000 systems and 100,000 runs: {few:.3f} CPU s; 1,000,000: {many:.3f} (goal 0.1)"
        )
        print(f"a look of the daemon / borgmatic --version: {many / theirs:.2f} (goal 0.3); {theirs:.2f} s", flush=True)


if __name__ == "__main__":
    main()
