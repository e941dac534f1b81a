"""docs/extending.md shows what the toys hold: the code that passes the suites, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
#: The parts that show toys of `tests/toys`.
SECTIONS = ("A source kind", "A check kind", "A scenario")
#: `<!-- FILE: PART -->`, and the code below it.
SHOWN = re.compile(r"<!-- (\S+): ([\w ]+) -->\n```python\n(.*?)```\n", re.DOTALL)


def part_of(text: str, part: str) -> str:
    """Return what stands in a toy between `# begin PART` and `# end PART`."""
    found = re.search(rf"^# begin {part}\n(.*?)^# end {part}$", text, re.DOTALL | re.MULTILINE)
    assert found, part
    return found[1].strip() + "\n"


@pytest.mark.parametrize(("file", "part", "code"), SHOWN.findall(PAGE))
def test_the_code_that_is_shown_is_that_of_the_toy(file: str, part: str, code: str) -> None:
    assert code == part_of((ROOT / file).read_text("utf-8"), part)


@pytest.mark.parametrize("title", SECTIONS)
def test_all_code_is_held_against_a_toy_and_every_part_is_shown(title: str) -> None:
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    shown = SHOWN.findall(section)
    assert len(shown) == section.count("```python") > 0
    for file in {file for file, _, _ in shown}:
        parts = re.findall(r"^# begin ([\w ]+)$", (ROOT / file).read_text("utf-8"), re.MULTILINE)
        assert parts == [part for name, part, _ in shown if name == file]


def test_a_part_that_was_changed_is_seen() -> None:
    assert part_of("# begin x\n\n\na = 1\n\n\n# end x\n", "x") == "a = 1\n"
    assert part_of("# begin x\na = 2\n# end x\n", "x") != "a = 1\n"
