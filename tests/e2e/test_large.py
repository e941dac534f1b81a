"""What is larger than the disk of drills: refused with the numbers before it begins, or drilled by a sample."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr.run.recovery.place.side_by_side import Claim, SideBySide
from dr.run.recovery.place.space import Disk
from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from tests.conftest import Site, plan_text
from tests.databases import STUDENTS, mysql_database, postgres_database, source_of
from tests.waiting import LIMIT, soon


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of `size` with a path that is short enough for the sockets of servers."""
    at = Path(tempfile.mkdtemp(prefix="dr-", dir="/tmp"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", at], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)
        at.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_databases_larger_than_the_disk_are_refused_before_they_are_loaded(
    site: Site, postgres: PostgresServer, mariadb: MariadbServer
) -> None:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    students = STUDENTS["mysql"]
    with postgres_database(postgres, STUDENTS["postgres"]) as one, mysql_database(mariadb, students) as two:
        sources = {"sis": source_of(postgres, f"database: {one}"), "library": source_of(mariadb, f"database: {two}")}
        with small_disk("3m") as small:
            for system, source in sources.items():
                more = f"drill: {{sandbox: {small}}}\n"
                site.plan(system, plan_text(system, source, targets="[disk]", more=more))
            site.dr("backup", "--all")
            drills = site.dr("--json", "drill", "--all", code=1).document["drills"]
            for drill in drills:
                assert "the disk is too small" in drill["error"] and f"available at {small}" in drill["error"], drill
                assert "(ESTIMATE) for the databases of database" in drill["error"], drill
                assert drill["sandbox"] == "destroyed" and drill["files"] == 0 and list(small.iterdir()) == []
            assert len(drills) == 2
            subprocess.run(["mount", "-o", "remount,size=2g", small], check=True)
            site.dr("drill", "--all")
            assert list(small.iterdir()) == [], "where there is room, all of it lies there, and is taken away"


def test_a_drill_of_a_sample_is_told_as_one_everywhere_and_goes_on_in_turn(site: Site) -> None:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    top, rng = site.root / "srv", random.Random(5)
    for number in range(120):
        place = top / f"{number % 6}" / f"{number // 12 % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"photo {number} $HOME ").write_bytes(rng.randbytes(1_000))
    elsewhere = site.root / "drills"
    more = (
        f"drill: {{sample: 70KB, sandbox: {elsewhere}, checks: [manifest, {{file: {{source: data, path: '**'}}}}]}}\n"
    )
    site.plan("sis", plan_text("sis", f"data: {{files: {{paths: [{top}]}}}}", targets="[disk]", more=more))
    site.dr("backup", "sis")
    missing = site.dr("drill", "sis", code=1)
    assert "the directory for sandboxes is not there" in missing.err and "drill: {sandbox" in missing.err
    elsewhere.mkdir()
    before, turned, files = "0" * 16, 0.0, 0
    while turned < 1:
        told = site.dr("drill", "sis", "--json").document["drills"][0]
        sampled = told["sampled"]
        assert sampled["begin"] == before and sampled["bytes"] <= 70_000 and sampled["of_files"] == 120, sampled
        assert told["files"] == sampled["files"] and told["rto_verdict"] == "unknown", told
        assert {check["check"]: check["outcome"] for check in told["checks"]} == {"manifest": "ok", "file": "skipped"}
        before, turned, files = sampled["end"], turned + sampled["turn"], files + sampled["files"]
    assert files >= 120 and list(elsewhere.iterdir()) == []
    text = site.dr("drill", "sis").out
    assert "sampled    " in text and "of 120 files" in text and "ESTIMATE for the whole" in text, text
    report = site.dr("report", "--system", "sis", "--format", "md").out
    assert "In part" in report and "chosen by age" in report and "Not measured" in report, report
    (row,) = site.dr("status", "sis", "--json").document["systems"]
    assert row["rto_verdict"] == "unknown"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_sample_that_does_not_fit_is_refused_with_its_numbers_before_anything_is_brought(site: Site) -> None:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    top = site.root / "srv"
    top.mkdir()
    for number in range(40):
        (top / f"photo-{number}").write_bytes(random.Random(number).randbytes(20_000))
    with small_disk("256k") as small:
        for sample, code in (("500KB", 1), ("100KB", 0)):
            more = f"drill: {{sample: {sample}, sandbox: {small}, checks: [manifest]}}\n"
            site.plan("sis", plan_text("sis", f"data: {{files: {{paths: [{top}]}}}}", targets="[disk]", more=more))
            if code:
                site.dr("backup", "sis")
            (drill,) = site.dr("--json", "drill", "sis", code=code).document["drills"]
            assert list(small.iterdir()) == []
            if code:
                assert "the disk is too small" in drill["error"] and f"available at {small}" in drill["error"], drill
                assert "800 kB" not in drill["error"] and drill["files"] == 0, "the numbers are those of the sample"
    assert 0 < drill["sampled"]["bytes"] <= 100_000 and drill["outcome"] == "ok", "the negative control"


def test_restores_that_do_not_fit_together_take_turns_in_the_order_in_which_they_came() -> None:
    disk, shared, order = Disk("1", "/srv", 100), SideBySide(None, 10), list[str]()
    first_goes_on, first_is_in = threading.Event(), threading.Event()

    def restore(name: str, size: int) -> None:
        with shared.held(Claim(disks={disk: size}, memory=1)):
            order.append(name)
            if name == "first":
                first_is_in.set()
                assert first_goes_on.wait(LIMIT)

    threads = [threading.Thread(target=restore, args=("first", 60))]
    threads[0].start()
    assert first_is_in.wait(LIMIT)
    for number, (name, size) in enumerate((("large", 60), ("small", 5), ("too large for ever", 10**6)), 1):
        threads.append(threading.Thread(target=restore, args=(name, size)))
        threads[-1].start()
        assert soon(lambda number=number: len(shared._waiting) == number)
    assert order == ["first"]
    first_goes_on.set()
    for thread in threads:
        thread.join(LIMIT)
    assert order[0] == "first" and set(order[1:3]) == {"large", "small"} and order[3] == "too large for ever"
