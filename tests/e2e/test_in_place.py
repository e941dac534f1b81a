"""Files go back where they were: what lies there is shown first, kept beside, and never half of anything."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from dr.evidence.manifest import Entry
from dr.run.recovery.place.live import Judged, LivePlace
from tests.conftest import Site, plan_text

LETTER = "deep/letter to parents.txt"


@pytest.fixture
def share(files_site: Site) -> Site:
    """One point of a share; a second source on it, of a database's dump."""
    source = files_site.root / "source"
    (source / LETTER).write_text("of the point\n")
    (source / LETTER).chmod(0o640)
    (source / "deep" / "link").symlink_to("file-1.bin")
    (source / "deep").chmod(0o750)
    dump = "dump: {command: {run: [echo, rows], filename: dump.sql}}"
    files_site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{source}]}}}}", dump))
    files_site.dr("backup", "share")
    return files_site


def _asked(*paths: str, more: tuple[str, ...] = ("--yes",)) -> tuple[str, ...]:
    named = [word for path in paths for word in ("--path", path)]
    return ("recover", "share", "--in-place", "--source", "docs", *named, *more)


def _kept(of: Path) -> list[Path]:
    return [path for path in of.parent.iterdir() if path.name.startswith(f"{of.name}.before-recovery-")]


def _left(site: Site) -> list[str]:
    """What of ours lies among the files."""
    return [path.name for path in (site.root / "source").rglob("*") if path.name.endswith((".new", ".old"))]


def test_what_would_be_overwritten_is_shown_and_nobody_there_to_agree_is_a_refusal(share: Site) -> None:
    letter, gone = share.root / "source" / LETTER, share.root / "source" / "letter.txt"
    letter.write_text("of today\n")
    gone.unlink()
    (share.root / "source" / "deep" / "file-2.bin").chmod(0o600)
    records = share.dr("audit", "--json").document["records"]
    ran = share.dr(*_asked("**", more=()), code=12)
    assert "nobody is there to say it" in ran.err and "--dry-run" in ran.err
    told = share.dr(*_asked("**", more=("--dry-run",))).out
    assert "1 overwritten, each kept beside" in told and str(letter) in told
    assert "1 not there now" in told and str(gone) in told
    assert "other owner, mode or ACL" in told and "file-2.bin" in told
    document = share.dr(*_asked("**", more=("--dry-run", "--json"))).document
    assert [each["path"] for each in document["in_place"]["overwritten"]] == [str(letter)]
    assert document["in_place"]["same"] >= 5
    assert letter.read_text() == "of today\n" and not gone.exists() and not _kept(letter)
    assert share.dr("audit", "--json").document["records"] == records


def test_files_come_back_as_they_were_and_what_they_overwrite_stays_beside(share: Site) -> None:
    source = share.root / "source"
    letter, link, rights = source / LETTER, source / "deep" / "link", source / "deep" / "file-2.bin"
    letter.write_text("of today\n")
    letter.chmod(0o604)
    link.unlink()
    link.symlink_to("/etc/passwd")
    rights.chmod(0o600)
    untouched = (source / "deep" / "file-3.bin").stat()
    told = share.dr(*_asked("deep", more=("--yes", "--because", "asked for by a clerk", "--json"))).document["drills"][
        0
    ]
    assert (told["outcome"], told["in_place"], told["real"]) == ("ok", True, True)
    assert letter.read_text() == "of the point\n" and stat.S_IMODE(letter.stat().st_mode) == 0o640
    (kept,) = _kept(letter)
    assert kept.name.endswith(f".before-{told['drill_id']}")
    assert kept.read_text() == "of today\n" and stat.S_IMODE(kept.stat().st_mode) == 0o604
    assert os.readlink(link) == "file-1.bin" and os.readlink(_kept(link)[0]) == "/etc/passwd"
    assert stat.S_IMODE(rights.stat().st_mode) == 0o644 and not _kept(rights), "its content is the same"
    again = (source / "deep" / "file-3.bin").stat()
    assert (again.st_ino, again.st_ctime_ns) == (untouched.st_ino, untouched.st_ctime_ns)
    assert [check["outcome"] for check in told["checks"]] == ["ok", "ok"], "in the sandbox, and where it lies"
    listed = (share.root / "state" / "details" / f"{told['drill_id']}.txt").read_text()
    assert f"overwritten, kept as {kept.name}" in listed
    report = share.dr("report", "--format", "json").out
    assert "asked for by a clerk" in report and "letter to parents" not in report
    assert "nothing to put back" in share.dr(*_asked("deep")).out and len(_kept(letter)) == 1
    assert not _left(share) and not any((share.root / "state" / "sandboxes").glob("recovery-*"))


def test_a_folder_that_is_gone_comes_back_with_its_rights_for_one_file_in_it(share: Site) -> None:
    source = share.root / "source"
    shutil.rmtree(source / "deep")
    share.dr(*_asked(LETTER))
    assert sorted(os.listdir(source / "deep")) == [Path(LETTER).name]
    assert stat.S_IMODE((source / "deep").stat().st_mode) == 0o750
    shutil.rmtree(source)
    share.dr(*_asked(str(source)))
    assert sorted(os.listdir(source)) == ["deep", "letter.txt"] and len(os.listdir(source / "deep")) == 7


def test_a_link_or_another_kind_in_the_way_is_refused_and_never_followed(share: Site) -> None:
    source, outside = share.root / "source", share.root / "outside"
    shutil.copytree(source / "deep", outside)
    (outside / Path(LETTER).name).write_text("of somebody else\n")
    shutil.rmtree(source / "deep")
    (source / "deep").symlink_to(outside)
    records = share.dr("audit", "--json").document["records"]
    ran = share.dr(*_asked(LETTER), code=2)
    assert "deep on its way is a link now, and not followed" in ran.err and "nothing was touched" in ran.err
    (source / "deep").unlink()
    (source / "deep").mkdir()
    (source / LETTER).mkdir()
    assert "it was a file, and is a folder now" in share.dr(*_asked(LETTER), code=2).err
    shutil.move(source, share.root / "source.old")
    share.root.joinpath("source").write_text("")
    assert "cannot be put back" in share.dr(*_asked(LETTER), code=2).err
    assert (outside / Path(LETTER).name).read_text() == "of somebody else\n"
    assert share.dr("audit", "--json").document["records"] == records


def test_a_folder_that_cannot_be_written_is_told_before_anybody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    gone = Entry(os.fsencode(tmp_path / "deep" / "further" / "letter.txt"), "file", 3, "0" * 64)
    with LivePlace([str(tmp_path)]) as place:
        assert place.judge(gone).standing == "absent"
        monkeypatch.setattr(os, "access", lambda *_, **__: False)
        assert place.judge(gone) == Judged("blocked", f"{tmp_path}/deep cannot be written")


def test_what_does_not_go_together_is_one_sentence(share: Site) -> None:
    for typed, said in (
        (("--in-place",), "--in-place goes with --path"),
        (("--in-place", "--path", "deep", "--to", "x"), "it goes with no other place"),
        (("--path", "deep"), "say where to recover to"),
        (("--in-place", "--path", "*"), "the source dump is not one of files"),
    ):
        ran = share.dr("recover", "share", *typed, "--yes", code=2)
        assert said in ran.err and ran.err.count("\n") == 1, ran.err


def test_files_of_a_source_that_was_renamed_in_the_plan_come_back_into_a_directory_alone(share: Site) -> None:
    plan = share.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text().replace("docs:", "papers:"))
    letter = share.root / "source" / LETTER
    letter.write_text("of today")
    ran = share.dr("recover", "share", "--path", str(letter), "--in-place", "--yes", code=2)
    assert "the plan has no source docs" in ran.err and "Declare it again as it was" in ran.err
    told = share.dr("recover", "share", "--path", str(letter), "--to", str(share.root / "out"), "--yes", "--json")
    assert told.document["drills"][0]["outcome"] == "ok", "that another source is not in the point concerns it not"


def test_while_a_backup_runs_files_come_back_and_the_backup_ends_well(share: Site) -> None:
    letter, fifo = share.root / "source" / LETTER, share.root / "fifo"
    os.mkfifo(fifo)
    docs = f"docs: {{files: {{paths: [{share.root}/source]}}}}"
    share.plan("share", plan_text("share", docs, f"dump: {{command: {{run: [cat, {fifo}], filename: dump.sql}}}}"))
    with share.start("backup", "share") as backup:
        with fifo.open("w") as rows:  # opens once the backup reads it
            letter.write_text("of today\n")
            share.dr(*_asked(LETTER))
            share.dr("recover", "share", "--path", LETTER, "--to", str(share.root / "to"), "--yes")
            rows.write("rows\n")
        assert backup.wait() in (0, 3), backup.communicate()
    assert letter.read_text() == "of the point\n"
    assert [path.read_text() for path in (share.root / "to").rglob("letter*") if path.is_file()] == ["of the point\n"]


def test_names_that_are_no_text_go_back_and_a_hold_is_told(share: Site) -> None:
    source = os.fsencode(share.root / "source")
    name = source + b"/caf\xe9 \n.txt"
    with open(name, "wb") as file:
        file.write(b"of the point")
    share.dr("backup", "share")
    with open(name, "wb") as file:
        file.write(b"of today")
    share.dr("hold", "place", "share", "--reason", "a request for records")
    ran = share.dr(*_asked("caf? *.txt"))
    assert "it is under the hold" in ran.err and "a request for records" not in ran.err
    with open(name, "rb") as file:
        assert file.read() == b"of the point"
    assert len([each for each in os.listdir(source) if each.startswith(b"caf\xe9")]) == 2


def test_stopped_by_a_person_what_is_there_is_whole_and_the_record_says_so(share: Site) -> None:
    letter = share.root / "source" / LETTER
    letter.write_text("of today\n")
    stopped = replace(share, also=("tests.e2e.killing",))
    records = share.dr("audit", "--json").document["records"]
    assert "stopped on request" in stopped.dr(*_asked("deep"), code=130, KILL_AT="1", KILL_WITH="INT").err
    assert letter.read_text() in ("of today\n", "of the point\n") and not _left(share)
    share.dr(*_asked("deep"))
    assert letter.read_text() == "of the point\n"
    assert share.dr("audit", "--json").document["records"] == records + 2, "one that was aborted, one that was not"
    assert not any((share.root / "state" / "sandboxes").glob("recovery-*"))


@pytest.mark.parametrize("how", [{}, {"ANOTHER_DISK": "yes", "NO_LINKS": "yes"}])
def test_killed_at_any_step_there_is_the_old_file_or_the_new_one_and_the_next_run_ends_it(
    share: Site, how: dict[str, str]
) -> None:
    letter = share.root / "source" / LETTER
    killed = replace(share, also=("tests.e2e.killing",))
    for step in itertools.count(1):
        letter.write_text("of today\n")
        ran = killed.dr(*_asked(LETTER), code=None, KILL_AT=str(step), **how)
        assert letter.read_text() in ("of today\n", "of the point\n"), step
        kept = _kept(letter)
        assert {path.read_text() for path in kept} <= {"of today\n"}, "what is kept is whole, too"
        if letter.read_text() == "of the point\n":
            assert len(kept) == 1
        for path in kept:
            path.unlink()
        if ran.code == 0:
            break
        assert ran.code == -signal.SIGKILL, ran.err
    assert step > 3 and letter.read_text() == "of the point\n"
    assert not _left(share), "the half of a file that a killed run left beside"
    assert not any((share.root / "state" / "sandboxes").glob("recovery-*"))
