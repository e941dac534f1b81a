"""The index of files against a model that keeps every point whole."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.catalog.file_index import FileIndex
from dr.errors import CatalogError, DamageError
from dr.evidence import manifest
from dr.evidence.file_version import Found
from dr.evidence.manifest import Entry
from dr.queries.file_changes import compared
from dr.tools.state_dir import StateDir

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = [b"/srv/a", b"/srv/b", b"/srv/deep/a", b"/srv/deep/\xff\xfe", b"/srv/with space", b"/other"]
#: A point: for each name its content, or nothing where it is not there.
POINT = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3))


def entries(point: dict[bytes, int]) -> list[Entry]:
    return [Entry(name, "file", size, f"{size:064x}", 0o100644, mtime_ns=size) for name, size in sorted(point.items())]


def take_in(index: FileIndex, folder: Path, number: int, point: dict[bytes, int], source: str = "docs") -> int:
    listed = folder / "listed"
    manifest.write(listed, {"source": source, "number": number}, entries(point))
    return index.take_in(source, f"run-{number}", START + timedelta(hours=number), listed)


def held(found: list[Found]) -> dict[bytes, int]:
    return {each.path: each.size for each in found}


@given(points=st.lists(POINT, min_size=1, max_size=8))
def test_each_point_is_known_as_it_was(
    points: list[dict[bytes, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("index")
    with FileIndex(StateDir(folder), "sis") as index:
        for number, point in enumerate(points):
            take_in(index, folder, number, point)
        for known, point in zip(index.points(), points, strict=True):
            assert held(list(index.everything(known.seq, "docs"))) == point
            deep = {name: size for name, size in point.items() if name.startswith(b"/srv/deep/")}
            assert held(list(index.entries(known.seq, "docs", b"/srv/deep"))) == deep
            below = {name: size for name, size in point.items() if name.startswith(b"/srv/")}
            assert held(list(index.below(known.seq, "docs", b"/srv"))) == below
        one, two = index.points()[0], index.points()[-1]
        told = compared("docs", index.changed("docs", one.seq, two.seq), before=one.seq)
        changed = {path for each in told for path in (each.path, each.moved_from) if path}
        assert changed == {name for name in NAMES if points[0].get(name) != points[-1].get(name)}


@given(points=st.lists(POINT, min_size=2, max_size=8), kept=st.sets(st.integers(0, 7)))
def test_what_only_points_had_that_are_gone_is_thrown_away_and_nothing_else(
    points: list[dict[bytes, int]], kept: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("index")
    with FileIndex(StateDir(folder), "sis") as index:
        for number, point in enumerate(points):
            take_in(index, folder, number, point)
        index.keep_only(f"run-{number}" for number in kept)
        left = {int(each.run_id.removeprefix("run-")): each.seq for each in index.points()}
        assert left.keys() == {number for number in kept if number < len(points)} | {len(points) - 1}
        for number, seq in left.items():
            assert held(list(index.everything(seq, "docs"))) == points[number]
        found = {(each.path, each.size) for each in index.matching("*", whole=True, any_case=False)}
        assert found == {pair for number in left for pair in points[number].items()}
        take_in(index, folder, 99, points[0])
        assert held(list(index.everything(index.points()[-1].seq, "docs"))) == points[0]


def test_what_did_not_change_costs_nothing(tmp_path: Path) -> None:
    point = dict.fromkeys(NAMES, 1)
    with FileIndex(StateDir(tmp_path), "sis") as index:
        assert take_in(index, tmp_path, 0, point) == len(NAMES)
        assert [take_in(index, tmp_path, number, point) for number in range(1, 6)] == [0] * 5
        assert take_in(index, tmp_path, 6, point | {b"/srv/a": 2}) == 1
        assert [(each.first, each.last) for each in index.matching("a", whole=False, any_case=False)][:2] == [
            (7, None), (1, 6)
        ]  # fmt: skip


def test_two_sources_do_not_meet(tmp_path: Path) -> None:
    with FileIndex(StateDir(tmp_path), "sis") as index:
        take_in(index, tmp_path, 0, {b"/srv/a": 1}, "one")
        take_in(index, tmp_path, 0, {b"/srv/a": 2}, "two")
        take_in(index, tmp_path, 1, {}, "one")
        take_in(index, tmp_path, 1, {b"/srv/a": 2}, "two")
        last = {each.source: each.seq for each in index.points()}
        assert held(list(index.everything(last["one"], "one"))) == {}
        assert held(list(index.everything(last["two"], "two"))) == {b"/srv/a": 2}
        index.forget_source("two")
        assert [each.source for each in index.points()] == ["one", "one"]
        assert held(list(index.everything(1, "one"))) == {b"/srv/a": 1}


def test_of_a_damaged_manifest_nothing_is_taken_in(tmp_path: Path) -> None:
    with FileIndex(StateDir(tmp_path), "sis") as index:
        take_in(index, tmp_path, 0, {b"/srv/a": 1})
        listed = tmp_path / "listed"
        manifest.write(listed, {"source": "docs"}, entries({b"/srv/b": 2, b"/srv/deep/a": 3}))
        listed.write_bytes(listed.read_bytes().replace(b"/srv/b", b"/srv/x"))
        with pytest.raises(DamageError):
            index.take_in("docs", "run-1", START, listed)
        assert held(list(index.matching("*", whole=True, any_case=False))) == {b"/srv/a": 1}
        assert len(index.points()) == 1


def test_an_index_that_is_damaged_or_of_another_version_is_made_again(tmp_path: Path) -> None:
    with FileIndex(StateDir(tmp_path), "sis") as index:
        take_in(index, tmp_path, 0, {b"/srv/a": 1})
        path = index.path
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 99")
    connection.close()
    with FileIndex(StateDir(tmp_path), "sis") as index:
        assert index.points() == [] and index.last("docs") is None
        take_in(index, tmp_path, 0, {b"/srv/a": 1})
    path.write_bytes(b"this is not a database, and never was one" * 100)
    with FileIndex(StateDir(tmp_path), "sis") as index:
        assert index.points() == []


def test_what_an_earlier_release_kept_by_content_goes_with_the_next_point_and_nothing_else(tmp_path: Path) -> None:
    with FileIndex(StateDir(tmp_path), "sis") as index:
        take_in(index, tmp_path, 0, {b"/srv/a": 1})
        path = index.path
    with sqlite3.connect(path) as connection:
        connection.execute("create index spans_content on spans (sha256) where sha256 is not null")
    with FileIndex(StateDir(tmp_path), "sis") as index:
        take_in(index, tmp_path, 1, {b"/srv/a": 2})
        assert [each.size for each in index.history("docs", b"/srv/a")] == [2, 1]
    connection = sqlite3.connect(path)
    kept = connection.execute("select count(*) from sqlite_schema where name = 'spans_content'").fetchone()
    connection.close()
    assert kept == (0,)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file in its place")
    with pytest.raises(CatalogError, match="the index of files cannot be used"), FileIndex(StateDir(tmp_path), "sis"):
        pass
