"""What the watch over changes costs a backup: 20,000 files, unchanged and with 2,000 changed, with it and without.

Also: the board of 1,000 systems with and without a history of changes. Run: `python tests/bench/bench_change.py`.
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dr.catalog.store import Catalog
from dr.evidence.change import Change
from dr.evidence.record import BackupRun, SourceCapture, TargetState
from dr.tools.state_dir import StateDir
from tests.bench.measure import environment, interleaved, make_disk, make_plan, say, scratch

FILES, CHANGED, REPETITIONS = 20_000, 2_000, 9
_WITHOUT = """
import dr.run.backup.change as change
change.Watch.tree = lambda self, tree, stored: None
from dr.cli.main import main
from dr.tools.state_dir import StateDir
main()
"""
_WITH = "from dr.cli.main import main\nmain()\n"


def backup(home: Path, code: str) -> float:
    """Back up; return the processor seconds it took, which others at work on this machine do not lengthen."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    argv = [sys.executable, "-c", code, "--config", str(home / "config"), "--state", str(home / "state")]
    subprocess.run([*argv, "backup", "files"], env=environment(home), cwd=home, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def files(home: Path) -> None:
    """The backups."""
    chance, paths = random.Random(7), []
    for number in range(FILES):
        folder = home / "source" / f"{number % 200}"
        folder.mkdir(parents=True, exist_ok=True)
        paths.append(folder / f"{number}.{('jpg', 'docx', 'txt')[number % 3]}")
        begin = (b"\xff\xd8\xff\xe0", b"PK\x03\x04", b"words ")[number % 3]
        paths[-1].write_bytes(begin + (b"and more words " * 300 if number % 3 == 2 else os.urandom(6000)))
    make_disk(home)
    make_plan(home, "files", f"{{files: {{paths: [{home}/source]}}}}")
    backup(home, _WITH)

    def change() -> None:
        for path in chance.sample(paths, CHANGED):
            with path.open("ab") as file:
                file.write(b"%d" % chance.randrange(10**9))

    for title, prepare in ((f"{FILES:,} files unchanged", lambda: None), (f"{CHANGED:,} of them changed", change)):

        def measured(code: str, prepare=prepare) -> float:  # type: ignore[no-untyped-def]
            prepare()
            return backup(home, code)

        found = interleaved(REPETITIONS, ours=lambda: measured(_WITH), theirs=lambda: measured(_WITHOUT))
        say(f"backup with / without the watch, {title}, processor time", found["ours"], found["theirs"], "1.05")


def board(home: Path) -> None:
    """The board's sums, in this process."""
    systems, now = [f"system-{number}" for number in range(1000)], datetime.now(UTC)
    seconds = {}
    for kind in ("bare", "watched"):
        with Catalog.open(StateDir(home / kind)) as catalog:
            for system in systems:
                for day in range(10):
                    catalog.record(_run(system, day, now, watched=kind == "watched"))
            times = []
            for _ in range(7):
                began = time.monotonic()
                catalog.standings(systems, now=now, since=now - timedelta(days=30))
                times.append(time.monotonic() - began)
            seconds[kind] = statistics.median(times)
            if kind == "watched":
                began = time.monotonic()
                catalog.change_history("system-1", ["docs"], now=now)
                print(f"history of one source: {(time.monotonic() - began) * 1000:.1f} ms", flush=True)
    say("board of 1,000 systems with / without histories", seconds["watched"], seconds["bare"], "1.2")


def _run(system: str, day: int, now: datetime, *, watched: bool) -> BackupRun:
    at = now - timedelta(days=10 - day)
    change = Change(files=900, before=900, changed=12, sampled=12) if watched else None
    source = SourceCapture(source="docs", kind="files", outcome="ok", snapshot_id="0" * 64, change=change)
    suspect = "docs: 812 of 900 files changed" if watched and day == 9 and system.endswith("7") else None
    return BackupRun(
        run_id=f"{system}-{day}", system=system, outcome="ok", started=at, finished=at, consistency_time=at,
        complete=True, sources=(source,), suspect=suspect,
        targets=(TargetState(target="disk", outcome="ok", snapshots={"docs": "0" * 64}),),
    )  # fmt: skip


def main() -> None:
    """Measure all."""
    with scratch() as home:
        files(home)
    with scratch() as home:
        for kind in ("bare", "watched"):
            (home / kind).mkdir()
        board(home)


if __name__ == "__main__":
    main()
