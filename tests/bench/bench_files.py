"""One file back, and asking for it: `dr ls`, `find` and `recover --path` against plain restic, in one run.

A repository of 100,000 files over S3, one of them of 1 MB: `first byte` is when that file has its first byte in the
directory, as somebody who waits for it sees it. Plain restic is told which key is its own, as `dr` knows it: to try the
other one too would cost it half a second. Then an index of 200,000 files over 100 points, against `restic find`
on a tenth of both; what taking a point in costs beside its backup; and a folder of a million entries.
Run: `python tests/bench/bench_files.py [FILES] [POINTS] [ENTRIES]`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from dr.catalog.file_index import FileIndex
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.tools.state_dir import StateDir
from scripts.servers.s3 import S3Server
from tests.bench.measure import dr, environment, interleaved, make_offsite, make_plan, restic, say, scratch

FILES = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
POINTS = int(sys.argv[2]) if len(sys.argv) > 2 else 100
ENTRIES = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
SIZE = 20_000
WANTED = "007/wanted.bin"
START = datetime(2026, 1, 1, tzinfo=UTC)


def make_files(top: Path, count: int, size: int) -> None:
    """So many files in 200 folders, and one of 1 MB."""
    rng = random.Random(1)
    for number in range(count):
        folder = top / f"{number % 200:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number:06d}.bin").write_bytes(rng.randbytes(size))
    (top / WANTED).write_bytes(rng.randbytes(1 << 20))


class Waited(NamedTuple):
    """The seconds until a file had a byte, until the program had ended, and of processors."""

    first: float
    end: float
    spent: float


def first_byte(argv: list[str], env: dict[str, str], file: Path) -> Waited:
    """Run a program; return how long somebody waits for a file."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, seen = time.monotonic(), 0.0
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while process.poll() is None and not seen:
            if file.exists() and file.stat().st_blocks:
                seen = time.monotonic() - began
            time.sleep(0.002)
        said = process.communicate()[0]
    if process.returncode or not file.is_file():
        raise SystemExit(f"{argv} ended with {process.returncode}: {said.decode()}")
    end, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return Waited(seen or end, end, spent)


def say_waited(title: str, ours: Sequence[Waited], theirs: Sequence[Waited]) -> None:
    """Print the ratio of the first bytes, and both waits to their end."""
    (mine, ended, spent), (other, other_ended, other_spent) = (
        [statistics.median(column) for column in zip(*each, strict=True)] for each in (ours, theirs)
    )
    say(title, mine, other, "≤ 1.1")
    print(
        f"to the end, with the record: {ended:.3f} s / {other_ended:.3f} s; {spent:.2f} CPU s / {other_spent:.2f} CPU s",
        flush=True,
    )


def over_s3(home: Path, server: S3Server) -> None:
    """One file, and the listing of a folder, out of a repository over S3."""
    source = home / "files"
    make_files(source, FILES, SIZE)
    server.client().create_bucket(Bucket="share")
    make_plan(home, "share", f"{{files: {{paths: [{source}]}}}}", targets="[offsite]")
    keys = make_offsite(home, server.endpoint, "share", server.access_key, server.secret_key)
    began = time.monotonic()
    dr(home, "backup", "share")
    took = time.monotonic() - began
    where, phrase = f"s3:{server.endpoint}/share/share", home / "state/secrets/share@offsite.passphrase"
    own_key = json.loads((home / "state/escrow/share@offsite.json").read_text("utf-8"))["own"]
    env = {**keys, "RESTIC_PASSWORD_FILE": str(phrase), "RESTIC_PASSWORD": "", "RESTIC_KEY_HINT": own_key}
    whole = environment(home) | env | {"RESTIC_REPOSITORY": where, "RESTIC_CACHE_DIR": str(home / "cache-plain")}
    whole.pop("RESTIC_PASSWORD")
    to, path = home / "to", str(source / WANTED)
    config = ["--config", str(home / "config"), "--state", str(home / "state")]

    waited: dict[str, list[Waited]] = {"ours": [], "theirs": []}

    def ours() -> None:
        argv = [sys.executable, "-m", "dr", *config, "recover", "share", "--path", path, "--to", str(to), "--yes"]
        waited["ours"].append(first_byte(argv, environment(home), to / "data" / path[1:]))
        shutil.rmtree(to)

    def theirs() -> None:
        argv = [whole["DR_RESTIC"], "restore", "latest", "--tag", "dr-source=data,dr-part=data", "--include", path]
        waited["theirs"].append(first_byte([*argv, "--target", str(to)], whole, to / path[1:]))
        shutil.rmtree(to)

    def theirs_ls() -> None:
        argv = [whole["DR_RESTIC"], "ls", "latest", "--tag", "dr-part=data", f"{source}/007"]
        subprocess.run(argv, env=whole, check=True, capture_output=True)

    acts = {"ours": ours, "theirs": theirs, "ls": lambda: dr(home, "ls", "share", "007"), "theirs_ls": theirs_ls}
    interleaved(1, **acts)
    waited = {"ours": [], "theirs": []}
    times = interleaved(7, **acts)
    size = f"{FILES * SIZE / 1e9:.1f} GB of {FILES:,} files over S3"
    say_waited(f"first byte of 1 MB, {size} / restic restore --include", waited["ours"], waited["theirs"])
    say(f"dr ls / restic ls, {FILES // 200:,} files of a folder", times["ls"], times["theirs_ls"], "≤ 0.3")
    index = home / "state" / "index"
    shutil.rmtree(index)
    listed = home / "listed"
    began = time.process_time()
    with FileIndex(StateDir(home / "again"), "share") as again:
        manifest.write(listed, {"source": "data"}, entries_of(FILES, 0))
        began = time.process_time()
        again.take_in("data", "first", START, listed)
        first = time.process_time() - began
        manifest.write(listed, {"source": "data"}, entries_of(FILES, 1))
        began = time.process_time()
        again.take_in("data", "second", START + timedelta(hours=1), listed)
        second = time.process_time() - began
    say(f"taking the first point of {FILES:,} files in / its backup", first, took, "≤ 0.03")
    say("taking the next in, 0.1 % changed / the first backup", second, took, "≤ 0.03")


def entries_of(count: int, point: int) -> Iterator[Entry]:
    """The files of one point; one in a thousand is another at each."""
    for number in range(count):
        version = point if number % 1000 == point % 1000 else 0
        path = f"/srv/share/{number % 200:03d}/file-{number:06d}.bin".encode()
        yield Entry(path, "file", SIZE, f"{version:032x}{number:032x}", 0o100644, mtime_ns=version + 1, inode=number)


def over_points(home: Path) -> None:
    """`dr find` over many points of 200,000 files, and `restic find` over snapshots of a hundredth of them."""
    count, listed = 2 * FILES, home / "listed"
    with FileIndex(StateDir(home / "many"), "share") as index:
        for point in range(POINTS):
            manifest.write(listed, {"source": "data", "point": point}, entries_of(count, point))
            index.take_in("data", f"run-{point}", START + timedelta(hours=point), listed)
        began = time.monotonic()
        found = sum(1 for _ in index.matching("*-000050.bin", whole=False, any_case=False))
        ours = time.monotonic() - began
    large = (home / "many/index/share/files.sqlite").stat().st_size
    print(f"find, {count:,} files × {POINTS} points: {ours:.3f} s (goal 0.3), {found} versions; {large / 1e6:.0f} MB")
    few, times_over, source = max(1, count // 10), max(2, POINTS // 10), home / "few"
    make_files(source, few, 100)
    make_plan(home, "few", f"{{files: {{paths: [{source}]}}}}", targets="[disk]")
    (home / "config/targets/disk.yaml").write_text(f"target: disk\nlocal: {{path: {home}/disk}}\n")
    for point in range(times_over):
        for folder in range(200):
            (source / f"{folder:03d}" / "changes.bin").write_text(str(point))
        dr(home, "backup", "few", "--quiet")
    phrase = {"RESTIC_PASSWORD_FILE": str(home / "state/secrets/few@disk.passphrase"), "RESTIC_PASSWORD": ""}
    with FileIndex(StateDir(home / "state"), "few") as index:
        acts = {
            "asked": lambda: sum(1 for _ in index.matching("file-000050.bin", whole=False, any_case=False)),
            "ours": lambda: dr(home, "find", "few", "file-000050.bin"),
            "theirs": lambda: restic(home, str(home / "disk/few"), "find", "file-000050.bin", env=phrase),
        }
        times = interleaved(3, **acts)
    size = f"{few:,} files × {times_over} points"
    say(f"dr find / restic find, whole commands, {size}", times["ours"], times["theirs"], "≤ 0.02")
    say("the question alone / restic find, the same", times["asked"], times["theirs"], "≤ 0.02")


def of_a_folder(home: Path) -> None:
    """`dr ls`, `find` and the choice of one file in a folder of a million entries: seconds and peak memory."""
    listed = home / "listed"
    make_plan(home, "wide", f"{{files: {{paths: [{home}/wide]}}}}", targets="[disk]")
    (home / "wide").mkdir()
    (home / "wide" / "one").write_text("one")
    dr(home, "backup", "wide")
    run_id = dr(home, "points", "wide", "--json").split('"run_id": "')[1].split('"')[0]
    top = os.fsencode(home / "wide")
    with FileIndex(StateDir(home / "state"), "wide") as index:
        index.forget_source("data")
        manifest.write(
            listed, {"source": "data"},
            (Entry(top + b"/%07d" % number, "file", 3, f"{number:064x}", 0o100644, mtime_ns=1) for number in range(ENTRIES)),
        )  # fmt: skip
        index.take_in("data", run_id, START, listed)
    for typed in (
        ("find", "wide", "0000100"),
        ("recover", "wide", "--path", f"{home}/wide/0000100", "--to", str(home / "out"), "--dry-run"),
        ("ls", "wide", str(home / "wide")),
        ("ls", "wide", str(home / "wide"), "--json"),
    ):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        dr(home, *typed)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        peak = used.ru_maxrss / 1024
        name = f"dr {typed[0]}{' --json' if '--json' in typed else ''}"
        print(
            f"{name} of {ENTRIES:,} entries: {seconds:.1f} CPU s, most memory so far {peak:.0f} MB",
            flush=True,
        )


def main() -> None:
    """Measure."""
    with scratch() as home:
        (home / "config" / "targets").mkdir(parents=True)
        over_points(home)
    with scratch() as home:
        (home / "config" / "targets").mkdir(parents=True)
        (home / "config/targets/disk.yaml").write_text(f"target: disk\nlocal: {{path: {home}/disk}}\n")
        of_a_folder(home)
    with scratch() as home, S3Server(home / "s3") as server:
        over_s3(home, server)


if __name__ == "__main__":
    main()
