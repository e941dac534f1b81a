"""Records read from several places, each once, in few bytes: there may be a hundred thousand of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from dr.evidence.seal import Sealed


class Gathered:
    """Records by their digests; of two that bear one digest the last counts."""

    def __init__(self, records: Iterable[Sealed] = ()) -> None:
        self._texts: dict[str, bytes] = {}
        for record in records:
            self.add(record, record.to_json())

    def add(self, record: Sealed, text: bytes) -> None:
        """Take a record, and the text (JSON) that it was read from."""
        self._texts[record.digest] = zlib.compress(text, 1)

    def join(self, more: Gathered) -> None:
        """Take all of some others."""
        self._texts |= more._texts

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[Sealed]:
        return map(self.whole, self._texts)

    def digests(self) -> Iterable[str]:
        """Return the digests of all."""
        return self._texts.keys()

    def whole(self, digest: str) -> Sealed:
        """Return the record of a digest. Raises `KeyError`."""
        record = Sealed.from_json(zlib.decompress(self._texts[digest]))
        assert record is not None  # noqa: S101 - it was one when it was taken
        return record
