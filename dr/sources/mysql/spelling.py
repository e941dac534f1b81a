"""How a server spells definitions: what it adds or leaves out itself when they have gone through a dump once.

Definitions are told apart by their text, so what differs without a meaning is taken out of it on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Facts whose objects were told apart by this module. Those before (0) were by the server's own text.
SPELLING = 1

_TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`]|``)*`|\w+|\s+|.", re.DOTALL)
_PAGE_CHECKSUM = re.compile(r"(?:^|\s)page_checksum=\d+", re.IGNORECASE)
#: What begins a query: parentheses around one are no mere grouping.
_QUERIES = frozenset({"select", "with", "values"})


def spelled(kind: str, parts: Sequence[str | None]) -> list[str | None]:
    """Return the parts of a definition, as the inventory asks for them, without what servers spell at will."""
    found = list(parts)
    if kind == "view" and found[0]:
        found[0] = without_groups(found[0])
    if kind == "table" and (found[1] or "").lower() == "aria" and found[3]:
        # Where it is not set, a dump of the table sets what the server's setting is.
        found[3] = _PAGE_CHECKSUM.sub("", found[3]).strip()
    return found


def without_groups(query: str) -> str:
    """Return a query without parentheses around what a FROM clause begins with.

    Joins go from left to right with and without them; a comma is stored without and dumped with them. Parentheses
    anywhere else stay: they may mean something.
    """
    tokens = _TOKEN.findall(query)
    ends, inner = _pairs(tokens)
    spare: set[int] = set()
    for at, token in enumerate(tokens):
        if token.lower() == "from" and _first(tokens, inner[at]) in _QUERIES:
            opening = _next(tokens, at)
            while opening < len(tokens) and tokens[opening] == "(" and opening in ends:
                following = _next(tokens, opening)
                if following < len(tokens) and tokens[following].lower() in _QUERIES:
                    break
                spare |= {opening, ends[opening]}
                opening = following
    return "".join(token for at, token in enumerate(tokens) if at not in spare)


def _pairs(tokens: Sequence[str]) -> tuple[dict[int, int], list[int]]:
    """Return where each parenthesis ends, and for each token where the one around it begins (-1: none is)."""
    ends: dict[int, int] = {}
    inner: list[int] = []
    open_ones: list[int] = []
    for at, word in enumerate(tokens):
        if word == ")" and open_ones:
            ends[open_ones.pop()] = at
        inner.append(open_ones[-1] if open_ones else -1)
        if word == "(":
            open_ones.append(at)
    return ends, inner


def _first(tokens: Sequence[str], around: int) -> str:
    at = _next(tokens, around)
    while at < len(tokens) and tokens[at] == "(":
        at = _next(tokens, at)
    return tokens[at].lower() if at < len(tokens) else ""


def _next(tokens: Sequence[str], at: int) -> int:
    """Return where the next token is that is no space."""
    at += 1
    while at < len(tokens) and tokens[at].isspace():
        at += 1
    return at
