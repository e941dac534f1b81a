"""What SQLite keeps of a table and its indexes is the text that made them: here is what is taken out of it.

Read in words, with quotes and remarks as SQLite has them; whoever uses it sees by SQLite itself that it came out well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|.""", re.DOTALL
)
#: What may happen to a row whose row of the other table goes: in so many words.
_ACTIONS = {"set": 2, "no": 2, "cascade": 1, "restrict": 1}


def index_called(sql: str, name: str) -> str:
    """Return the statement that makes an index, with another name of it: that is what stands before ON."""
    words = [(found.start(), found[0]) for found in _TOKEN.finditer(sql) if not _is_space(found[0])]
    at = next(number for number, (_, word) in enumerate(words) if word.lower() == "on")
    first = next(number for number, (_, word) in enumerate(words) if word.lower() == "index") + 1
    if [word.lower() for _, word in words[first : first + 3]] == ["if", "not", "exists"]:
        first += 3
    return f"{sql[: words[first][0]]}{quoted(name)} {sql[words[at][0] :]}"


def without_keys(made: str) -> str:
    """Return a statement that makes a table, without the foreign keys of its columns and its own."""
    tokens = _TOKEN.findall(made)
    opening = tokens.index("(")
    parts: list[list[str]] = [[]]
    depth, at = 0, opening
    for at in range(opening, len(tokens)):
        word = tokens[at]
        depth += (word == "(") - (word == ")")
        if depth == 0:
            break
        if depth == 1 and word == ",":
            parts.append([])
        elif at > opening:
            parts[-1].append(word)
    kept = ["".join(_without_reference(part)) for part in parts if not _is_key(part)]
    return "".join(tokens[: opening + 1]) + ",".join(kept) + "".join(tokens[at:])


def _is_space(token: str) -> bool:
    return token.isspace() or token.startswith(("--", "/*"))


def _words(part: Sequence[str]) -> list[str]:
    return [token.lower() for token in part if not _is_space(token)]


def _is_key(part: Sequence[str]) -> bool:
    words = _words(part)
    return words[:1] == ["foreign"] or (words[:1] == ["constraint"] and words[2:3] == ["foreign"])


def _without_reference(part: Sequence[str]) -> list[str]:
    """Return a column's definition without what it refers to."""
    tokens, depth = list(part), 0
    for at, word in enumerate(tokens):
        depth += (word == "(") - (word == ")")
        if depth == 0 and word.lower() == "references":
            begin = _before(tokens, at)
            return [*tokens[:begin], *_without_reference(tokens[_end_of(tokens, at) :])]
    return tokens


def _before(tokens: Sequence[str], at: int) -> int:
    """Return where a reference begins: with its name, if it has one."""
    solid = [number for number in range(at) if not _is_space(tokens[number])]
    named = len(solid) >= 2 and tokens[solid[-2]].lower() == "constraint"
    return solid[-2] if named else at


def _end_of(tokens: Sequence[str], at: int) -> int:
    """Return where a reference ends that begins at REFERENCES: after its table, columns and actions."""
    solid = [number for number in range(at + 1, len(tokens)) if not _is_space(tokens[number])]
    words = [tokens[number].lower() for number in solid]
    taken = 1
    if words[taken : taken + 1] == ["("]:
        taken = words.index(")", taken) + 1
    while taken < len(words):
        if words[taken] == "on" and taken + 2 < len(words) and words[taken + 2] in _ACTIONS:
            taken += 2 + _ACTIONS[words[taken + 2]]
        elif words[taken] == "match" or words[taken : taken + 2] == ["not", "deferrable"]:
            taken += 2
        elif words[taken] == "deferrable":
            taken += 1
        elif words[taken] == "initially":
            taken += 2
        else:
            break
    return solid[taken - 1] + 1


def quoted(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'
