"""Lines in the order of a manifest, of more than is held, and in fewer files than a process may open."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from dr.evidence import manifest
from dr.evidence.manifest import entry_of
from dr.sources import sorted_lines
from dr.sources.sorted_lines import OrderedStatus, SortedLines


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
