"""Please bring back one file: files named by a person come back, proven by their hashes, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Site, plan_text

LETTER = "deep/letter to parents.txt"


@pytest.fixture
def term(files_site: Site) -> Site:
    """Two points, with two versions of a letter; a plan with hooks, a check of the system and a second source."""
    site, source = files_site, files_site.root / "source"
    other = site.root / "other"
    other.mkdir()
    (other / "letter.txt").write_text("of the other source\n")
    more = (
        "hooks: {restore: {before: {run: [touch, HOOKED]}, after: {run: [touch, HOOKED]}}}\n"
        "drill: {checks: [manifest, {file: {source: docs, path: 'deep/*.bin', expect: '>= 5'}}]}\n"
    ).replace("HOOKED", str(site.root / "hooked"))
    sources = (f"docs: {{files: {{paths: [{source}]}}}}", f"other: {{files: {{paths: [{other}]}}}}")
    site.plan("share", plan_text("share", *sources, more=more))
    (source / LETTER).write_text("the first version\n")
    site.dr("backup", "share")
    (source / LETTER).write_text("the second version\n")
    (source / LETTER).chmod(0o640)
    site.dr("backup", "share")
    return site


def _back(site: Site, to: Path, name: str = LETTER) -> Path:
    return to / "docs" / str(site.root / "source")[1:] / name


def _records(site: Site) -> int:
    return int(site.dr("audit", "--json").document["records"])


def test_one_file_comes_back_proven_and_is_no_drill_of_the_system(term: Site) -> None:
    to = term.root / "back"
    told = term.dr(
        "recover", "share", "--to", str(to), "--path", LETTER, "--because", "asked for by a teacher", "--yes", "--json"
    ).document["drills"][0]
    assert _back(term, to).read_text() == "the second version\n"
    assert stat.S_IMODE(_back(term, to).stat().st_mode) == 0o640
    assert [path for path in to.rglob("*") if path.is_file()] == [_back(term, to)], "nothing else, and no mark of ours"
    assert (told["outcome"], told["files"], told["scenario"], told["real"]) == ("ok", 1, "file-loss", True)
    assert [(check["check"], check["outcome"]) for check in told["checks"]] == [("manifest", "ok")]
    assert not (term.root / "hooked").exists(), "the system goes on: its hooks are not run"
    row = term.dr("status", "share", "--json", code=None).document["systems"][0]
    assert (row["last_drill"], row["rto_verdict"]) == (None, "unknown")
    report = term.dr("report", "--format", "json").out
    assert "asked for by a teacher" in report and "letter to parents" not in report
    listed = (term.root / "state" / "details" / f"{told['drill_id']}.txt").read_text()
    assert LETTER in listed and "brought back" in listed


def test_an_older_version_comes_back_by_its_point_and_by_its_time(term: Site) -> None:
    newest, first = (point["run_id"] for point in term.dr("points", "share", "--json").document["points"])
    old = next(p for p in term.dr("points", "share", "--json").document["points"] if p["run_id"] == first)
    for number, how in enumerate((["--point", first], ["--at", old["consistency_time"]])):
        to = term.root / f"back-{number}"
        term.dr("recover", "share", "--to", str(to), "--path", LETTER, *how, "--yes")
        assert _back(term, to).read_text() == "the first version\n", how
    assert newest != first


def test_folders_and_patterns_bring_back_what_they_match_of_each_source(term: Site) -> None:
    to = term.root / "back"
    term.dr("recover", "share", "--to", str(to), "--path", "deep", "--path", "letter*", "--yes")
    assert sorted(os.listdir(_back(term, to, "deep"))) == sorted(os.listdir(term.root / "source" / "deep"))
    assert _back(term, to, "letter.txt").read_text() == "a letter\n"
    assert (to / "other" / str(term.root / "other")[1:] / "letter.txt").is_file()
    one = term.root / "one"
    term.dr("recover", "share", "--to", str(one), "--path", "letter.txt", "--source", "other", "--yes")
    assert os.listdir(one) == ["other"]
    for number, all_of_it in enumerate(("/", ".")):
        everything = term.root / f"everything-{number}"
        term.dr("recover", "share", "--to", str(everything), "--path", all_of_it, "--source", "docs", "--yes")
        assert _back(term, everything).is_file() and len(os.listdir(_back(term, everything, "deep"))) == 6
    whole = term.root / "whole"
    term.dr("recover", "share", "--to", str(whole), "--path", f"{term.root}/source/**/file-[12].bin", "--yes")
    assert sorted(os.listdir(_back(term, whole, "deep"))) == ["file-1.bin", "file-2.bin"]


def test_what_lies_there_is_never_written_over_unless_it_is_said(term: Site) -> None:
    to = term.root / "back"
    _back(term, to).parent.mkdir(parents=True)
    _back(term, to).write_text("of somebody's own\n")
    asked = ("recover", "share", "--to", str(to), "--path", LETTER, "--yes")
    assert "the directory is not empty" in term.dr(*asked, code=2).err
    assert _back(term, to).read_text() == "of somebody's own\n"
    term.dr(*asked, "--force")
    assert _back(term, to).read_text() == "the second version\n"


def test_a_lost_primary_and_a_spoilt_copy_are_passed_over(term: Site) -> None:
    for pack in (term.root / "disk" / "share" / "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(bytes(pack.stat().st_size))
    to = term.root / "back"
    told = term.dr("recover", "share", "--to", str(to), "--path", LETTER, "--yes", "--json", code=None).document
    assert told["drills"][0]["target"] == "vault"
    assert _back(term, to).read_text() == "the second version\n"
    shutil.rmtree(term.root / "disk")
    shutil.rmtree(term.root / "state" / "index")
    again = term.root / "again"
    term.dr("recover", "share", "--to", str(again), "--path", LETTER, "--yes", code=None)
    assert _back(term, again).read_text() == "the second version\n"


def test_what_cannot_be_done_is_one_sentence_and_touches_nothing(term: Site) -> None:
    before, to = _records(term), term.root / "back"
    for typed, said in (
        (["--path", "deep/lettre to parents.txt"], "names like it: letter to parents.txt"),
        (["--path", "letter to parents.txt"], "elsewhere: see its whole path with `dr find share 'letter to"),
        (["--path", LETTER, "--replace", "x"], "loads no database"),
        (["--source", "docs"], "--source goes with --path"),
        (["--path", LETTER, "--source", "x"], "no recovery point has a source 'x'"),
        (["--path", LETTER, "--point", "x"], "x"),
        (
            ["--path", LETTER, "--to", str(term.root / "source" / "letter.txt" / "to")],
            "this is a file, not a directory",
        ),
    ):
        ran = term.dr("recover", "share", "--to", str(to), *typed, "--yes", code=2)
        assert said in ran.err.lower() and ran.err.count("\n") == 1, ran.err
    assert _records(term) == before and not to.exists()


def test_nothing_is_brought_back_into_a_repository(term: Site) -> None:
    kept = term.root / "disk" / "share"
    (term.root / "another name").symlink_to(kept / "data")
    for to in (kept, kept / "data" / "new" / "deep", term.root / "another name" / "new"):
        for typed in (("--path", LETTER, "--force"), ()):
            ran = term.dr("recover", "share", "--to", str(to), *typed, "--yes", code=2)
            assert f"{kept}: a repository of restic is here" in ran.err
    assert all(proof["damage"] == [] for proof in term.dr("verify", "share", "--json").document["proofs"])


def test_what_would_come_back_is_told_first(term: Site) -> None:
    asked = ("recover", "share", "--to", str(term.root / "back"), "--path", "deep", "--dry-run")
    assert "into" in term.dr(*asked).out and not (term.root / "back").exists()
    told = term.dr(*asked, "--json").document
    assert told["steps"][0].startswith("restore deep into ") and "19 B" not in json.dumps(told)
    assert "asks for confirmation" in term.dr(*asked[:-1], code=2).err


def test_links_and_special_rights_of_a_point_stay_within_the_directory(files_site: Site) -> None:
    source = files_site.root / "source"
    (source / "out").symlink_to("/etc")
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o4755)
    files_site.dr("backup", "share")
    to = files_site.root / "back"
    files_site.dr("recover", "share", "--to", str(to), "--path", "out", "--path", "tool", "--yes")
    link = _back(files_site, to, "out")
    assert link.is_symlink() and os.readlink(link) == "/etc", "as a link, followed by nobody"
    assert {path.name for path in to.rglob("*") if path.is_symlink() or path.is_file()} == {"out", "tool"}


def test_a_link_that_lies_in_the_directory_leads_nothing_out_of_it(files_site: Site) -> None:
    files_site.dr("backup", "share")
    to, outside = files_site.root / "back", files_site.root / "outside"
    outside.mkdir()
    _back(files_site, to, "deep").parent.mkdir(parents=True)
    _back(files_site, to, "deep").symlink_to(outside)
    for asked in (["--path", "deep"], ["--path", "deep/file-1.bin"], []):
        ran = files_site.dr("recover", "share", "--to", str(to), *asked, "--force", "--yes", code=1)
        assert "is a link there, and is not followed" in ran.err and not os.listdir(outside), asked


#: Tells which heavy libraries are loaded when restic is started to bring data.
_WATCHED = """
import sys
from dr.tools import command
start = command._start
def told(argv, **how):
    if "restore" in argv:
        print("loaded:", *sorted({"pydantic", "yaml", "boto3"} & sys.modules.keys()), file=sys.stderr)
    return start(argv, **how)
command._start = told
from dr.cli.main import main
main()
"""


def test_who_waits_for_one_file_in_a_bucket_waits_for_no_heavy_library(files_site: Site, s3, bucket: str) -> None:
    keys = files_site.root / "keys"
    keys.write_text(f"[default]\naws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret_key}\n")
    keys.chmod(0o644)
    where = f"endpoint: '{s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}"
    files_site.target("offsite", f"target: offsite\ns3: {{{where}}}\n")
    source = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
    files_site.plan("share", plan_text("share", source, targets="[offsite]"))
    files_site.dr("backup", "share")
    files_site.dr("ls", "share")  # what was read of the plan is kept from then on
    for number, (more, loaded) in enumerate(((["--path", "letter.txt"], ""), ([], " pydantic yaml"))):
        to = files_site.root / f"back-{number}"
        argv = files_site.argv("recover", "share", "--to", str(to), *more, "--yes")
        argv[1:3] = ["-c", _WATCHED]
        ran = subprocess.run(argv, env=files_site.env, cwd=files_site.root, capture_output=True, text=True, check=True)
        assert _back(files_site, to, "letter.txt").read_text() == "a letter\n"
        said = next(line for line in ran.stderr.splitlines() if line.startswith("loaded:"))
        assert said.rstrip() == f"loaded:{loaded}"
        assert ran.stderr.count(f"{keys} is open to everybody here") == 1, "told all the same"
