from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from dr.evidence.coverage import CIRCLE
from dr.evidence.manifest import Entry
from dr.evidence.record import Drill
from dr.report.verdict import drill_exit_code, rto_estimate, rto_verdict
from dr.run.recovery import sampling
from dr.run.recovery.sample import Choice, choose, counts, summed_up
from tests.run.conftest import District

LIMIT = 200_000


def tree(seed: int, files: int, *, folders: int = 40) -> list[Entry]:
    rng = random.Random(seed)
    entries = [Entry(b"/srv/%d" % number, "dir") for number in range(folders)]
    for number in range(files):
        path, size = b"/srv/%d/%d.jpg" % (number % folders, number), rng.randrange(4_000)
        entries.append(Entry(path, "file", size, "0" * 64, mtime_ns=rng.randrange(10**18)))
    return entries


def again(entries: list[Entry]) -> Iterable[Entry]:
    return iter(entries)


def chosen(found: Choice, source: str, entries: list[Entry]) -> set[bytes]:
    return {entry.path for entry in entries if found.takes(source, entry)}


def test_over_a_turn_each_file_comes_once_and_the_newest_of_each_source_every_time() -> None:
    trees = {"uploads": tree(1, 2_000), "homes": tree(2, 300)}
    files, streams = {name: partial(again, each) for name, each in trees.items()}, {"database": 90_000, "huge": 10**9}
    begin, turned, seen, whole = 0, 0, list[tuple[str, bytes]](), set[str]()
    newest = {name: max(each, key=lambda entry: entry.mtime_ns).path for name, each in trees.items()}
    while turned < CIRCLE:
        found = choose(files, streams, limit=LIMIT, begin=begin)
        assert found is not None and choose(files, streams, limit=LIMIT, begin=begin) == found, "by the names alone"
        told = summed_up(found, files, streams)
        assert told.bytes <= LIMIT and (told.of_files, told.larger) == (2_302, 1)
        for name, each in trees.items():
            paths = chosen(found, name, each)
            assert newest[name] in paths
            seen += [(name, path) for path in paths if path not in found.newest[name]]
        whole |= found.streams
        begin, turned = found.end, turned + found.length
    everything = {(name, entry.path) for name, each in trees.items() for entry in each if counts(entry)}
    came = set(seen)
    assert whole == {"database"}, "what is larger than the sample is never taken"
    assert len(everything - came) < 300, "only such as were among the newest each time they came"
    assert len(seen) < len(came) * 1.2, "a turn ends somewhere in the last drill"


def test_what_fits_is_not_sampled_and_one_large_file_makes_the_newest_give_way() -> None:
    small = {"uploads": partial(again, tree(1, 20))}
    assert choose(small, {}, limit=10**6, begin=0) is None
    entries = [*tree(1, 200), Entry(b"/srv/film.mkv", "file", LIMIT - 10, "0" * 64, mtime_ns=1)]
    files, begin = {"uploads": partial(again, entries)}, 0
    for _ in range(20):
        found = choose(files, {}, limit=LIMIT, begin=begin)
        assert found is not None and summed_up(found, files, {}).bytes <= LIMIT
        if b"/srv/film.mkv" in chosen(found, "uploads", entries):
            return
        begin = found.end
    pytest.fail("a file that fits into the sample never came")


def sampled(district: District, begin: int = 0) -> Drill:
    district.body = {**district.body, "drill": {"sample": 9_000}}
    return district.drill(sample_from=begin)


def test_drills_of_a_sample_restore_all_files_in_turn_and_prove_no_whole(district: District) -> None:
    begin, turned, drills = 0, 0.0, list[Drill]()
    while turned < 1:
        drill = sampled(district, begin)
        assert drill.sampled is not None and drill.outcome == "ok", drill
        drills.append(drill)
        begin, turned = int(drill.sampled.end, 16), turned + drill.sampled.turn
    assert sum(drill.files for drill in drills) >= drills[0].sampled.of_files  # type: ignore[union-attr]
    assert all(drill.files == drill.sampled.files and drill.bytes <= 9_000 for drill in drills if drill.sampled)
    last = drills[-1]
    assert last.proof_level <= 3 and last.sample < 1
    assert rto_verdict(last).word == "unknown" and "ESTIMATE for the whole" in rto_verdict(last).reason
    assert (rto_estimate(last) or 0) > (last.rta_seconds or 0) and drill_exit_code(last) == 0
    late = replace(last, rta_seconds=10**6)
    assert rto_verdict(late).word == "missed" and "measured on a sample" in rto_verdict(late).reason


def test_a_file_of_the_sample_that_does_not_come_back_fails_the_drill(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_line", lambda path: b"/nothing\n")
    drill = sampled(district)
    assert drill.outcome == "failed" and drill.sampled is not None and drill.files < drill.sampled.files
    assert any("missing" in check.observed for check in drill.checks), drill.checks


def many(number: int) -> Iterator[Entry]:
    return (
        Entry(b"/srv/%d/%d" % (each % 50, each), "file", each % 2_000, "0" * 64, mtime_ns=each)
        for each in range(number)
    )


def peak(number: int) -> int:
    files = {"uploads": partial(many, number)}
    tracemalloc.start()
    try:
        found = choose(files, {}, limit=number * 100, begin=0)
        assert found is not None and summed_up(found, files, {}).files
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_choice_takes_no_more_memory_of_many_files() -> None:
    assert peak(12_000) < 1.3 * peak(3_000)
