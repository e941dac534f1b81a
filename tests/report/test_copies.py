"""3-2-1-1-0 is counted from facts, and each of the five can be missed."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dr.evidence.system_status import PlaceState, SystemStatus
from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.report.copies import count_copies, place_rows

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PLAN = Plan.model_validate(
    {
        "system": "sis", "objectives": {"rto": "2h", "rpo": "4h"}, "targets": ["offsite"], "replicas": ["cellar"],
        "sources": {"docs": {"files": {"paths": ["/srv"]}}},
    }
)  # fmt: skip
LOCKED = {"mode": "compliance", "days": 30}


def targets(**cellar: Any) -> dict[str, Target]:
    offsite = {"target": "offsite", "s3": {"bucket": "copies", "immutability": LOCKED}}
    declared = [offsite, {"target": "cellar", "local": {"path": "/mnt/cellar"}, "offline": True, **cellar}]
    return {item["target"]: Target.model_validate(item) for item in declared}


def state(target: str, **changes: Any) -> PlaceState:
    whole = PlaceState(
        target=target, points=3, newest=NOW, proof_level=3, seen=NOW, proof="ok", proven=NOW, replication="ok",
        object_lock="compliance 30 days" if target == "offsite" else "",
    )  # fmt: skip
    return replace(whole, **changes)


def counted(*states: PlaceState, damaged: int = 0, **cellar: Any) -> Any:
    standing = SystemStatus(system="sis", places={each.target: each for each in states}, damaged_points=damaged)
    return count_copies(place_rows(PLAN, targets(**cellar), standing), standing)


def own_address() -> str:
    """An address of an interface of this machine; loopback where it has no other. Nothing is sent."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("endpoint", "declared", "offsite"),
    [
        ("https://s3.example.org", None, True),
        ("https://s3.example.org", False, False),
        ("http://192.0.2.1:9000", None, True),
        ("http://127.0.0.1:9000", None, False),
        ("http://127.0.0.1:9000", True, False),
        ("http://[::1]:9000", True, False),
        ("http://0.0.0.0:9000", None, False),
        ("https://localhost", None, False),
        (f"https://{socket.gethostname()}:9000", None, False),
        (f"http://{own_address()}:9000", True, False),
    ],
)
def test_a_bucket_is_offsite_as_declared_but_never_on_this_very_host(
    endpoint: str, declared: bool | None, offsite: bool
) -> None:
    bucket = {"target": "offsite", "s3": {"bucket": "copies", "endpoint": endpoint}, "offsite": declared}
    known = {**targets(), "offsite": Target.model_validate(bucket)}
    standing = SystemStatus(system="sis", places={name: state(name) for name in known})
    found = count_copies(place_rows(PLAN, known, standing), standing)
    told = "; ".join(found.missing)
    assert found.offsite == offsite and ("a copy offsite" in told) == (not offsite)
    assert ("on this very host: use one in another place" in told) == (not offsite and declared is not False)


def test_a_disk_is_offsite_when_that_is_declared() -> None:
    assert counted(state("offsite"), state("cellar")).offsite == 1
    assert counted(state("offsite"), state("cellar"), offsite=True).offsite == 2


def test_a_bucket_with_a_lock_and_a_disk_that_is_away_meet_it() -> None:
    found = counted(state("offsite"), state("cellar"))
    assert found.met and found.numbers == "3-2-1-2-0" and found.missing == ()


@pytest.mark.parametrize(
    ("states", "damaged", "numbers", "word"),
    [
        pytest.param([state("offsite")], 0, "2-2-1-1-0", "1 more copy", id="a place without a point is not a copy"),
        pytest.param([state("cellar")], 0, "2-1-0-1-0", "offsite", id="a disk is not offsite"),
        pytest.param([state("offsite", points=0), state("cellar")], 0, "2-1-0-1-0", "media", id="disks alone"),
        pytest.param([state("offsite"), state("cellar", proof="failed")], 0, "3-2-1-2-1", "cellar ended failed", id="a bad proof"),
        pytest.param([state("offsite"), state("cellar")], 2, "3-2-1-2-1", "2 recovery points with damage", id="damage"),
        pytest.param([state("offsite"), state("cellar", replication="degraded")], 0, "3-2-1-2-1", "replication", id="copied in part"),
        pytest.param([state("offsite"), state("cellar", proof=None)], 0, "3-2-1-2-0", "never verified", id="one unproven"),
        pytest.param([state("offsite", proof=None), state("cellar", proof=None)], 0, "3-2-1-2-?", "never verified", id="none proven"),
    ],
)  # fmt: skip
def test_each_of_the_five_can_be_missed(states: list[PlaceState], damaged: int, numbers: str, word: str) -> None:
    found = counted(*states, damaged=damaged)
    assert not found.met and found.numbers == numbers
    assert any(word in text for text in found.missing), found.missing


@pytest.mark.parametrize("seen", ["", "off", "on, without a default", "governance 30 days"])
def test_a_lock_that_is_declared_but_was_not_seen_does_not_count(seen: str) -> None:
    found = counted(state("offsite", object_lock=seen), state("cellar"), offline=False)
    assert found.immutable_or_offline == 0 and "immutable" in found.missing[-1]


def test_media_are_what_the_target_says() -> None:
    assert counted(state("cellar"), media="tape").media == 2
    assert counted(state("cellar")).media == 1, "production lies on disk"
