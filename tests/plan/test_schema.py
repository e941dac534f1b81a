"""The published JSON Schemas agree with the program: editors that use them neither cry wolf nor keep silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dr.errors import PlanError
from dr.plan.document import Document, read
from dr.plan.kit import load_kit_plan
from dr.plan.schema import schema

ROOT = Path(__file__).parents[2]
PLANS = [*ROOT.glob("plans/*.yaml"), *ROOT.glob("tests/samples/good/plans/*.yaml")]
KITS = [*ROOT.glob("tests/samples/good/kit.yaml")]
SITES = [*ROOT.glob("tests/samples/site/site.yaml")]
TARGETS = [*ROOT.glob("targets/*.yaml"), *ROOT.glob("tests/samples/good/targets/*.yaml")]


def faults(kind: str, document: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema(kind))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("path", [*PLANS, *TARGETS], ids=lambda path: f"{path.parent.name} {path.stem}")
def test_what_the_program_takes_the_schema_takes(path: Path) -> None:
    assert faults(path.parent.name.removesuffix("s"), yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_a_site_that_the_program_takes_the_schema_takes(path: Path) -> None:
    document = read(path)
    assert isinstance(document, Document) and faults("site", document.data) == []


def test_the_schema_of_a_site_knows_the_keys_of_plans_and_requires_none_of_them() -> None:
    assert (
        faults("site", {"defaults": {"objectives": {"mtd": "8h"}, "sources": {"docs": {"host": {"ssh": "a@b.c"}}}}})
        == []
    )
    assert len(faults("site", {"defaults": {"cadense": {}}})) == 1
    assert len(faults("site", {"defaults": {"cadence": {"bakup": "every day at 01:00"}}})) == 1
    assert len(faults("site", {"defaults": {"system": "sis"}})) == 1


@pytest.mark.parametrize("path", KITS, ids=lambda path: path.stem)
def test_custodians_that_the_program_takes_the_schema_takes(path: Path) -> None:
    assert load_kit_plan(path.parent) and faults("kit", yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("custodians: [Superintendent]\nthreshhold: 1\n", "unknown key 'threshhold'"),
        ("custodians: [Superintendent]\n", "the key 'threshold' is missing"),
        ("custodians: [Superintendent]\nthreshold: '1'\n", "'threshold'"),
        ("custodians: []\nthreshold: 1\n", "'custodians'"),
        ("custodians: [Superintendent]\nthreshold: 1\npaper: A5\n", "'paper'"),
    ],
)
def test_what_is_wrong_with_custodians_program_and_schema_see(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "kit.yaml").write_text(text)
    with pytest.raises(PlanError) as raised:
        load_kit_plan(tmp_path)
    assert any(said in fault.what for fault in raised.value.faults), raised.value.faults
    assert faults("kit", yaml.safe_load(text)) != []


@pytest.mark.parametrize(
    ("many", "threshold", "said"), [(2, 3, "more than there are custodians"), (2, 1, "each custodian alone")]
)
def test_shares_that_cannot_be_are_refused(many: int, threshold: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "kit.yaml").write_text(f"custodians: {['Clerk'] * many}\nthreshold: {threshold}\n")
    with pytest.raises(PlanError, match=said):
        load_kit_plan(tmp_path)


@pytest.mark.parametrize(
    "name", ["unknown_key", "unknown_top_key", "missing_key", "bad_name", "bad_duration", "number_for_text", "bad_url"]
)
def test_what_is_wrong_in_its_form_the_schema_sees(name: str) -> None:
    text = (ROOT / "tests" / "samples" / "faulty" / f"{name}.yaml").read_text()
    assert faults("plan", yaml.safe_load(text)) != []


def test_the_schemas_are_schemas() -> None:
    for kind in ("plan", "target", "kit"):
        jsonschema.Draft202012Validator.check_schema(schema(kind))
