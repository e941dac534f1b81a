"""Several streams as one: a plain tar of pieces, so that each can be of any length and none is kept on disk.

`NAME/00000001`, `NAME/00000002`, … are the pieces of the stream NAME, in order. Without this program:
`tar -x`, then `cat NAME/*`.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby

from dr.errors import DamageError

#: Bytes of a piece: held in memory, and long beside a header, so that deduplication hardly notices.
PIECE = 16 << 20
_END = bytes(2 * tarfile.BLOCKSIZE)


def pack(streams: Iterable[tuple[str, Iterable[bytes]]], *, piece: int = PIECE) -> Iterator[bytes]:
    """Yield the tar of named streams, taken one after the other. What a stream raises goes on.

    Names may hold anything but `/` and NUL. An empty stream has one empty piece.
    """
    for name, blocks in streams:
        for number, data in enumerate(_pieces(blocks, piece), 1):
            info = tarfile.TarInfo(f"{name}/{number:08d}")
            info.size, info.mode = len(data), 0o600
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            yield data
            yield bytes(-len(data) % tarfile.BLOCKSIZE)
    yield _END


def _pieces(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    held, first = bytearray(), True
    for block in blocks:
        held += block
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
            first = False
    if held or first:
        yield bytes(held)


def unpack(blocks: Iterable[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the named streams of a tar; each must be read before the next is asked for.

    Raises `DamageError` when the tar is cut short or is none.
    """
    source = _Reader(iter(blocks))
    with _damage(), tarfile.open(fileobj=source, mode="r|", errorlevel=2) as archive:
        for name, members in groupby(archive, lambda member: member.name.rpartition("/")[0]):
            yield name, _contents(archive, members)
        source.to_the_end()


def _contents(archive: tarfile.TarFile, members: Iterator[tarfile.TarInfo]) -> Iterator[bytes]:
    with _damage():
        for member in members:
            content = archive.extractfile(member)
            while content and (data := content.read(1 << 20)):
                yield data


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise DamageError(
            "the stored databases cannot be read", cause=str(error), hint="use another point or target"
        ) from error


class _Reader(io.RawIOBase):
    """Blocks as a file that can be read once."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._held, self._tail, self._count = blocks, b"", b"", 0

    def read(self, size: int = -1) -> bytes:
        """Return exactly `size` bytes, less at the end only."""
        parts, missing = [], size
        while missing > 0:
            if not self._held and not (block := self._next()):
                break
            self._held = self._held or block
            part, self._held = self._held[:missing], self._held[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def to_the_end(self) -> None:
        """Read what is left, so that the sender is not cut off; `EOFError` when the end is not there."""
        while self._next():
            pass
        if self._tail != _END or self._count % tarfile.BLOCKSIZE:
            raise EOFError("it was cut short")

    def _next(self) -> bytes:
        block = next((block for block in self._blocks if block), b"")
        self._count += len(block)
        self._tail = (self._tail + block)[-len(_END) :]
        return block
