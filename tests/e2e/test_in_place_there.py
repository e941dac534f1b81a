"""Files of another host go back where they were: shown first, hashed there, kept beside, and never half of anything."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.servers.sshd import Sshd
from tests.conftest import Site, plan_text

ODD = b"-caf\xe9 \n 'x.txt"


@pytest.fixture
def share(files_site: Site, sshd: Sshd) -> Site:
    """One point of a share on another host."""
    source = files_site.root / "source"
    (source / "letter.txt").write_text("of the point\n")
    (source / "letter.txt").chmod(0o640)
    (source / "deep" / "link").symlink_to("file-1.bin")
    (source / "deep").chmod(0o750)
    with open(os.fsencode(source) + b"/deep/" + ODD, "wb") as odd:
        odd.write(b"of the point")
    with suppress(OSError):  # of a file system that has no such
        os.setxattr(source / "letter.txt", "user.told", b"of the point")
    files_site.plan("share", _plan(files_site, sshd))
    files_site.dr("backup", "share")
    return replace(files_site, also=("tests.e2e.killing",))


def _plan(site: Site, sshd: Sshd) -> str:
    host = f"host: {{ssh: '{sshd.address}', known_hosts: '{sshd.known_hosts}', key: '{sshd.key}'}}"
    return plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}, {host}}}", targets="[disk]")


def _asked(*paths: str, more: tuple[str, ...] = ("--yes",)) -> tuple[str, ...]:
    return ("recover", "share", "--in-place", *(word for path in paths for word in ("--path", path)), *more)


def _kept(of: Path) -> list[Path]:
    return [path for path in of.parent.iterdir() if path.name.startswith(f"{of.name}.before-recovery-")]


def _left(site: Site) -> list[str]:
    """What of ours lies among the files."""
    return [path.name for path in (site.root / "source").rglob("*") if path.name.endswith((".new", ".old"))]


def test_files_of_another_host_are_shown_and_put_back_there(share: Site) -> None:
    source = share.root / "source"
    letter, link, rights = source / "letter.txt", source / "deep" / "link", source / "deep" / "file-2.bin"
    shutil.rmtree(source / "deep")
    told = share.dr(*_asked(".", more=("--dry-run",))).out
    assert "8 not there now" in told and "2 the same already" in told, told
    letter.write_text("of today\n")
    letter.chmod(0o604)
    assert "nobody is there to say it" in share.dr(*_asked(".", more=()), code=12).err
    told = share.dr(*_asked(".", more=("--yes", "--json"))).document["drills"][0]
    assert (told["outcome"], told["in_place"]) == ("ok", True), told
    assert [check["outcome"] for check in told["checks"]] == ["ok", "ok"], "in the sandbox, and where it lies"
    assert letter.read_text() == "of the point\n" and stat.S_IMODE(letter.stat().st_mode) == 0o640
    assert os.listxattr(letter) == os.listxattr(_kept(letter)[0]), "what it was given is there again"
    (kept,) = _kept(letter)
    assert kept.name.endswith(f".before-{told['drill_id']}") and kept.read_text() == "of today\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o604 and os.readlink(link) == "file-1.bin"
    assert stat.S_IMODE((source / "deep").stat().st_mode) == 0o750 and len(os.listdir(source / "deep")) == 7
    with open(os.fsencode(source) + b"/deep/" + ODD, "rb") as odd:
        assert odd.read() == b"of the point"
    untouched = (source / "deep" / "file-3.bin").stat()
    assert "nothing to put back" in share.dr(*_asked(".")).out
    link.unlink()
    link.symlink_to("/etc/passwd")
    rights.chmod(0o600)
    share.dr(*_asked("deep"))
    assert os.readlink(link) == "file-1.bin" and os.readlink(_kept(link)[0]) == "/etc/passwd"
    assert stat.S_IMODE(rights.stat().st_mode) == 0o644 and not _kept(rights), "its content is the same"
    again = (source / "deep" / "file-3.bin").stat()
    assert (again.st_ino, again.st_ctime_ns) == (untouched.st_ino, untouched.st_ctime_ns)
    assert not _left(share) and not any((share.root / "state" / "sandboxes").glob("recovery-*"))


def test_what_arrives_there_as_something_else_and_what_is_in_the_way_is_not_put_back(share: Site) -> None:
    source, outside = share.root / "source", share.root / "outside"
    letter, deep = source / "letter.txt", source / "deep"
    letter.write_text("of today\n")
    ran = share.dr(*_asked("letter.txt"), code=1, SPOIL="yes")
    assert letter.read_text() == "of today\n" and not _kept(letter) and not _left(share), ran.err
    assert (
        "1 name of docs not put back: what arrived there is not what was sent"
        in share.dr("report", "--format", "json").out
    )
    shutil.copytree(deep, outside)
    (deep / "file-1.bin").unlink()
    share.dr(*_asked("deep/file-1.bin"), code=1, LINK_AT="1", LINKED=str(deep))
    assert not (deep / "file-1.bin").exists(), "a link that came after everybody had agreed is not followed either"
    ran = share.dr(*_asked("deep/file-1.bin"), code=2)
    assert "deep on its way is a link now, and not followed" in ran.err and "nothing was touched" in ran.err
    deep.unlink()
    deep.write_text("a file")
    assert "deep on its way is no folder now" in share.dr(*_asked("deep/file-1.bin"), code=2).err
    assert not _left(share)


def test_killed_at_any_step_the_old_file_is_there_or_the_new_one_and_the_next_run_ends_it(share: Site) -> None:
    letter, step = share.root / "source" / "letter.txt", 0
    for step in range(1, 9):
        letter.write_text("of today\n")
        ran = share.dr(*_asked("letter.txt"), code=None, KILL_AT=str(step))
        assert letter.read_text() in ("of today\n", "of the point\n"), step
        assert {path.read_text() for path in _kept(letter)} <= {"of today\n"}, "what is kept is whole, too"
        for path in _kept(letter):
            path.unlink()
        if ran.code == 0:
            break
        assert ran.code == -signal.SIGKILL, ran.err
    letter.write_text("of today\n")
    assert "stopped on request" in share.dr(*_asked("letter.txt"), code=130, KILL_AT="2", KILL_WITH="INT").err
    assert letter.read_text() == "of today\n" and not _left(share), "who stops it finds nothing half made"
    share.dr(*_asked("letter.txt"))
    assert step > 2 and letter.read_text() == "of the point\n"
    assert not _left(share), "the half of a file that a killed run left there"
    assert not any((share.root / "state" / "sandboxes").glob("recovery-*"))


def test_a_host_that_runs_no_programs_or_is_away_is_told_before_anything_is_touched(
    share: Site, tmp_path: Path
) -> None:
    letter = share.root / "source" / "letter.txt"
    letter.write_text("of today\n")
    records = share.dr("audit", "--json").document["records"]
    with Sshd(tmp_path / "sshd", more="ForceCommand internal-sftp") as files_only:
        share.plan("share", _plan(share, files_only))
        ran = share.dr(*_asked("letter.txt"), code=1)
        assert "does not run commands" in ran.err and "with --to" in ran.err, ran.err
    ran = share.dr(*_asked("letter.txt"), code=1)
    assert "it cannot be reached" in ran.err and ran.err.count("\n") == 1, ran.err
    assert share.dr("audit", "--json").document["records"] == records and letter.read_text() == "of today\n"


@pytest.mark.slow
def test_after_a_lost_connection_it_is_looked_what_was_done_and_gone_on(share: Site) -> None:
    source = share.root / "source"
    letter, link = source / "letter.txt", source / "deep" / "link"
    letter.write_text("of today\n")
    link.unlink()
    link.symlink_to("/etc/passwd")
    (source / "deep" / "file-1.bin").write_bytes(b"of today")
    (source / "deep" / ODD.decode("utf-8", "surrogateescape")).unlink()
    ran = share.dr(*_asked(".", more=("--yes", "--json")), CUT="LINK:before UNPACK:after TAKE:after")
    assert ran.err.count("was lost; trying again") == 3, ran.err
    drill = ran.document["drills"][0]
    assert drill["outcome"] == "ok", drill
    told = [event["text"] for event in drill["events"] if "in its place" in event["text"]]
    assert told and "1 brought back; 3 overwritten" in told[0], told
    assert letter.read_text() == "of the point\n" and os.readlink(link) == "file-1.bin"
    kept = [*_kept(letter), *_kept(source / "deep" / "file-1.bin")]
    assert [path.read_text().strip() for path in kept] == ["of today"] * 2 and len(_kept(link)) == 1
    assert os.readlink(_kept(link)[0]) == "/etc/passwd"
    assert not _left(share) and not any((share.root / "state" / "sandboxes").glob("recovery-*"))
    shutil.rmtree(source / "deep")
    ran = share.dr(*_asked("deep"), CUT="MKDIR:after DRESS:after TAKE:before KEPT:after")
    assert ran.err.count("was lost; trying again") == 4, ran.err
    assert stat.S_IMODE((source / "deep").stat().st_mode) == 0o750 and len(os.listdir(source / "deep")) == 7
