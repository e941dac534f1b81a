"""Expectations: a value, or a comparison such as `>= 1000`, `between 1 and 9`, `matches ^ok`."""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

Expectation = str | int | float | bool

_COMPARE = re.compile(r"\s*(>=|<=|==|!=|>(?!=)|<(?!=))\s*(.+?)\s*", re.DOTALL)
_BETWEEN = re.compile(r"\s*between\s+(.+?)\s+and\s+(.+?)\s*", re.IGNORECASE)
_MATCHES = re.compile(r"\s*matches\s+(.+)", re.IGNORECASE | re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


def check_expectation(expect: Expectation) -> None:
    """Raise `ValueError` when an expectation can never be judged, or never hold."""
    text = str(expect)
    if found := _MATCHES.fullmatch(text):
        regular_expression(found[1])
    elif re.match(r"\s*between\b", text, re.IGNORECASE) and not _BETWEEN.fullmatch(text):
        raise ValueError(f"{text!r} is not a comparison: write it as 'between 1 and 9'")
    elif re.match(r"\s*[<>=!]", text) and not _COMPARE.fullmatch(text):
        raise ValueError(f"{text!r} is not a comparison: write it as '>= 1000'")
    elif (found := _BETWEEN.fullmatch(text)) and not _compare("<=", found[1], found[2]):
        hint = f": write the smaller one first, 'between {found[2]} and {found[1]}'"
        raise ValueError(f"nothing is {text.strip()!r}{hint if _compare('<=', found[2], found[1]) else ''}")
    elif any(number != number for number in map(_number, _bounds(expect))):
        raise ValueError(f"{text!r} holds for nothing: nan equals no number, and is neither more nor less than one")


def check_count(expect: Expectation) -> None:
    """Raise `ValueError` when no number of things, or of bytes, is as expected: a whole number from 0 on."""
    check_expectation(expect)
    bounds, text = _bounds(expect), str(expect)
    if isinstance(expect, bool) or any(_number(bound) is None for bound in bounds):
        raise ValueError(f"{text!r} is not a number, nor a comparison with one: write it as 10 or '>= 10'")
    if bounds and not any(holds(expect, number) for number in _near(bounds)):
        raise ValueError(f"{text!r} holds for no number from 0 on: write it as 10 or '>= 10'")


def _bounds(expect: Expectation) -> tuple[object, ...]:
    """Return what is compared with; nothing of a pattern."""
    text = expect if isinstance(expect, str) else ""
    if _MATCHES.fullmatch(text):
        return ()
    if found := _BETWEEN.fullmatch(text) or _COMPARE.fullmatch(text):
        return found.groups()[-2:] if found.re is _BETWEEN else (found[2],)
    return (expect,)


def _near(bounds: tuple[object, ...]) -> Iterator[int]:
    """Yield the whole numbers from 0 on that lie around some bounds: if none of them holds, none does."""
    yield 0
    for number in map(_number, bounds):
        if number is not None and 0 <= number < math.inf:
            yield from (max(0, math.floor(number) + step) for step in (-1, 0, 1, 2))


def of_contents(text: str) -> str:
    """Return a regular expression for the bytes of a file; `ValueError` for what is none."""
    return regular_expression(text, os.fsencode(text))


def regular_expression(text: str, form: str | bytes = "") -> str:
    """Return a regular expression, which is read in its own form or another; `ValueError` for what is none."""
    try:
        re.compile(form or text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error
    return text


def holds(expect: Expectation, observed: object) -> bool:
    """Whether what was observed is as expected. What cannot be compared does not hold."""
    text = expect if isinstance(expect, str) else None
    if text and (found := _MATCHES.fullmatch(text)):
        return re.search(found[1], "" if observed is None else str(observed)) is not None
    if text and (found := _BETWEEN.fullmatch(text)):
        return _compare(">=", observed, found[1]) and _compare("<=", observed, found[2])
    if text and (found := _COMPARE.fullmatch(text)):
        return _compare(found[1], observed, found[2])
    return _compare("==", observed, expect)


def describe(expect: Expectation) -> str:
    """Return an expectation in words."""
    if isinstance(expect, str) and (_COMPARE.fullmatch(expect) or _BETWEEN.fullmatch(expect)):
        return " ".join(expect.split())
    if isinstance(expect, str) and _MATCHES.fullmatch(expect):
        return expect.strip()
    return f"= {expect}"


def _compare(sign: str, observed: object, wanted: object) -> bool:
    if observed is None:
        return False
    for read in (_number, _time):
        left, right = read(observed), read(wanted)
        if left is not None and right is not None:
            return _OPERATORS[sign](left, right)
    if sign in ("==", "!=") or (_number(observed) is None and _number(wanted) is None):
        return _OPERATORS[sign](str(observed).strip(), str(wanted).strip())
    return False


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return float(value)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
