"""A source of many files: what its manifest adds to a repository run by run, and the time and memory of a backup.

Processor seconds count `dr`, and the restic that it runs; memory is that of `dr` itself. Run:
`python tests/bench/bench_manifest.py`, or with the number of files of the largest tree: `… 50000`.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dr.evidence.manifest import Entry
from dr.run.backup.stored_manifest import StoredManifest, keep_parts
from tests.bench.measure import dr_used, make_disk, make_plan, restic_used, scratch
from tests.manifests import write_sorted

RUNS, CHANGED = 200, 0.001


def stored_bytes(home: Path, files: int) -> None:
    """Print the mean of what each of many runs adds, beside what one whole manifest takes."""
    chance, work, reuse = random.Random(1), home / "work", home / "reuse"
    reuse.mkdir()
    entries = [_entry(number, chance) for number in range(files)]
    added = []
    restic_used(home, "init")
    for run in range(RUNS + 1):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        listed = work / "dr-manifest"
        write_sorted(listed, {"source": "docs", "run": run}, entries)
        with StoredManifest("docs", reuse=reuse, work=work).laid(listed):
            added.append(restic_used(home, "backup", "dr-manifest", cwd=work).added)
        keep_parts("docs", reuse=reuse, work=work)
        listed.replace(reuse / "docs")
        for number in chance.sample(range(files), max(1, round(files * CHANGED))):
            entries[number] = _entry(number, chance)
    whole = added[0]
    mean = sum(added[1:]) / RUNS
    print(
        f"manifest bytes of a run with {CHANGED:.1%} changed, mean of {RUNS} runs / whole, {files:,} files: "
        f"{mean / whole:.4f} (goal 0.02); {mean:,.0f} / {whole:,} bytes; the first {added[1] / whole:.4f}",
        flush=True,
    )


def _entry(number: int, chance: random.Random) -> Entry:
    digest = hashlib.sha256(chance.randbytes(8)).hexdigest()
    path = b"/srv/share/%03d/document-%06d.dat" % (number % 500, number)
    now = 1_790_000_000_000_000_000 + chance.randrange(10**16)
    return Entry(path, "file", chance.randrange(10**6), digest, 0o100640, 1000, 1000, now, now + 7, number, 64_768)


def many(home: Path, files: int) -> None:
    """Print the processor seconds of a first and an unchanged backup of small files beside restic's, and the memory.

    At first each makes its repository.
    """
    make_small(home / "source", files)
    make_plan(home, "files", f"{{files: {{paths: [{home}/source]}}}}")
    make_disk(home)
    made = restic_used(home, "init").seconds
    title = f"dr backup / restic backup, {files:,} small files"
    for what, goal in (("first", "1.25"), ("unchanged", "1.4"), ("unchanged, again", "1.4")):
        theirs = restic_used(home, "backup", str(home / "source")).seconds + (made if what == "first" else 0)
        ours = dr_used(home, "backup", "files")
        print(
            f"{title}, {what}, processor: {ours.seconds / theirs:.2f} (goal {goal}); {ours.seconds:.1f} s, of "
            f"them {ours.own:.1f} s dr itself, / {theirs:.1f} s; memory of dr {ours.peak} MB (goal 150 MB)",
            flush=True,
        )

    with _stirring(home / "source" / "0000"):
        ours = dr_used(home, "backup", "files")
    print(
        f"{title}, while files come and go: {ours.seconds:.1f} s, of them {ours.own:.1f} s dr itself; memory of dr "
        f"{ours.peak} MB (goal 150 MB)",
        flush=True,
    )


@contextmanager
def _stirring(folder: Path) -> Iterator[None]:
    """Let files come to a folder meanwhile, and go."""
    over = threading.Event()

    def stir() -> None:
        for number in itertools.count():
            (folder / f"new-{number}").touch()
            (folder / f"new-{number - 3}").unlink(missing_ok=True)
            if over.wait(0.2):
                return

    thread = threading.Thread(target=stir)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def make_small(top: Path, files: int) -> None:
    """Files of up to 1.7 kB, 500 in a folder."""
    chance = random.Random(1)
    for number in range(files):
        folder = top / f"{number // 500:04d}"
        if number % 500 == 0:
            folder.mkdir(parents=True)
        (folder / f"document-{number:06d}.dat").write_bytes(chance.randbytes(200 + number % 1500))


def main() -> None:
    """Measure all."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    with scratch() as home:
        stored_bytes(home, most // 5)
    for files in (most // 5, most):
        with scratch() as home:
            many(home, files)


if __name__ == "__main__":
    main()
