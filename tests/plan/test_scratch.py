from __future__ import annotations

from typing import Any

import pytest

from dr.plan.plan import Plan
from dr.plan.scratch import why_unsafe
from dr.plan.target import Target


def plan(system: str, *targets: str) -> Plan:
    body: dict[str, Any] = {
        "system": system, "objectives": {"rto": "1h", "rpo": "4h"}, "targets": list(targets),
        "sources": {"docs": {"files": {"paths": ["/srv"]}}},
    }  # fmt: skip
    return Plan.model_validate(body)


def bucket(name: str, in_bucket: str, **more: str) -> Target:
    return Target.model_validate({"target": name, "s3": {"bucket": in_bucket, **more}})


PLANS = {"sis": plan("sis", "offsite"), "hr": plan("hr", "vault")}
OTHERS = {
    "offsite": bucket("offsite", "district", prefix="backups"),
    "vault": bucket("vault", "vault"),
    "unused": bucket("unused", "spare"),
    "disk": Target.model_validate({"target": "disk", "local": {"path": "/srv/copies"}}),
}


def test_a_bucket_of_its_own_may_be_attacked() -> None:
    assert why_unsafe("scratch", PLANS, {**OTHERS, "scratch": bucket("scratch", "scratch")}) == ""


@pytest.mark.parametrize(
    ("scratch", "expected"),
    [
        pytest.param(bucket("scratch", "district"), "in the bucket of the target 'offsite'", id="around it"),
        pytest.param(bucket("scratch", "district", prefix="backups"), "bucket of the target 'offsite'", id="the same"),
        pytest.param(bucket("scratch", "district", prefix="backups/sis"), "bucket of the target", id="inside it"),
        pytest.param(bucket("scratch", "district", prefix="other"), "bucket of the target", id="beside it"),
        pytest.param(bucket("scratch", "District"), "bucket of the target 'offsite'", id="in other letters"),
        pytest.param(
            bucket("scratch", "district", endpoint="http://127.0.0.1:9"), "bucket of the", id="by another address"
        ),
        pytest.param(bucket("scratch", "spare"), "bucket of the target 'unused'", id="of a target of no plan"),
        pytest.param(
            Target.model_validate({"target": "scratch", "local": {"path": "/srv/x"}}),
            "is a directory",
            id="a directory",
        ),
    ],
)
def test_whatever_lies_near_something_declared_may_not(scratch: Target, expected: str) -> None:
    assert expected in why_unsafe("scratch", PLANS, {**OTHERS, "scratch": scratch})


@pytest.mark.parametrize("name", ["offsite", "vault"])
def test_a_target_of_any_plan_may_not(name: str) -> None:
    assert "holds copies of the system" in why_unsafe(name, PLANS, OTHERS)


def test_a_target_that_is_not_there_may_not() -> None:
    assert "no usable target 'nowhere'" in why_unsafe("nowhere", PLANS, OTHERS)
