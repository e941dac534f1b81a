"""A pattern is read in one way, whoever is asked: what restores, what lists all points, and what judges."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.run.recovery.checks.pattern import in_all_points, literal, regex_of, restic_of
from dr.tools import command
from tests.conftest import Site

LETTERS = "ab[]!^-\\*?é\udcff"
TEXTS = st.text(LETTERS, min_size=1, max_size=6)
NAMES = ("a[b", "a\\b", "axb", "éx", "ax", "z]", "q[!y]", "qz", "[^]", "$a ", "#", "n\nl", "caf\udce9", "日本", "語本")
PATTERNS = (
    *(name for name in NAMES if name != "q[!y]"), "[éa]x", "[!a]x", "[^a]x", "[a-é]x", "[à-ë]x", "[]z]]", "q[!y]", "[\\a]*", "a[\\x]b",
    "[一-龥]本", "[!一-日]本", "*[[]*", "[z-a]", "?x", "caf?", "[*]",
)  # fmt: skip


def matches(pattern: str, name: str) -> bool:
    import re

    return bool(re.fullmatch(regex_of(pattern), os.fsencode(name), re.DOTALL))


@given(pattern=TEXTS, name=TEXTS)
def test_who_looks_into_all_points_finds_what_a_recovery_takes(pattern: str, name: str) -> None:
    name = os.fsdecode(os.fsencode(name))
    glob, exact = in_all_points(pattern, any_case=False)
    spelled = "[" in pattern and name == pattern
    assert bool(exact.fullmatch(name)) is (matches(pattern, name) or spelled)
    if exact.fullmatch(name):
        found = sqlite3.connect(":memory:").execute("select cast(? as text) glob ?", (os.fsencode(name), glob))
        assert found.fetchone() == (1,), glob


def test_capital_letters_of_every_language_count_as_small_ones_where_it_is_said() -> None:
    glob, exact = in_all_points("É*", any_case=True)
    assert glob == "*" and exact.fullmatch("École") and exact.fullmatch("élan") and not exact.fullmatch("Elan")


def test_restic_brings_back_what_a_pattern_matches(restic_program: Path, tmp_path: Path) -> None:
    env = {"RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(tmp_path / "kept"), "PATH": os.environ["PATH"]}
    env |= {"HOME": str(tmp_path), "RESTIC_CACHE_DIR": str(tmp_path / "cache")}
    source = tmp_path / "source"
    source.mkdir()
    for name in NAMES:
        (source / name).write_text(name.encode(errors="surrogateescape").hex())
    command.run([str(restic_program), "init"], env=env)
    command.run([str(restic_program), "backup", "--no-scan", str(source)], env=env)
    for number, pattern in enumerate(PATTERNS):
        to = tmp_path / str(number)
        wanted = f"--include={literal(str(source))}/{restic_of(pattern)}"
        command.run([str(restic_program), "restore", "latest", "--target", str(to), wanted], env=env)
        found = {path.name for path in to.rglob("*") if path.is_file()}
        assert found == {name for name in NAMES if matches(pattern, name)}, pattern


@pytest.mark.slow
def test_names_with_signs_come_back_as_they_are_typed(files_site: Site) -> None:
    source = files_site.root / "source"
    names = [name for name in NAMES if name != "caf\udce9"]
    for name in names:
        (source / name).write_text(name)
    files_site.dr("backup", "share")
    for number, name in enumerate(("a[b", "a\\b", "[^]", "q[!y]", "$a ", "n\nl", "[!a]x")):
        to = files_site.root / f"back-{number}"
        files_site.dr("recover", "share", "--to", str(to), "--path", name, "--yes")
        back = {path.name for path in to.rglob("*") if path.is_file()}
        wanted = {"éx"} if name == "[!a]x" else {"q[!y]", "qz"} if name == "q[!y]" else {name}
        assert back == wanted
        found = files_site.dr("find", "share", name, "--json").document["matches"]
        assert {Path(each["path"]).name for each in found} == back
    told = files_site.dr("find", "share", os.fsdecode(b"non\xff"), code=1).err
    assert "no recovery point holds" in told and told.count("\n") == 1
    assert (
        "no recovery point since 2099-01-01" in files_site.dr("find", "share", "*", "--since", "2099-01-01", code=1).err
    )
    for typed in (("find", "share", "*", "--source", "x"), ("ls", "share", "--target", "x"), ("find", "share", "")):
        files_site.dr(*typed, code=2)


def test_where_the_catalog_is_new_no_file_is_said_to_be_nowhere(files_site: Site) -> None:
    for typed in (("ls", "share"), ("find", "share", "*"), ("diff", "share"), ("diff", "share", "--live")):
        told = files_site.dr(*typed, code=1).err
        assert "there is no recovery point yet" in told and "`dr points rebuild`" in told
