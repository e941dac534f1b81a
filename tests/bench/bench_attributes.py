"""What the list of ACLs and extended attributes costs a backup of 100,000 files, against one that does not look.

Both are the same program; the other's reader is put out of work. First, and unchanged; the least processor time of
several runs of the program and its children, which other programs on the machine disturb least. Run: `python tests/bench/bench_attributes.py`.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from dr.plan.source_kinds import FilesSource
from dr.sources import files
from dr.sources.attributes import digest_here
from tests.bench.measure import environment, interleaved_best, make_disk, make_files, make_plan, say, scratch

REPETITIONS = int(os.environ.get("BENCH_REPETITIONS", "3"))
_BLIND = "import dr.sources.files as files; files.digest_here = lambda path: None\n"
_RUN = "from dr.cli.main import main; main()"


def backup(home: Path, *, state: str, blind: bool) -> float:
    """Back up, and return the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    argv = [sys.executable, "-c", (_BLIND if blind else "") + _RUN, "--config", str(home / "config"), "--state",
            str(home / state), "backup", "files"]  # fmt: skip
    done = subprocess.run(argv, env=environment(home), cwd=home, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"dr backup ended with {done.returncode}: {done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def first(home: Path, *, blind: bool) -> float:
    """Nothing is there before."""
    for name in ("disk", "state"):
        shutil.rmtree(home / name, ignore_errors=True)
    return backup(home, state="state", blind=blind)


def alone(home: Path) -> None:
    """The reading alone, in this process: what nothing else on the machine hides."""
    paths = [os.fsencode(path) for path in (home / "source").rglob("*.bin")]
    began = time.process_time()
    for path in paths:
        digest_here(path)
    each = (time.process_time() - began) / max(1, len(paths))
    print(f"reading ACLs and attributes: {each * 1e6:.1f} µs a file", flush=True)


def capture(home: Path, *, blind: bool) -> float:
    """Capture and settle in this process, without restic, whose own seconds differ by more; return processor seconds."""
    work = home / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    files.digest_here = (lambda path: None) if blind else digest_here
    began = time.process_time()
    files.Files("data", FilesSource(paths=(str(home / "source"),))).capture(work, None).settle()
    return time.process_time() - began


def main() -> None:
    """Measure both."""
    many = int(os.environ.get("BENCH_FILES", "100000"))
    with scratch() as home:
        make_files(home / "source", [2_000] * many)
        make_plan(home, "files", f"{{files: {{paths: [{home}/source]}}}}")
        make_disk(home)
        alone(home)
        found = interleaved_best(
            REPETITIONS + 2, ours=lambda: capture(home, blind=False), without=lambda: capture(home, blind=True)
        )
        say(f"the capture alone, without restic, {many:,} files", found["ours"], found["without"], "1.05")
        found = interleaved_best(
            REPETITIONS, ours=lambda: first(home, blind=False), without=lambda: first(home, blind=True)
        )
        say(
            f"backup with ACLs and attributes / without, first, {many:,} files",
            found["ours"],
            found["without"],
            "1.05",
        )
        found = interleaved_best(
            REPETITIONS,
            ours=lambda: backup(home, state="state", blind=False),
            without=lambda: backup(home, state="state", blind=True),
        )
        say(f"the same, unchanged, {many:,} files", found["ours"], found["without"], "1.05")


if __name__ == "__main__":
    main()
