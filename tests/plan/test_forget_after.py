"""When a replica forgets, as declared: what is unwise is said, and what is no replica has no such thing."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from dr.errors import Fault
from dr.plan.load import load
from dr.plan.schema import schema

_LOCK = ", immutability: {mode: compliance, days: 60}"


def faults(home: Path, forget_after: str, *, as_target: bool = False, lock: str = "") -> list[Fault]:
    for folder in ("plans", "targets"):
        (home / folder).mkdir()
    places = "targets: [second, first]" if as_target else "targets: [first]\nreplicas: [second]"
    (home / "plans" / "sis.yaml").write_text(
        f"system: sis\nowner: {{role: Data manager}}\nobjectives: {{rto: 1h, rpo: 4h}}\n"
        f"sources: {{a: {{files: {{paths: [{home}/plans]}}}}}}\n{places}\n"
    )
    (home / "targets" / "first.yaml").write_text("target: first\ns3: {bucket: abc}\n")
    (home / "targets" / "second.yaml").write_text(
        f"target: second\nforget_after: {forget_after}\ns3: {{bucket: abcd{lock}}}\n"
    )
    return list(load(home, env={"AWS_ACCESS_KEY_ID": "x"}).faults)


@pytest.mark.parametrize(("forget_after", "lock"), [("90d", ""), ("90d", _LOCK), ("7d", "")])
def test_what_is_wise_is_taken_without_a_word(tmp_path: Path, forget_after: str, lock: str) -> None:
    assert faults(tmp_path, forget_after, lock=lock) == []
    jsonschema.validate({"target": "t", "s3": {"bucket": "abc"}, "forget_after": forget_after}, schema("target"))


@pytest.mark.parametrize(
    ("forget_after", "lock", "words"),
    [("6d", "", "little time to notice"), ("30d", _LOCK, "locks for 60 days: what goes stays below")],
)
def test_what_is_unwise_is_said(tmp_path: Path, forget_after: str, lock: str, words: str) -> None:
    (found,) = faults(tmp_path, forget_after, lock=lock)
    assert found.severity == "advice" and words in found.what and found.where.startswith(str(tmp_path / "targets"))


def test_where_backups_write_nothing_is_forgotten(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, "90d", as_target=True)
    assert found.severity == "unsound" and "which is for replicas" in found.what


@pytest.mark.parametrize("forget_after", ["0", "soon", "-1d"])
def test_what_is_no_time_is_refused(tmp_path: Path, forget_after: str) -> None:
    assert any(
        found.severity == "refused" and found.where.count("second.yaml") for found in faults(tmp_path, forget_after)
    )
