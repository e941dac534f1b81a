"""`kit.yaml`: who the custodians are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.errors import PlanError
from dr.plan.kit import load_kit_plan


def test_none_is_needed(tmp_path: Path) -> None:
    assert load_kit_plan(tmp_path) is None


def test_roles_and_a_threshold(tmp_path: Path) -> None:
    (tmp_path / "kit.yaml").write_text("custodians: [Superintendent, Business manager]\nthreshold: 2\npaper: Letter\n")
    plan = load_kit_plan(tmp_path)
    assert plan and (plan.custodians, plan.threshold, plan.paper) == (
        ("Superintendent", "Business manager"),
        2,
        "Letter",
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("custodians: [A]\nthreshold: 0\n", 2, "threshold"),
        ("custodians: []\nthreshold: 1\n", 1, "custodians"),
        ("custodians: [A]\nthreshold: '2'\n", 2, "threshold"),
        ("custodians: [A]\nthreshold: 1\npapr: A4\n", 3, "papr"),
        ("custodians: [A]\n", 1, "threshold"),
        ("custodians: [A\n", 2, ""),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    (tmp_path / "kit.yaml").write_text(text)
    with pytest.raises(PlanError) as refused:
        load_kit_plan(tmp_path)
    fault = refused.value.faults[0]
    assert (Path(fault.file).name, fault.line) == ("kit.yaml", line) and said in fault.what, fault
    assert refused.value.where == fault.where and refused.value.what == fault.what
