"""Path patterns, read once for all who are asked for them: Python's `re` on bytes, restic's patterns, SQLite's GLOB.

In a name `*` is any number of characters, `?` one, `[abc]` and `[a-z]` one of those, `[!abc]` or `[^abc]` one that is
none of them; all else stands for itself, so does a bracket that is never closed. A character is one of UTF-8, or a byte
that is none. `**` goes across directories.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dr.plan.source import Source


#: One character of UTF-8, or a byte that is none.
_ANY = rb"(?:[\xc2-\xf4][\x80-\xbf]{1,3}|[^/])"
_SIGNS, _OF_GLOB = frozenset("*?"), frozenset("?[]")
_PIECE = re.compile(r"\[[!^]?\]?[^\]]*\]|\*+|\?|.", re.DOTALL)


def below(bases: Iterable[str], pattern: str) -> re.Pattern[bytes]:
    """Return what matches `pattern` when absolute, else `pattern` below any of `bases`.

    A base that is itself the file is matched by its name. Paths are given without a leading slash.
    """
    if pattern.startswith("/"):
        forms = [_regex(pattern)]
    else:
        forms = [form for base in bases for form in _under(_bare(base), pattern)]
    return re.compile(b"|".join(b"(?:%s)" % form for form in forms) or b"(?!)", re.DOTALL)


def bases_of(declared: Source | None) -> tuple[str, ...]:
    """Return what the relative patterns of a file check start from."""
    return declared.body.pattern_bases if declared else ("/",)


def for_restic(bases: Iterable[str], pattern: str, *, alone: Collection[bytes] = ()) -> list[str]:
    """Return restic's patterns for the same: absolute, in its own language, the bases taken literally.

    `alone` are files by themselves, as captured. What restic includes may be more (all below a directory
    that matches), never less.
    """
    wanted = "/" + "/".join(part if part == "**" else restic_of(part) for part in _parts(pattern))
    if pattern.startswith("/"):
        return [wanted]
    forms = []
    for base in bases:
        if _bare(base) not in alone:
            forms.append(literal(os.path.normpath(base).rstrip("/")) + wanted)
        elif below([base], pattern).fullmatch(_bare(base)):
            forms.append(literal(os.path.normpath(base)))
    return forms


def _bare(path: str) -> bytes:
    return os.fsencode(os.path.normpath(path)).strip(b"/")


def _under(base: bytes, wanted: str) -> list[bytes]:
    if not base:
        return [_regex(wanted)]
    own = re.escape(base) if re.fullmatch(_regex(wanted), base.rpartition(b"/")[2], re.DOTALL) else None
    inside = re.escape(base) + b"/" + _regex(wanted)
    return [inside, own] if own else [inside]


def _regex(pattern: str) -> bytes:
    """Translate one pattern; `**` stands for any number of directories, none included."""
    parts = _parts(pattern)
    text = b""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            text += b".*" if last else b"(?:.*/)?"
        else:
            text += regex_of(part) + (b"" if last else b"/")
    return text


def _parts(pattern: str) -> list[str]:
    return [part for part in pattern.split("/") if part not in ("", ".")]


# -- one name ---------------------------------------------------------------------------------------


class Members(NamedTuple):
    """What stands between brackets: ranges of characters, the first and the last of each."""

    negated: bool
    ranges: tuple[tuple[str, str], ...]


def regex_of(name: str) -> bytes:
    """Return a regular expression for the bytes of a name."""
    return b"".join(_piece_regex(piece) for piece in _pieces(name))


def restic_of(name: str) -> str:
    """Return restic's pattern: it matches the same, and more only where a name is not UTF-8."""
    return "".join(_restic(piece) for piece in _pieces(name))


def literal(path: str) -> str:
    """Return restic's pattern for exactly this path."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def in_all_points(pattern: str, *, any_case: bool) -> tuple[str, re.Pattern[str]]:
    """Return what finds a pattern in the index: a GLOB that matches more, and never less, and what decides.

    A star stands for slashes too. A pattern with a bracket is also the name that is spelled so.
    """
    pieces = list(_pieces(pattern))
    forms = ["".join(_text(piece) for piece in pieces), *([re.escape(pattern)] if "[" in pattern else [])]
    glob = "".join(_glob(piece.lower() if any_case and isinstance(piece, str) else piece) for piece in pieces)
    flags = re.DOTALL | (re.IGNORECASE if any_case else 0)
    return re.sub(r"\*+", "*", glob), re.compile("|".join(f"(?:{form})" for form in forms), flags)


def _pieces(name: str) -> Iterator[str | Members]:
    """Yield `*`, `?`, members, and text that stands for itself: characters one by one."""
    for piece in _PIECE.findall(name):
        if piece.startswith("["):
            yield from [members] if len(piece) > 2 and (members := _members(piece)) else list(piece)
        else:
            yield "*" if piece.startswith("*") else piece


def _members(piece: str) -> Members | None:
    """Read what stands between brackets; None where that is no set: none in it, or one that runs backwards."""
    negated = piece[1] in "!^"
    within = piece[2 if negated else 1 : -1]
    ranges = tuple((each[0], each[-1]) for each in re.findall(r".-.|.", within, re.DOTALL))
    return Members(negated, ranges) if ranges and all(low <= high for low, high in ranges) else None


def _piece_regex(piece: str | Members) -> bytes:
    if piece == "*":
        return b"[^/]*"
    if piece == "?":
        return _ANY
    if isinstance(piece, str):
        return re.escape(os.fsencode(piece))
    among = b"|".join(form for low, high in piece.ranges for form in _encoded(low, high))
    return b"(?!%s)%s" % (among, _ANY) if piece.negated else b"(?!/)(?:%s)" % among


def _encoded(low: str, high: str) -> Iterator[bytes]:
    """Yield regular expressions for the characters from one to another, as UTF-8."""
    for first, last in (("\0", "\x7f"), ("\x80", "\u07ff"), ("\u0800", "\uffff"), ("\U00010000", "\U0010ffff")):
        if low == high and "\udc80" <= low <= "\udcff":  # a byte that is no UTF-8
            yield re.escape(os.fsencode(low))
            return
        if (one := max(low, first)) <= (two := min(high, last)):
            yield from _spans(*(each.encode("utf-8", "surrogatepass") for each in (one, two)))


def _spans(low: bytes, high: bytes) -> Iterator[bytes]:
    """Yield regular expressions for the texts of bytes from one to another of the same length."""
    head, first, last, rest = low[:1], low[0], high[0], len(low) - 1
    if not rest:
        yield b"[%s-%s]" % (re.escape(low), re.escape(high))
    elif first == last:
        yield from (re.escape(head) + tail for tail in _spans(low[1:], high[1:]))
    else:
        yield from (re.escape(head) + tail for tail in _spans(low[1:], b"\xbf" * rest))
        if last - first > 1:
            yield b"[%s-%s]" % (bytes([first + 1]), bytes([last - 1])) + rb"[\x80-\xbf]" * rest
        yield from (re.escape(high[:1]) + tail for tail in _spans(b"\x80" * rest, high[1:]))


def _restic(piece: str | Members) -> str:
    if isinstance(piece, str):
        return literal(piece) if piece not in _SIGNS else piece
    if any(each > "\ud7ff" and each < "\ue000" for pair in piece.ranges for each in pair):
        return "?"  # bytes that are no UTF-8, which it does not tell from each other
    pairs = (low if low == high else f"{low}\0{high}" for low, high in piece.ranges)
    members = "".join(re.sub(r"([\\\]^\[-])", r"\\\1", pair).replace("\0", "-") for pair in pairs)
    return f"[^{members}]" if piece.negated else f"[{members}]"


def _text(piece: str | Members) -> str:
    if isinstance(piece, str):
        return {"*": ".*", "?": "."}.get(piece) or re.escape(piece)
    pairs = (re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}" for low, high in piece.ranges)
    return f"[{'^' if piece.negated else ''}{''.join(pairs)}]"


def _glob(piece: str | Members) -> str:
    """Return a GLOB for plain letters; what else there is may be anything."""
    return piece if isinstance(piece, str) and piece.isascii() and piece not in _OF_GLOB else "*"
