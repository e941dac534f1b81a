"""Who hashes files: this thread where they are small and at hand, several where that is sooner."""

from __future__ import annotations

import hashlib
import os
import select
import threading
from pathlib import Path

import pytest

from dr.evidence.manifest import Entry
from dr.sources import hashing


def entries(folder: Path, *, files: int, size: int) -> list[Entry]:
    """Files of that size, each as the walk finds it."""
    found = []
    for number in range(files):
        path = folder / f"{number:05d}"
        path.write_bytes(bytes([number % 256]) * size)
        of = path.stat()
        found.append(
            Entry(os.fsencode(path), "file", size, None, of.st_mode, of.st_uid, of.st_gid, of.st_mtime_ns,
                  of.st_ctime_ns, of.st_ino, of.st_dev)
        )  # fmt: skip
    return found


@pytest.mark.parametrize(("size", "slow", "elsewhere"), [(10, False, 0), (10, True, 2), (20_000, False, 3)])
def test_files_are_hashed_by_other_threads_where_they_are_large_or_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, slow: bool, elsewhere: int
) -> None:
    """Three batches; that a disk is slow is seen by the first of them."""
    listed = entries(tmp_path, files=300, size=size)
    monkeypatch.setattr(hashing, "_BATCH", (100, 1 << 30))
    monkeypatch.setattr("dr.tools.digest._AHEAD", 0)
    own, others, read = threading.get_ident(), list[bytes](), hashing.read_and_close

    def reading(descriptor: int, *more: object) -> object:
        if threading.get_ident() != own:
            others.append(os.readlink(b"/proc/self/fd/%d" % descriptor))
        if slow and threading.get_ident() == own:
            select.select([], [], [], 0.0001)  # the kernel puts the thread to sleep, as for a disk
        return read(descriptor, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(hashing, "read_and_close", reading)
    found = list(hashing.hashed(listed))
    assert found == [
        e._replace(sha256=hashlib.sha256(Path(os.fsdecode(e.path)).read_bytes()).hexdigest()) for e in listed
    ]
    assert sorted(others) == [entry.path for entry in listed][300 - 100 * elsewhere :]


def test_what_was_seen_of_a_disk_is_seen_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_THEN", 3)
    slept = iter([0, 1, 5, 5])
    monkeypatch.setattr(hashing, "_sleeps", lambda: next(slept))
    batch = hashing._Batch(list(entries(tmp_path, files=8, size=10)), 8, 80)
    pace = hashing._Pace()
    assert not pace.is_for_a_thread(batch)
    pace.hashed(batch)
    assert [pace.is_for_a_thread(batch) for _ in range(4)] == [True, True, True, False]
    pace.hashed(batch)
    assert not pace.is_for_a_thread(batch)
