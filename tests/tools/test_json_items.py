"""A long JSON array is read object by object, to what the library reads of it whole."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest

from dr.tools import json_items
from dr.tools.json_items import items_of

NAMES = ["a", "Ü€", 'with "quotes" \\', "], {[", "line\nend", ""]


def _object(dice: random.Random, depth: int = 0) -> dict[str, Any]:
    kinds = [dice.choice(NAMES), dice.randrange(10**12), None, True, [1, [2, {}]], 0.5]
    item = {f"{dice.choice(NAMES)}{number}": dice.choice(kinds) for number in range(dice.randrange(4))}
    return item | ({"inner": _object(dice, depth + 1)} if depth < 2 and dice.random() < 0.3 else {})


@pytest.mark.parametrize("piece", [20, 64, 1 << 16])
def test_the_objects_are_those_that_the_library_reads_whatever_the_pieces(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(json_items, "_PIECE", piece)
    dice = random.Random(piece)
    for turn in range(60):
        items = [_object(dice) for _ in range(dice.randrange(6))]
        whole = items if turn % 2 else {"list": items}
        text = json.dumps(whole, indent=dice.choice((None, "\t")), ensure_ascii=dice.random() < 0.5)
        assert list(items_of(io.BytesIO(f"\n{text} \n".encode()))) == items
    for nothing in ("null", '{"list": null}', "[]", '{"list":[]}'):
        assert list(items_of(io.BytesIO(nothing.encode()))) == []


@pytest.mark.parametrize(
    "text",
    ["", "x", "[", "[1]", '{"a": 1}', '{"error": "no"}', '[{"a": 1}', '[{"a": 1},]', '[{"a": 1} {"b": 2}]', '[,{"a": 1}]',
     '[{"a": 1}] and more', '{"list": [{"a": 1}]', '[{"a": 1}]}', '[{"a": "\\ud8']
)  # fmt: skip
def test_what_is_not_one_array_of_objects_or_breaks_off_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(items_of(io.BytesIO(text.encode())))
