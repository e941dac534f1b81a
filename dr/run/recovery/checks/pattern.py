"""Path patterns: `*`, `?`, `[abc]` within one name, `**` across directories; on bytes, as paths are."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dr.plan.source import Source


def below(bases: Iterable[str], pattern: str) -> re.Pattern[bytes]:
    """Return what matches `pattern` when absolute, else `pattern` below any of `bases`.

    A base that is itself the file is matched by its name. Paths are given without a leading slash.
    """
    wanted = os.fsencode(pattern)
    if pattern.startswith("/"):
        forms = [_regex(wanted.strip(b"/"))]
    else:
        forms = [form for base in bases for form in _under(_bare(base), wanted)]
    return re.compile(b"|".join(b"(?:%s)" % form for form in forms) or b"(?!)", re.DOTALL)


def bases_of(declared: Source | None) -> tuple[str, ...]:
    """Return what the relative patterns of a file check start from."""
    return declared.body.pattern_bases if declared else ("/",)


def for_restic(bases: Iterable[str], pattern: str, *, alone: Collection[bytes] = ()) -> list[str]:
    """Return restic's patterns for the same: absolute, its own way to negate, the bases taken literally.

    `alone` are files by themselves, as captured. What restic includes may be more (all below a directory
    that matches), never less.
    """
    wanted = pattern.replace("[!", "[^")
    if pattern.startswith("/"):
        return [wanted]
    forms = []
    for base in bases:
        if _bare(base) not in alone:
            forms.append(literal(os.path.normpath(base).rstrip("/")) + "/" + wanted.removeprefix("./"))
        elif below([base], pattern).fullmatch(_bare(base)):
            forms.append(literal(os.path.normpath(base)))
    return forms


def literal(path: str) -> str:
    """Return restic's pattern for exactly this path."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def _bare(path: str) -> bytes:
    return os.fsencode(os.path.normpath(path)).strip(b"/")


def _under(base: bytes, wanted: bytes) -> list[bytes]:
    if not base:
        return [_regex(wanted)]
    own = re.escape(base) if re.fullmatch(_regex(wanted), base.rpartition(b"/")[2], re.DOTALL) else None
    inside = re.escape(base) + b"/" + _regex(wanted)
    return [inside, own] if own else [inside]


def _regex(pattern: bytes) -> bytes:
    """Translate one pattern; `**` stands for any number of directories, none included."""
    parts = [_part(part) for part in pattern.split(b"/") if part not in (b"", b".")]
    text = b""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part is None:
            text += b".*" if last else b"(?:.*/)?"
        else:
            text += part + (b"" if last else b"/")
    return text


def _part(part: bytes) -> bytes | None:
    """Translate one name of a pattern; None for `**`."""
    if part == b"**":
        return None
    tokens = re.findall(rb"\[[!^]?\]?[^\]]*\]|\*+|\?|.", part, re.DOTALL)
    return b"".join(_token(token) for token in tokens)


def _token(token: bytes) -> bytes:
    if token.startswith(b"*"):
        return b"[^/]*"
    if token == b"?":
        return rb"(?:[\xc2-\xf4][\x80-\xbf]{1,3}|[^/])"  # one character of UTF-8, or a byte that is none
    if token.startswith(b"[") and len(token) > 2:
        negated = token[1:2] in (b"!", b"^")
        members = token[2 if negated else 1 : -1].replace(b"\\", b"\\\\").replace(b"[", b"\\[")
        with suppress(re.error):
            form = b"[" + (b"^/" if negated else b"") + members + b"]"
            re.compile(form)
            return form
    return re.escape(token)
