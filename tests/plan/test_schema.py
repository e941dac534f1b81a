"""The published JSON Schemas agree with the program: editors that use them neither cry wolf nor keep silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dr.plan.schema import schema

ROOT = Path(__file__).parents[2]
PLANS = [*ROOT.glob("plans/*.yaml"), *ROOT.glob("tests/samples/good/plans/*.yaml")]
TARGETS = [*ROOT.glob("targets/*.yaml"), *ROOT.glob("tests/samples/good/targets/*.yaml")]


def faults(kind: str, document: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema(kind))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("path", [*PLANS, *TARGETS], ids=lambda path: f"{path.parent.name} {path.stem}")
def test_what_the_program_takes_the_schema_takes(path: Path) -> None:
    assert faults(path.parent.name.removesuffix("s"), yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    "name", ["unknown_key", "unknown_top_key", "missing_key", "bad_name", "bad_duration", "number_for_text", "bad_url"]
)
def test_what_is_wrong_in_its_form_the_schema_sees(name: str) -> None:
    text = (ROOT / "tests" / "samples" / "faulty" / f"{name}.yaml").read_text()
    assert faults("plan", yaml.safe_load(text)) != []


def test_the_schemas_are_schemas() -> None:
    for kind in ("plan", "target"):
        jsonschema.Draft202012Validator.check_schema(schema(kind))
