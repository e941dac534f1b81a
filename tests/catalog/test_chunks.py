"""Chunks: what is packed comes back, and what was damaged, cut or blown up comes back as nothing."""

from __future__ import annotations

import lzma
import sqlite3
import zlib

import pytest

from dr.catalog import chunks

LINES = [f'run-{n}\t{{"bytes":{n * 7919 % 10007},"name":"ünreadable"}}' for n in range(300)]
OLD = zlib.compress("\n".join(LINES).encode(), 6)


@pytest.mark.parametrize("packed", [chunks.pack(LINES), OLD], ids=["now", "before"])
def test_what_was_packed_comes_back_and_never_in_part(packed: bytes) -> None:
    assert chunks.unpack(packed) == LINES
    for end in (*range(9), 100, len(packed) // 2, *range(len(packed) - 9, len(packed))):
        assert chunks.unpack(packed[:end]) == [], "cut short"
    for place in range(0, len(packed), 7):
        flipped = packed[:place] + bytes([packed[place] ^ 0x10]) + packed[place + 1 :]
        assert chunks.unpack(flipped) in ([], LINES), place
    for other in (None, 7, "text", b""):
        assert chunks.unpack(other) == []
    assert chunks.unpack(zlib.compress(b"\xff")) == chunks.unpack(lzma.compress(b"\xff")) == [], "no text"


@pytest.mark.parametrize("pack", [zlib.compress, lzma.compress], ids=["before", "now"])
def test_what_would_unpack_to_more_than_is_bearable_is_not_unpacked(
    pack: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "_LARGEST", 5000)
    assert chunks.unpack(pack(b"0" * 4999)) == ["0" * 4999]
    assert chunks.unpack(pack(b"0" * 100_000)) == []


def test_what_asks_for_much_memory_to_be_unpacked_is_not_unpacked() -> None:
    wide = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**28}]
    assert chunks.unpack(lzma.compress(b"text", format=lzma.FORMAT_XZ, filters=wide)) == []
    assert chunks.unpack(lzma.compress(b"text")) == ["text"]


def test_packing_is_tight_and_many_share_what_they_have_in_common() -> None:
    assert len(chunks.pack(LINES)) < 0.8 * len(OLD)


def test_so_many_lines_are_kept_unpacked_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MOST_KEPT", 5)
    read: list[int] = []
    monkeypatch.setattr(chunks, "read", lambda _, number: read.append(number) or ["a", "b"])
    asked = [{"chunk": number} for number in (1, 2, 1, 2, 3, 2, 3, 1)]
    told = list(chunks.with_lines(sqlite3.connect(":memory:"), asked))  # type: ignore[arg-type]
    assert [row for row, _ in told] == asked and read == [1, 2, 3, 1]
