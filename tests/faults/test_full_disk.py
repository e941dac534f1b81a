"""A full disk, wherever it is: one clear error, nothing recorded as whole, and the next run is well again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.servers.postgres import PostgresServer
from tests.conftest import Site, plan_text
from tests.databases import postgres_database, source_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")

FIXED = "(its file system is read-only)"


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[None]:
    """A file system of `size` at `at`."""
    at.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", at], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def _fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill a file system but for `leave` bytes; return the file that does."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            file.truncate(max(0, file.tell() - leave))
    return ballast


def _says_full(site: Site, text: str) -> bool:
    """Whether a text speaks of a full disk; the name of a test, in its paths, does not count."""
    bare = text.replace(str(site.root), "")
    return any(word in bare for word in ("space", "full"))


def test_a_full_target_is_said_and_the_other_target_has_the_point(files_site: Site) -> None:
    site = files_site
    (site.root / "source" / "big.bin").write_bytes(os.urandom(8_000_000))
    with small_disk(site.root / "vault", "3m"):
        ran = site.dr("backup", "share", "--json", code=3)
        run = ran.document["runs"][0]
        assert [(t["target"], t["outcome"]) for t in run["targets"]] == [("disk", "ok"), ("vault", "failed")]
        assert _says_full(site, ran.err)
        assert site.dr("points", "--json").document["points"][0]["targets"] == ["disk"]
        subprocess.run(["mount", "-o", "remount,size=64m", site.root / "vault"], check=True)
        again = site.dr("backup", "share", "--json", code=None).document["runs"][0]
        assert "vault" in [t["target"] for t in again["targets"] if t["outcome"] == "ok"]
        assert site.dr("drill", "share", "--target", "vault", "--json").document["drills"][0]["outcome"] == "ok"
    gone = site.dr("backup", "share", "--json", code=3)
    assert [(t["target"], t["outcome"]) for t in gone.document["runs"][0]["targets"]] == [
        ("disk", "ok"),
        ("vault", "failed"),
    ]
    assert "the repository is gone" in gone.err, "a disk that is not mounted is never begun again below its mount point"


def test_a_state_that_cannot_be_written_is_said_with_what_mends_it(files_site: Site) -> None:
    site = files_site
    site.dr("backup", "share")
    state, known = site.root / "state", site.dr("points", "--json").document["points"]
    subprocess.run(["mount", "--bind", state, state], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", state], check=True)
        for typed in ("backup share", "drill share", "points --rebuild", "keys rotate share", "daemon --once", "run"):
            told = site.dr(*typed.split(), code=1).err
            assert told == f"dr: {state}: the state directory cannot be written {FIXED}. Mount it for writing\n", typed
        assert "Mount it for writing" in site.dr("doctor", code=1).err
        for typed in ("status", "points share", "audit", "report --format md", "keys list", "hold --list"):
            ran = site.dr(*typed.split())
            assert f"cannot be written {FIXED}: what is told is as it was" in ran.err, typed
            assert ran.out, typed
        assert site.dr("points", "--json").document["points"] == known, "what was written last, its log included"
        new = site.dr("status", "--state", str(state / "new"), code=1).err
        assert "cannot be made (Read-only file system). Mount it for writing; or name another with --state" in new
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def test_a_state_whose_disk_the_kernel_made_read_only_amid_a_run_is_said_and_the_board_still_tells(
    files_site: Site,
) -> None:
    """Such a file system still says of itself that it takes writes."""
    site, disk = files_site, files_site.root / "state"
    shutil.rmtree(disk, ignore_errors=True)
    with _failing_disk(disk) as fail:
        site.dr("backup", "share")
        known = site.dr("points", "--json").document["points"]
        hook = f"hooks: {{capture: {{before: [sh, -c, 'echo x > {fail}']}}}}\n"
        site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", more=hook))
        told = site.dr("backup", "share", code=1).err
        assert "its file system is read-only" in told and "mount it for writing" in told
        assert site.dr("backup", "share", code=1).err.count(FIXED) == 1
        ran = site.dr("points", "--json")
        assert ran.document["points"] == known and FIXED in ran.err


@contextmanager
def _failing_disk(at: Path) -> Iterator[Path]:
    """A file system of its own; who writes into the file that is lent has Linux find it damaged."""
    image = at.with_name("image")
    with image.open("wb") as file:
        file.truncate(64 << 20)
    at.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-e", "remount-ro", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, at], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        source = subprocess.run(["findmnt", "-no", "SOURCE", at], check=True, capture_output=True, text=True).stdout
        shutil.rmtree(at / "lost+found")
        at.chmod(0o700)
        yield Path("/sys/fs/ext4") / Path(source.strip()).name / "trigger_fs_error"
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def test_a_full_state_disk_is_one_clear_error_and_the_chain_stays_whole(files_site: Site) -> None:
    site = files_site
    with small_disk(site.root / "state", "4m"):
        site.dr("backup", "share")
        ballast = _fill(site.root / "state")
        for arguments in (("backup", "share"), ("drill", "share"), ("verify", "share"), ("run",)):
            ran = site.dr(*arguments, code=None)
            assert ran.code == 1, (arguments, ran.code, ran.err)
            assert _says_full(site, ran.err), (arguments, ran.err)
        for verb in ("status", "points", "audit"):
            assert "its disk is full" in site.dr(verb).err
        ballast.unlink()
        assert site.dr("audit", "--json").document["outcome"] == "ok"
        assert site.dr("backup", "share", "--json", code=None).document["runs"][0]["outcome"] == "ok"
        assert site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok"
        assert site.dr("audit", "--json").document["outcome"] == "ok"


def test_a_cache_may_be_a_disk_of_its_own(files_site: Site) -> None:
    site = files_site
    with small_disk(site.root / "state" / "cache", "16m"):
        for _ in range(2):
            assert site.dr("backup", "share", "--json").document["runs"][0]["outcome"] == "ok"
        (listed,) = (site.root / "state" / "cache").rglob("docs")
        assert listed.is_file() and not list(listed.parent.glob(".*"))


def test_a_full_cache_never_makes_half_a_point(files_site: Site) -> None:
    site = files_site
    site.dr("backup", "share")
    shutil.rmtree(site.root / "state" / "cache")
    with small_disk(site.root / "state" / "cache", "1m"):
        ballast = _fill(site.root / "state" / "cache")
        for number in range(20):
            (site.root / "source" / f"new-{number}").write_bytes(os.urandom(20_000))
        ran = site.dr("backup", "share", "--json", code=None)
        run = ran.document["runs"][0]
        points = {point["run_id"]: point for point in site.dr("points", "--json").document["points"]}
        if ran.code in (0, 3):  # the cache is a help, not a need
            assert points[run["run_id"]]["complete"]
            assert site.dr("drill", "share", "--json", code=None).document["drills"][0]["run_id"] == run["run_id"]
        else:
            assert run["run_id"] not in points or not points[run["run_id"]]["complete"]
            assert _says_full(site, ran.err), ran.err
        ballast.unlink()
    assert site.dr("backup", "share", "--json", code=None).document["runs"][0]["outcome"] == "ok"
    assert site.dr("verify", "share", "--level", "2", "--json").document["proofs"][0]["outcome"] == "ok"


def test_a_sandbox_that_fills_fails_the_drill_and_is_destroyed(files_site: Site) -> None:
    site = files_site
    (site.root / "source" / "big.bin").write_bytes(os.urandom(6_000_000))
    site.dr("backup", "share")
    with small_disk(site.root / "state" / "sandboxes", "8m"):
        _fill(site.root / "state" / "sandboxes", leave=2_000_000)
        drill = site.dr("drill", "share", "--json", code=1).document["drills"][0]
        assert drill["outcome"] == "failed" and drill["rta_seconds"] is None
        assert _says_full(site, drill["error"]) or "too small" in drill["error"]
        assert set(os.listdir(site.root / "state" / "sandboxes")) <= {"ballast", ".lock"}
    assert site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok"


@pytest.mark.parametrize("leave", ["0", "1MB"])
def test_a_scratch_server_whose_disk_fills_fails_the_drill_with_a_sentence_that_names_the_disk(
    files_site: Site, postgres: PostgresServer, leave: str
) -> None:
    """Where something is left the server says that it cannot extend a file, or no more than that it went away."""
    site, small = files_site, files_site.root / "small"
    fill = f"dd if=/dev/zero of={small}/ballast bs=64k 2>/dev/null; truncate -s -{leave} {small}/ballast"
    more = f"drill: {{sandbox: {small}}}\nhooks: {{restore: {{before: [sh, -c, '{fill}']}}}}\n"
    large = "create table large as select repeat('x', 500) as text from generate_series(1, 9000)"
    with postgres_database(postgres, large) as name, small_disk(small, "200m"):
        small.chmod(0o755)
        site.plan("share", plan_text("share", source_of(postgres, f"database: {name}"), more=more))
        site.dr("backup", "share")
        drill = site.dr("drill", "share", "--json", code=1).document["drills"][0]
        assert drill["outcome"] == "failed" and drill["sandbox"] == "destroyed"
        assert "the disk is full: " in drill["error"] and f"B left at {small}" in drill["error"]
        assert [path.name for path in small.iterdir()] == ["ballast"]


def test_a_dump_larger_than_the_state_disk_streams_through(files_site: Site) -> None:
    """A command's output is never laid down whole on this machine."""
    site = files_site
    dump = "dump: {command: {run: [sh, -c, 'head -c 30000000 /dev/urandom'], filename: out.bin}}"
    site.plan("share", plan_text("share", dump, targets="[disk]"))
    with small_disk(site.root / "state", "8m"):
        assert site.dr("backup", "share", "--json").document["runs"][0]["outcome"] == "ok"
