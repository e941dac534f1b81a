"""Lines in the order of a manifest, of more than is held, and in fewer files than a process may open."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dr.evidence import manifest
from dr.evidence.manifest import entry_of
from dr.sources import sorted_lines
from dr.sources.sorted_lines import LinesAnywhere, OrderedStatus, SortedLines


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 39, 40, 41, 400])
def test_lines_come_back_in_order_each_path_once_from_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(sorted_lines, "_PIECE", 10)
    monkeypatch.setattr(sorted_lines, "_MOST", 4)
    lines, seen = SortedLines(tmp_path / "lines"), os.lstat(tmp_path)
    paths = [b"/srv/%d/\xff name \n%d" % (number % 7, number) for number in range(count)]
    for path in random.Random(count).sample(paths, count) + paths[:3]:
        lines.add(path, seen, "dir", None)
    for _ in range(2):
        assert [entry_of(line).path for line in lines] == sorted(paths, key=manifest.spelt)
        assert len(list(tmp_path.iterdir())) < 4, "each open file takes a descriptor"
    found = OrderedStatus(lines)
    assert all(found.lstat(path).st_mode == seen.st_mode for path in sorted(paths, key=manifest.spelt))
    assert not found.holds(b"/srv/none")
    lines.remove()
    assert not list(lines) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [0, 1, 2, 7, 300])
def test_lines_are_found_in_any_order_by_several_threads(tmp_path: Path, count: int) -> None:
    paths = sorted((b'/srv/%d/\xff "name\n%d' % (number % 7, number) for number in range(count)), key=manifest.spelt)
    entries = [manifest.Entry(path, "link", link_target=path[::-1]) for path in paths]
    found = LinesAnywhere(map(manifest.line_of, entries), tmp_path / "lines")
    assert not os.listdir(tmp_path), "what has no name is never left behind"
    assert list(found) == entries
    asked = [*paths, *random.Random(count).sample(paths, count), *reversed(paths)]
    with ThreadPoolExecutor(4) as pool:
        assert [entry and entry.path for entry in pool.map(found.entry, asked)] == asked
    for path in (b"/", b"/srv", b"/srv/3", b'/srv/3/\xff "name', b"/zzz", *(path + b"x" for path in paths)):
        assert found.entry(path) is None
