"""The objects of a long JSON array, one after another as its text is read: an answer may name a million things."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any

#: Bytes, or characters, that are read at a time.
_PIECE = 1 << 16
#: How a text begins: an array, or an object whose one key has it.
_BEGIN = re.compile(r'\s*(?P<within>\{\s*"[^"\\]*"\s*:\s*)?(?:\[|null\s*\}?\s*\Z)')
_SPACE = re.compile(r"\s*")


def items_of(file: IO[bytes]) -> Iterator[Any]:
    """Yield the objects of an array in UTF-8, which may be the value of the one key of an object; none for `null`.

    Raises `ValueError` where the text is not that, or ends before the array does: what came by then was yielded.
    """
    text, decode = io.TextIOWrapper(file, encoding="utf-8"), json.JSONDecoder().raw_decode
    try:
        held = text.read(_PIECE)
        if (begun := _BEGIN.match(held)) is None:
            raise ValueError("not an array")
        place, ends = begun.end(), "}" if begun["within"] else ""
        if not begun[0].endswith("["):
            return
        first = True
        while True:
            mark, place = _mark(held, place)
            if mark == "]":
                if (held[place + 1 :] + text.read(_PIECE)).strip() != ends:
                    raise ValueError("more than an array")
                return
            if mark not in ("", "{" if first else ","):
                raise ValueError("neither an object nor a comma")
            try:
                item, after = decode(held, place if first else _mark(held, place + 1)[1])
            except json.JSONDecodeError:  # the rest of it comes with the next piece
                if not (more := text.read(_PIECE)):
                    raise
                held, place = held[place:] + more, 0
                continue
            if not isinstance(item, dict):
                raise ValueError("not an object")
            yield item
            place, first = after, False
    finally:
        text.detach()


def _mark(held: str, place: int) -> tuple[str, int]:
    """Return the next character that is not space, and its place."""
    space = _SPACE.match(held, place)
    place = space.end() if space else place
    return held[place : place + 1], place
