"""Expectations: a value, or a comparison such as `>= 1000`, `between 1 and 9`, `matches ^ok`."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable
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
    """Raise `ValueError` when an expectation can never be judged."""
    text = str(expect)
    if found := _MATCHES.fullmatch(text):
        regular_expression(found[1])
    elif re.match(r"\s*between\b", text, re.IGNORECASE) and not _BETWEEN.fullmatch(text):
        raise ValueError(f"{text!r} is not a comparison: write it as 'between 1 and 9'")
    elif re.match(r"\s*[<>=!]", text) and not _COMPARE.fullmatch(text):
        raise ValueError(f"{text!r} is not a comparison: write it as '>= 1000'")


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
