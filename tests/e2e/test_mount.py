"""Recovery points as folders: where FUSE is there their files are read through it, elsewhere one sentence says why not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Site, plan_text
from tests.forked import Running
from tests.waiting import LIMIT, soon

READY = "Press Ctrl-C to unmount.\n"


@pytest.fixture
def term(files_site: Site) -> Site:
    """Two whole points with two versions of a letter, and a later one without the output of its command."""
    site, source = files_site, files_site.root / "source"
    said = site.root / "said"
    command = f"said: {{command: {{run: [cat, {said}], filename: said.txt}}}}"
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{source}]}}}}", command))
    said.write_text("as the command said\n")
    for version in ("first", "second"):
        (source / "letter.txt").write_text(f"the {version} version\n")
        site.dr("backup", "share")
    said.unlink()
    site.dr("backup", "share", code=1)
    return site


@pytest.fixture
def held(files_site: Site) -> Site:
    """One point."""
    files_site.dr("backup", "share")
    return files_site


@pytest.fixture
def at(site: Site) -> Iterator[Path]:
    """A directory for the mount; nothing is mounted there in the end, whatever a test did."""
    place = site.root / "mounted"
    place.mkdir()
    yield place
    if _listed(place):
        subprocess.run(["fusermount", "-u", "-z", place / ".repository"], check=True, timeout=LIMIT)


def _listed(place: Path) -> bool:
    return str(place) in Path("/proc/self/mountinfo").read_text()


def _plain_restic_mounts(site: Site, at: Path) -> bool:
    """Whether restic alone can mount here: the other pair of eyes."""
    secret = next((site.root / "state" / "secrets").glob("share@disk*"))
    env = {**site.env, "RESTIC_REPOSITORY": str(site.root / "disk" / "share"), "RESTIC_PASSWORD_FILE": str(secret)}
    running = subprocess.Popen([site.env["DR_RESTIC"], "mount", "--no-lock", at], env=env)
    try:
        return soon(lambda: _listed(at) or running.poll() is not None) and _listed(at)
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(timeout=LIMIT)


def _mounted(site: Site, *arguments: str | Path) -> tuple[Running, str]:
    """Start `dr mount`; return it with what it told, once it is mounted or has ended."""
    running = site.start("mount", "share", *map(str, arguments))
    assert running.stdout is not None
    told = ""
    while not told.endswith(READY) and (line := running.stdout.readline()):
        told += line
    return running, told


def _ended(running: Running, how: int = signal.SIGINT) -> tuple[int, str]:
    running.send_signal(how)
    _, err = running.communicate(timeout=LIMIT)
    return running.returncode, err


def test_points_are_folders_whose_files_are_as_they_were_or_one_sentence_says_what_is_missing(
    term: Site, at: Path
) -> None:
    running, told = _mounted(term, at, "--because", "asked for by a teacher")
    if not told.endswith(READY):
        _, err = running.communicate(timeout=LIMIT)
        assert running.returncode == 1 and "FUSE" in err.upper() and err.count("\n") == 1, err
        assert "dr recover SYSTEM --path" in err and list(at.iterdir()) == []
        assert not _plain_restic_mounts(term, at), "restic alone can mount here, so we must"
        return
    points = term.dr("points", "share", "--json").document["points"]
    newest, second, first = (point["run_id"] for point in points)
    names = {each for each in os.listdir(at) if not each.startswith(".")}
    assert names == {first, second, f"{newest}.incomplete", "latest"} and os.readlink(at / "latest") == second
    inner = str(term.root / "source")[1:]
    for run_id, version in ((first, "first"), (second, "second"), ("latest", "second")):
        assert (at / run_id / "docs" / inner / "letter.txt").read_text() == f"the {version} version\n"
    for path in (term.root / "source" / "deep").iterdir():
        assert (at / "latest" / "docs" / inner / "deep" / path.name).read_bytes() == path.read_bytes()
    assert (at / first / "said" / "said.txt").read_text() == "as the command said\n"
    assert not (at / f"{newest}.incomplete" / "said").exists()
    with pytest.raises(OSError, match="Read-only"):
        (at / "latest" / "docs" / inner / "letter.txt").write_text("of an attacker\n")
    assert "in use by another `dr mount`" in term.dr("mount", "share", str(at), code=11).err
    assert _ended(running) == (0, "")
    assert list(at.iterdir()) == [] and not _listed(at)
    report = term.dr("report", "--format", "json").out
    assert "asked for by a teacher" in report and "3 recovery points on disk mounted" in report


def test_what_a_killed_mount_left_is_cleared_by_the_next_one(held: Site, at: Path) -> None:
    newest = held.dr("points", "share", "--json").document["points"][0]["run_id"]
    running, told = _mounted(held, at, "--point", newest, "--target", "vault")
    if not told.endswith(READY):
        running.communicate(timeout=LIMIT)
        assert running.returncode == 1 and list(at.iterdir()) == []
        return
    restic = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    running.send_signal(signal.SIGSTOP)
    for pid in (*map(int, restic), running.pid):
        os.kill(pid, signal.SIGKILL)
    running.communicate(timeout=LIMIT)
    assert (at / ".dr-mount").exists() and _listed(at), "nobody serves what is listed"
    again, told = _mounted(held, at, "--point", newest, "--target", "vault")
    assert told.endswith(READY) and "share on vault" in told
    assert {each for each in os.listdir(at) if not each.startswith(".")} == {newest, "latest"}
    (at / newest).chmod(0o700)
    (at / newest / "own").write_text("of somebody's own\n")
    code, err = _ended(again, signal.SIGTERM)
    assert code == 1 and "files are here that `dr mount` did not put here" in err and not _listed(at)
    assert (at / newest / "own").read_text() == "of somebody's own\n"


def test_what_cannot_be_is_one_sentence_and_touches_nothing(held: Site) -> None:
    full, new, records = held.root / "full", held.root / "new", held.dr("audit", "--json").document["records"]
    full.mkdir()
    (full / "own").touch()
    for typed, code, said in (
        ([full], 2, "the directory is not empty"),
        ([full / "own"], 2, "this is a file, not a directory"),
        ([new / "deep"], 2, "there is no such directory"),
        ([held.root / "source" / "deep" / "new"], 2, "lies in what share backs up"),
        ([new, "--point", "x"], 2, "share has no recovery point 'x'"),
        ([new, "--target", "x"], 2, "has no target 'x'"),
    ):
        ran = held.dr("mount", "share", *map(str, typed), code=code)
        assert said in ran.err and ran.err.count("\n") == 1, ran.err
    (bare := held.root / "bare").mkdir()
    ran = held.dr("mount", "share", str(new), "--json", code=1, PATH=str(bare))
    (error,) = ran.document["errors"]
    assert "`fusermount`, which is not on this machine" in error["what"] and "fuse3" in error["hint"]
    assert not new.exists() and os.listdir(full) == ["own"] and json.loads(ran.out)["command"] == "mount"
    assert held.dr("audit", "--json").document["records"] == records, "nothing was shown, and nothing is on record"
