"""What differs between two manifests, found in blocks, and line by line: the same."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from dr.evidence import manifest, manifest_changes
from dr.evidence.manifest import Entry
from dr.evidence.manifest_changes import difference, differing, pairs
from tests.manifests import write_sorted

FILES = 600


def entry(number: int, content: int = 0, *, kind: manifest.Kind = "file") -> Entry:
    digest = f"{content:064x}" if kind == "file" else None
    return Entry(b'/srv/%d/"%05d", "file", .txt' % (number % 7, number), kind, 1, digest, mtime_ns=content)


def written(path: Path, entries: Iterable[Entry], *, ordered: bool = True) -> Path:
    (write_sorted if ordered else manifest.write)(path, {"source": "docs"}, entries)
    return path


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_in_blocks_and_line_by_line_the_same_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, ordered: bool
) -> None:
    monkeypatch.setattr(manifest_changes, "_BLOCK", 2_000)
    chance = random.Random(seed)
    share = chance.choice([0.0, 0.002, 0.02, 0.5])
    kinds: list[manifest.Kind] = ["file", "file", "dir"]
    before = [entry(number, kind=chance.choice(kinds)) for number in range(FILES) if chance.random() > share]
    after = [entry(n, 1) if chance.random() < share else each for n, each in enumerate(before)]
    after = [each for each in after if chance.random() > share] + [entry(FILES + n) for n in range(round(9 * share))]
    old = written(tmp_path / "old", before, ordered=ordered)
    new = written(tmp_path / "new", after)
    same: list[bytes] = []
    assert list(differing(old, new, alike=same.append)) == [(was, now) for was, now in pairs(old, new) if was != now]
    assert b"".join(same) == b"".join(now for was, now in pairs(old, new) if was == now)
    files = {(each.path, each.sha256) for each in before if each.kind == "file"}
    assert difference(old, new).same == len(files & {(e.path, e.sha256) for e in after if e.kind == "file"})


def test_the_ends_of_manifests_are_no_entries(tmp_path: Path) -> None:
    none, all_ = written(tmp_path / "none", []), written(tmp_path / "all", map(entry, range(9)))
    assert list(differing(none, none)) == [] and list(differing(all_, all_)) == []
    assert [was for was, _ in differing(all_, none)] == list(manifest.lines(all_))
    assert [now for _, now in differing(none, all_)] == list(manifest.lines(all_))
    assert [now for _, now in differing(None, all_)] == list(manifest.lines(all_))
