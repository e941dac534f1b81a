"""Canonical JSON (RFC 8785): the one text of a value, whose digest a stranger computes too. Sole user of rfc8785.

The standard library's encoder writes the same text for the values that evidence holds, in a tenth of the time: its
keys sort as UTF-16 does below U+D800, its escapes are those of the RFC, and a number that is whole is written as one.
Whatever lies beyond that is left to the library that knows the whole RFC; a test holds the two to each other.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
#: Up to here a number is the same as a double and as an integer, and is written without an exponent by both.
_WHOLE = 2**53 - 1
#: From here on, up to `_WHOLE`, the shortest text of a fraction is written without an exponent.
_SMALL = 1e-4
quoted = encode_basestring


class _OddError(ValueError):
    """A value that the quick way does not write as the RFC does."""


def canonical(value: Any) -> str:
    """Return the canonical text of a JSON value. Raises `ValueError` for what has none, such as a lone surrogate."""
    try:
        return _ENCODER.encode(_plain(value))
    except _OddError:
        import rfc8785

        return rfc8785.dumps(value).decode()


def _plain(value: Any) -> Any:
    """Return a value with its whole numbers as integers. Raises `_OddError` for what is not to be done quickly."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _require_text(value)
        return value
    if kind is float:
        return _number(value)
    if kind is dict:
        for key in value:
            if type(key) is not str or not (key.isascii() or max(key) < "\ud800"):
                raise _OddError
        return {key: _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if value is None or kind is bool or (kind is int and -_WHOLE <= value <= _WHOLE):
        return value
    raise _OddError


def _number(value: float) -> float:
    if value.is_integer() and -_WHOLE <= value <= _WHOLE:
        return int(value)
    if _SMALL <= abs(value) <= _WHOLE:
        return value
    raise _OddError


def _require_text(value: str) -> None:
    """Raise `_OddError` for a lone surrogate: it is no text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _OddError from None
