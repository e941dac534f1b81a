"""docs/reference.md says what the schemas say: made from them, and nothing in it is out of date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from dr.plan.schema import LENT, schema

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference.md"
ROW = re.compile(r"^\| (?:\[)?`([a-z0-9_]+)`.* \| `([^`]+)` \|$", re.MULTILINE)


def test_the_reference_is_the_one_that_the_schemas_make(tmp_path: Path) -> None:
    made = tmp_path / "reference.md"
    subprocess.run([sys.executable, ROOT / "scripts" / "reference.py", "-o", made], check=True)
    assert made.read_text() == PAGE.read_text(), "run `make reference`"


def test_every_key_of_the_schemas_has_a_row_with_an_example_that_is_yaml() -> None:
    rows = ROW.findall(PAGE.read_text())
    wanted = []
    for kind in ("plan", "target", "kit", "site"):
        whole = schema(kind)
        own = (part for name, part in whole.get("$defs", {}).items() if not name.startswith(LENT))
        for part in (whole, *own):
            wanted += [key for form in part.get("anyOf", [part]) for key in form.get("properties", {})]
    assert sorted(name for name, _ in rows) == sorted(wanted)
    for name, example in rows:
        written = example.replace("\\|", "|")
        read = list(yaml.safe_load(written))
        assert read == ([True] if name == "on" else [name]), example  # as YAML 1.1 reads it; we do not


def test_every_part_is_linked_to_its_section() -> None:
    text = PAGE.read_text()
    heads = [re.sub(r"[^a-z0-9_-]", "", head.lower()) for head in re.findall(r"^### (.+)$", text, re.MULTILINE)]
    links = re.findall(r"\]\(#([a-z0-9_-]+)\)", text)
    assert len(heads) == len(set(heads)) > 25
    assert set(links) == set(heads)
