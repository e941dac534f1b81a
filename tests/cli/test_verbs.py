"""Verbs that were options have names; the old spellings still do the same, and end the same."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from typing import Any

import pytest

from tests.cli.test_complete import answers
from tests.conftest import Site

#: What no two runs have in common: ids, times, digests.
_OWN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}|\d{4}-\d\d-\d\d[T ][\d:.]+Z?|[0-9a-f]{64}|(?<=-)[0-9a-f]{6}\b")


def same(value: Any) -> Any:
    """Return a document without what no two runs have in common."""
    if isinstance(value, dict):
        return {key: same(each) for key, each in value.items()}
    if isinstance(value, list):
        return [same(each) for each in value]
    return _OWN.sub("…", value) if isinstance(value, str) else value


@pytest.fixture
def twins(files_site: Site) -> tuple[Site, Site]:
    """Two sites that are alike, so that each does once what is done once."""
    files_site.target("cellar", f"target: cellar\nlocal: {{path: {files_site.root}/cellar}}\noffline: true\n")
    (files_site.root / "cellar").mkdir()
    files_site.dr("backup", "share")
    here, there = files_site.root, files_site.root.with_name("twin")
    shutil.copytree(here, there)
    for path in (there / "config").rglob("*.yaml"):
        path.write_text(path.read_text().replace(str(here), str(there)))
    return files_site, replace(files_site, root=there)


def typed(site: Site, words: str) -> tuple[int, Any, str]:
    """Type a command; `HOLD` and `POINT` stand for ids of the site."""
    if "HOLD" in words:
        words = words.replace("HOLD", site.dr("hold", "list", "--json").document["holds"][-1]["hold_id"])
    if "POINT" in words:
        words = words.replace("POINT", site.dr("points", "--json").document["points"][0]["run_id"])
    ran = site.dr(*words.split(), "--json", code=None)
    document = {key: value for key, value in ran.document.items() if key != "command"}
    return (
        ran.code,
        json.loads(json.dumps(same(document)).replace(str(site.root), "…")),
        same(ran.err.replace(str(site.root), "…")),
    )


BOTH = [
    ("points list share", "points share"),
    ("points list", "points"),
    ("points rebuild", "points --rebuild"),
    ("points rebuild share --at 2030-01-01", "points share --at 2030-01-01 --rebuild"),
    ("points rebuild --adopt none", "points --rebuild --adopt none"),
    ("points trust share none --because x", "points share --trust none --because x"),
    ("points trust share POINT --because x", "points --because x --trust POINT share"),
    ("hold place share --reason asked", "hold share --reason asked"),
    ("hold list", "hold --list"),
    ("hold list share", "hold share --list"),
    ("hold release none --reason x", "hold --release none --reason x"),
    ("hold release HOLD --reason settled", "hold --reason settled --release HOLD"),
    ("target adopt disk", "replicate --first-use disk"),
    ("target adopt cellar", "replicate --first-use cellar"),
]


def test_the_name_and_the_old_spelling_do_the_same(twins: tuple[Site, Site]) -> None:
    one, other = twins
    for new, old in BOTH:
        assert typed(one, new) == (wanted := typed(other, old)), (new, wanted)
    assert typed(one, "points list") != typed(one, "hold list"), "the negative control"
    assert (one.root / "cellar" / ".dr-target").exists() and (other.root / "cellar" / ".dr-target").exists()


def test_the_old_spellings_are_not_shown_and_the_names_are(files_site: Site) -> None:
    for command, verbs in (("points", "list rebuild trust"), ("hold", "list place release"), ("target", "adopt")):
        help_text = files_site.dr(command, "--help").out
        assert all(re.search(rf"^  {verb}  ", help_text, re.MULTILINE) for verb in verbs.split())
    for words in ("points list", "hold place", "replicate"):
        assert not re.search("--(rebuild|trust|list|release|first-use)", files_site.dr(*words.split(), "--help").out)
    said = files_site.dr("points", "share", "--trust", code=2).err
    assert "the option --trust needs a value after it. See `dr points list --help`" in said


def test_a_system_that_is_called_as_a_verb_is_named_after_the_verb(files_site: Site) -> None:
    plan = (files_site.root / "config" / "plans" / "share.yaml").read_text()
    files_site.plan("list", plan.replace("system: share", "system: list"))
    files_site.dr("backup", "list")
    assert files_site.dr("points", "list", "--json").document["points"][0]["system"] == "list"
    assert "list" in files_site.dr("points", "list", "list").out
    assert "no recovery points yet" in files_site.dr("points", "list", "share").out
    assert "there is no plan" in files_site.dr("points", "lsit", code=2).err, "what is no verb is a system"


def test_tab_offers_the_verbs_and_the_systems(files_site: Site) -> None:
    assert {"plain,list", "plain,rebuild", "plain,trust", "plain,share"} <= set(answers(files_site, "points", ""))
    assert answers(files_site, "points", "rebuild", "") == ["plain,share"]
    assert answers(files_site, "points", "reb") == ["plain,rebuild"]
    assert answers(files_site, "points", "share", "") == ["plain,share"]
    assert answers(files_site, "hold", "rel") == ["plain,release"]
    shutil.rmtree(files_site.root / "config" / "plans")
    assert "plain,share" not in answers(files_site, "points", ""), "the negative control"
