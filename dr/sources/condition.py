"""A condition of SQL, looked at before any server has it: what none can take is said at once.

Only where it ends is judged, quotes and brackets that are left open or a second statement: what it means its database
says, which knows the columns.
"""

from __future__ import annotations

import re

from dr.errors import UsageError

_STRINGS = {
    "postgres": r"""\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*\"""",
    "mysql": r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|\#[^\n]*""",
    "sqlite": r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]""",
}
#: In MySQL two signs of minus begin a remark only where white space follows.
_REMARK = {"mysql": r"--(?=\s|$)[^\n]*|/\*.*?\*/"}
_REMARKS = r"--[^\n]*|/\*.*?\*/"
#: Words before a bracket that read nothing but what stands in it.
_PLAIN = {
    *("and", "or", "not", "in", "any", "all", "some", "between", "like", "is", "null", "abs", "avg", "cast", "ceil"),
    *("ceiling", "char_length", "coalesce", "concat", "date", "extract", "floor", "greatest", "least", "left"),
    *("length", "lower", "ltrim", "mod", "nullif", "power", "replace", "right", "round", "rtrim", "sign", "substr"),
    *("substring", "to_char", "to_date", "to_timestamp", "trim", "upper", "varchar", "char", "numeric", "decimal"),
}
_QUOTES = "'\"`"
_HINT = "correct --where: it is what stands behind WHERE in the database's own SQL"


def refuse_unfinished(condition: str, kind: str) -> None:
    """Raise `UsageError` for what no server of this kind can take; of a kind that is not known hardly anything is."""
    if not condition.strip():
        raise _refused("it is empty")
    if re.match(r"\s*where\b", condition, re.IGNORECASE):
        raise _refused("the word WHERE does not belong to it")
    if kind not in _STRINGS or (kind == "postgres" and "/*" in condition):  # whose remarks may be nested
        return
    token = re.compile(f"(?P<whole>{_STRINGS[kind]}|{_REMARK.get(kind, _REMARKS)})|(?P<sign>.)", re.DOTALL)
    depth = 0
    for found in token.finditer(condition):
        sign = found["sign"] or ""
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign and sign in _QUOTES:
            raise _refused("a quote in it has no end")
        if sign == ";":
            raise _refused("a ; would end it")
        if depth < 0:
            raise _refused("a bracket is closed that was not opened")
    if depth:
        raise _refused("a bracket in it is not closed")


def stays_in_table(condition: str) -> bool:
    """Whether a condition surely reads columns of its own table alone; no condition does.

    It may not where it has a query, a name with a dot, or a function that is none of the plainest: somebody's own
    function may read other tables.
    """
    bare = re.sub(r"'(?:[^'\\]|\\.|'')*'", "''", condition)
    if re.search(r"\b(?:select|table|with|exists)\b|[$#@]|--|/\*", bare, re.IGNORECASE):
        return False
    if re.search(r"[^\W\d]\w*[\"`\]]?\s*\.|[\"`\]]\s*[.(]", bare):
        return False
    return {name.lower() for name in re.findall(r"([^\W\d]\w*)\s*\(", bare)} <= _PLAIN


def _refused(why: str) -> UsageError:
    return UsageError("the condition cannot be used", "--where", why, hint=_HINT)
