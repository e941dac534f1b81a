"""Which files there are, and in which versions, as a person asks for them: ls, find, diff."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dr.catalog.file_index import FileIndex
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from tests.conftest import Site


def _paths(documents: list[dict[str, Any]], site: Site) -> list[str]:
    return [each["path"].removeprefix(f"{site.root}/source/") for each in documents]


@pytest.fixture
def term(files_site: Site) -> Site:
    """Three points: a letter is written, changed and moved; a file of the folder `deep` is deleted last."""
    source = files_site.root / "source"
    files_site.dr("backup", "share")
    (source / "letter.txt").write_text("another letter\n")
    (source / "deep" / "file-0.bin").rename(source / "moved.bin")
    files_site.dr("backup", "share")
    (source / "deep" / "file-1.bin").unlink()
    (source / "deep" / "file-2.bin").chmod(0o600)
    files_site.dr("backup", "share")
    return files_site


def _points(site: Site) -> list[str]:
    """The run ids, the oldest first."""
    return [point["run_id"] for point in reversed(site.dr("points", "share", "--json").document["points"])]


def test_a_folder_of_a_point_is_listed_with_what_the_capture_saw(term: Site) -> None:
    told = term.dr("ls", "share", "--json").document
    assert told["point"] == _points(term)[-1]
    assert _paths(told["entries"], term) == ["deep", "letter.txt", "moved.bin"]
    assert _paths(term.dr("ls", "share", "deep", "--json").document["entries"], term) == [
        "deep/file-2.bin", "deep/file-3.bin", "deep/file-4.bin"
    ]  # fmt: skip
    (entry,) = term.dr("ls", "share", "deep/file-2.bin", "--json").document["entries"]
    assert (entry["kind"], entry["bytes"], entry["mode"], entry["source"], entry["acl"]) == (
        "file", 50_000, "0600", "docs", False
    )  # fmt: skip
    assert len(entry["sha256"]) == 64 and entry["modified"].endswith("Z")
    first = term.dr("ls", "share", f"{term.root}/source/deep", "--point", _points(term)[0], "--json").document
    assert len(first["entries"]) == 5
    assert "-rw-------" in term.dr("ls", "share", "deep").out


def test_versions_are_found_over_all_points_each_once(term: Site) -> None:
    one, two, three = _points(term)
    found = term.dr("find", "share", "letter.txt", "--all-versions", "--json").document["matches"]
    assert [each["points"] for each in found] == [[three, two], [one]]
    assert found[0]["sha256"] != found[1]["sha256"] and found[0]["first_seen"] > found[1]["last_seen"]
    (newest,) = term.dr("find", "share", "LETTER*", "-i", "--json").document["matches"]
    assert newest == found[0]
    (chmodded,) = term.dr("find", "share", "file-2.bin", "--all-versions", "--json").document["matches"]
    assert chmodded["points"] == [three, two, one], "another mode is no other version"
    gone = term.dr("find", "share", "deep/file-1*", "--json").document["matches"]
    assert [each["points"] for each in gone] == [[two, one]]
    assert term.dr("find", "share", "file-1.bin", "--since", "now", "--json", code=1).document["matches"] == []


def test_what_changed_is_told_and_what_moved_is_not_called_new(term: Site) -> None:
    one, two, three = _points(term)
    told = term.dr("diff", "share", "--json").document
    assert (told["from"], told["to"]) == (two, three)
    assert [(each["change"], *_paths([each], term)) for each in told["changes"]] == [
        ("removed", "deep/file-1.bin"), ("metadata", "deep/file-2.bin")
    ]  # fmt: skip
    changes = {each["path"]: each for each in term.dr("diff", "share", one, two, "--json").document["changes"]}
    source = f"{term.root}/source"
    assert changes.keys() == {f"{source}/letter.txt", f"{source}/moved.bin"}
    moved = changes[f"{source}/moved.bin"]
    assert (moved["change"], moved["moved_from"]) == ("moved", f"{source}/deep/file-0.bin")
    assert changes[f"{source}/letter.txt"]["change"] == "modified"
    assert term.dr("diff", "share", three, one, "--json").document["from"] == one, "the older first, however typed"
    text = term.dr("diff", "share", one).out
    assert "1 removed" in text and "1 moved" in text and "FOLDER" in text


def test_a_point_is_held_against_what_lies_there_now(term: Site) -> None:
    assert term.dr("diff", "share", "--live").out.endswith("nothing changed\n")
    (term.root / "source" / "letter.txt").write_text("overwritten\n")
    shutil.rmtree(term.root / "source" / "deep")
    told = term.dr("diff", "share", "--live", "--json").document
    assert told["to"] is None
    assert {each["change"] for each in told["changes"]} == {"modified", "removed"}
    assert {row["folder"]: row["removed"] for row in told["summary"]}[f"{term.root}/source/deep"] == 3


def test_the_index_is_made_again_from_the_targets_and_also_without_a_catalog(term: Site) -> None:
    before = term.dr("find", "share", "*", "--all-versions", "--json").document["matches"]
    shutil.rmtree(term.root / "state" / "index")
    assert term.dr("find", "share", "*", "--all-versions", "--json").document["matches"] == before
    shutil.rmtree(term.root / "disk")  # the primary is gone
    for name in ("index", "catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
        path = term.root / "state" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    term.dr("points", "--rebuild", code=None)
    again = term.dr("find", "share", "*", "--all-versions", "--json").document["matches"]
    assert [each["sha256"] for each in again] == [each["sha256"] for each in before]


def test_a_point_that_cannot_be_read_is_told_and_the_others_are_answered(term: Site) -> None:
    shutil.rmtree(term.root / "state" / "index")
    for target in ("disk", "vault"):
        (term.root / target / "share").rename(term.root / f"{target}-away")
    ran = term.dr("ls", "share", code=None)
    assert ran.code == 1 and "its manifest could not be read" in ran.err and "Traceback" not in ran.err
    for target in ("disk", "vault"):
        (term.root / f"{target}-away").rename(term.root / target / "share")
    assert len(term.dr("find", "share", "letter.txt", "--all-versions", "--json").document["matches"]) == 2


def test_names_that_are_no_text_and_names_with_newlines_are_listed(files_site: Site) -> None:
    folder = os.fsencode(files_site.root / "source")
    for name in (b"caf\xe9.txt", b"two\nlines", b"tab\there"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"x")
    files_site.dr("backup", "share")
    listed = _paths(files_site.dr("ls", "share", "--json").document["entries"], files_site)
    assert sorted(listed) == ["caf?.txt", "deep", "letter.txt", "tab\there", "two\nlines"]
    (match,) = files_site.dr("find", "share", "caf*", "--json").document["matches"]
    assert match["bytes"] == 1


def test_a_folder_of_many_entries_is_listed_as_they_come_and_an_empty_one_is_none(files_site: Site) -> None:
    (files_site.root / "source" / "empty").mkdir()
    files_site.dr("backup", "share")
    ran = files_site.dr("ls", "share", "empty")
    assert ran.out.count("\n") == 1 and ran.out.startswith("point ")
    assert files_site.dr("ls", "share", "empty", "--json").document["entries"] == []
    top, listed = os.fsencode(files_site.root / "source"), files_site.root / "listed"
    (run_id,) = _points(files_site)
    with FileIndex(files_site.state, "share") as index:
        index.forget_source("docs")
        names = (
            Entry(top + b"/%05d" % number, "file", number, "ab" * 32, 0o100644, mtime_ns=1) for number in range(2_500)
        )
        manifest.write(listed, {"source": "docs"}, names)
        index.take_in("docs", run_id, datetime.now(UTC), listed)
    lines = files_site.dr("ls", "share", str(files_site.root / "source")).out.splitlines()
    assert lines[1].startswith("MODE") and len(lines) == 2_502
    assert [line.rpartition("/")[2] for line in lines[2:]] == [f"{number:05d}" for number in range(2_500)]
    assert len(files_site.dr("ls", "share", "--json").document["entries"]) == 2_500
    told = files_site.dr("recover", "share", "--path", "01234", "--to", str(files_site.root / "to"), "--dry-run").out
    assert "1 files and folders" in told and "1.2 kB" in told


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["ls", "share", "no/such"], 1, "holds nothing at 'no/such' in docs"),
        (["ls", "share", "lettre.txt"], 1, "Names like it: letter.txt"),
        (["ls", "share", "--point", "x"], 2, "there is no recovery point 'x'"),
        (["ls", "share", "--source", "x"], 2, "no recovery point has a source 'x'"),
        (["ls", "share", "--at", "2020-01-01"], 1, "there is no recovery point of that time"),
        (["find", "share", "lettr.txt"], 1, "Names like it: letter.txt"),
        (["find", "share", "zzzz"], 1, "a part of a name needs stars"),
        (["diff", "share", "x"], 2, "'x' is neither a recovery point nor a time"),
        (["diff", "share"], 2, "there are no two recovery points to compare"),
        (["ls", "nothing"], 2, "there is no plan for the system 'nothing'"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(files_site: Site, typed: list[str], code: int, said: str) -> None:
    files_site.dr("backup", "share")
    ran = files_site.dr(*typed, code=code)
    assert said.lower() in ran.err.lower() and ran.err.count("\n") == 1, ran.err


def test_versions_that_expired_are_found_no_more(term: Site) -> None:
    plan = term.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text() + "retention: {last: 2, daily: 0, weekly: 0, monthly: 0, yearly: 0}\n")
    assert len(term.dr("find", "share", "letter.txt", "--all-versions", "--json").document["matches"]) == 2
    term.dr("verify", "share")
    term.dr("expire", "share", "--confirm-many")
    (left,) = term.dr("find", "share", "letter.txt", "--all-versions", "--json").document["matches"]
    assert left["points"] == list(reversed(_points(term)))


def test_a_database_is_not_compared_file_by_file(files_site: Site, tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "sis.db") as connection:
        connection.execute("create table t (a)")
    plan = files_site.root / "config" / "plans" / "share.yaml"
    plan.write_text(
        plan.read_text().replace("sources:\n", f"sources:\n  db: {{sqlite: {{path: {tmp_path}/sis.db}}}}\n")
    )
    files_site.dr("backup", "share")
    alone = files_site.dr("diff", "share", "--live", "--source", "db", code=2).err
    assert "a database is compared by `dr drill`" in alone and alone.count("\n") == 1
    assert "warning" in files_site.dr("diff", "share", "--live").err, "what is left out is told"
    assert files_site.dr("diff", "share", "--live", "--source", "docs").err == ""
