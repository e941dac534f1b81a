"""Several streams as one tar: nothing lost, nothing taken for whole that is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.errors import DamageError, SourceError
from dr.sources.several import pack, unpack

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def back(blob: bytes, size: int = 1000) -> dict[str, bytes]:
    blocks = [blob[i : i + size] for i in range(0, len(blob), size)]
    return {name: b"".join(content) for name, content in unpack(blocks)}


@given(st.dictionaries(NAMES.filter(lambda name: name not in (".", "..")), st.binary(max_size=5000), max_size=4))
def test_what_is_packed_comes_back(streams: dict[str, bytes]) -> None:
    blob = b"".join(pack(((name, [data]) for name, data in streams.items()), piece=700))
    assert back(blob) == streams


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 1024, 3000])
def test_a_stream_that_was_cut_is_never_taken_for_whole(cut: int) -> None:
    blob = b"".join(pack([("a", [b"x" * 3000]), ("b", [b"y" * 10])], piece=1000))
    with pytest.raises(DamageError):
        back(blob[:-cut])


def test_a_source_that_fails_goes_on_failing() -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield b"half"
        raise SourceError("the dump failed", "db")

    with pytest.raises(SourceError, match="the dump failed"):
        list(pack([("a", broken())]))


def test_plain_tar_and_cat_read_it_too(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"".join(pack([("a b.dump", [b"x" * 2500]), ("c.dump", [])], piece=1000)))
    subprocess.run(["tar", "-xf", "x.tar"], cwd=tmp_path, check=True)
    whole = b"".join(path.read_bytes() for path in sorted((tmp_path / "a b.dump").iterdir()))
    assert whole == b"x" * 2500 and (tmp_path / "c.dump" / "00000001").read_bytes() == b""
