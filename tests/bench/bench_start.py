"""Start-up: `dr --help` and `dr status` against `borgmatic --version`; and the board of 1,000 systems, 100,000 runs.

borgmatic is installed into a scratch environment of its own. Run: `python tests/bench/bench_start.py`.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dr.catalog.store import Catalog
from dr.evidence.record import BackupRun, SourceCapture, TargetState
from dr.tools.state_dir import StateDir
from tests.bench.measure import dr, interleaved, make_disk, make_files, make_plan, say, scratch

SYSTEMS, RUNS = 1_000, 100


def borgmatic(home: Path) -> str:
    """Install borgmatic; return its program."""
    subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
    pip = [str(home / "venv" / "bin" / "pip"), "install", "-qq", "--disable-pip-version-check", "borgmatic"]
    subprocess.run(pip, check=True)
    return str(home / "venv" / "bin" / "borgmatic")


def start(home: Path) -> None:
    """Three systems, as a small district has."""
    make_disk(home)
    for system in ("one", "two", "three"):
        make_files(home / "sources" / system, [1_000] * 3)
        make_plan(home, system, f"{{files: {{paths: [{home}/sources/{system}]}}}}")
    dr(home, "backup", "--all")
    program = borgmatic(home)
    dr(home, "run")  # from then on nothing is due
    found = interleaved(
        11,
        help=lambda: dr(home, "--help"),
        status=lambda: dr(home, "status"),
        idle=lambda: dr(home, "run"),
        theirs=lambda: subprocess.run([program, "--version"], check=True, stdout=subprocess.DEVNULL),
    )
    say("dr --help / borgmatic --version", found["help"], found["theirs"], "0.2")
    say("dr status / borgmatic --version", found["status"], found["theirs"], "0.35")
    say("dr run, nothing due / borgmatic --version", found["idle"], found["theirs"], "0.3")


def many(home: Path) -> None:
    """The board of 1,000 systems with 100 runs each."""
    make_disk(home)
    make_files(home / "source", [1_000])
    now = datetime.now(UTC)
    with Catalog.open(StateDir(home / "state")) as catalog:
        for number in range(SYSTEMS):
            make_plan(home, f"s-{number:04d}", f"{{files: {{paths: [{home}/source]}}}}")
        catalog._connections._connection().execute("pragma synchronous = off")  # a scratch catalog, made in a hurry
        for back in range(RUNS, 0, -1):
            for number in range(SYSTEMS):
                catalog.record(_run(number, back, now))
    dr(home, "status")  # reads the thousand plans once; from then on only those that changed
    found = interleaved(5, status=lambda: dr(home, "status"))
    print(f"dr status, 1,000 systems, 100,000 runs: {found['status']:.2f} s (goal 1 s)", flush=True)


def _run(number: int, back: int, now: datetime) -> BackupRun:
    at = now - timedelta(hours=2 * back - 1)
    snapshot = f"{number:032x}{back:032x}"
    return BackupRun(
        run_id=f"run-{number:04d}-{back:04d}", system=f"s-{number:04d}", outcome="ok", started=at,
        finished=at + timedelta(minutes=1), consistency_time=at, complete=True,
        targets=(TargetState(target="disk", outcome="ok", snapshots={"data": snapshot}),),
        sources=(SourceCapture(source="data", kind="files", outcome="ok", snapshot_id=snapshot, bytes=9),),
    )  # fmt: skip


def main() -> None:
    """Measure."""
    with scratch() as home:
        start(home)
    with scratch() as home:
        many(home)


if __name__ == "__main__":
    main()
