"""Minutes in which verifications cannot read all within the plan's bound: a fault once runs have used them up."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

from dr.catalog.store import Catalog
from dr.evidence.coverage import Coverage
from dr.evidence.record import Proof
from tests.conftest import Site

GB = 10**9


def proven(site: Site, number: int, *, read: int, seconds: float) -> None:
    """Put a proof of 500 GB on record that read so much in so many seconds."""
    at = datetime.now(UTC) - timedelta(days=4 - number)
    covered = Coverage(
        objects=9, bytes=500 * GB, read_objects=1, read_bytes=read, oldest_read=None, whole_within_seconds=10 * 86_400
    )
    proof = Proof(
        run_id=f"verify-{number}", system="share", target="disk", started=at, finished=at, outcome="degraded",
        level_asked=2, level_reached=1, seconds=seconds, coverage=covered,
    )  # fmt: skip
    with closing(Catalog.open(site.state)) as catalog:
        catalog.record(proof)


def declare(site: Site, proof: str) -> None:
    path = site.root / "config" / "plans" / "share.yaml"
    text = path.read_text().partition("proof:")[0]
    path.write_text(f"{text}proof: {{budget: 100GB, {proof}}}\n")


def test_minutes_that_can_never_do_are_a_fault_once_runs_have_used_them_up(files_site: Site) -> None:
    declare(files_site, "whole_within: 10d, minutes: 60")
    proven(files_site, 1, read=10 * GB, seconds=600)
    files_site.dr("validate")  # it read little, in little time: that shows no speed
    proven(files_site, 2, read=20 * GB, seconds=3700)
    proven(files_site, 3, read=15 * GB, seconds=3650)
    said = files_site.dr("validate", code=2).err
    assert "in 60 minutes the verifications read at most 20.0 GB, 10 in 10 d: level 2 is never reached there" in said
    minutes, within = re.search(r"minutes: \d+", said), re.search(r"whole_within: \w+", said)
    assert minutes and within
    for enough in (f"whole_within: 10d, {minutes[0]}", f"{within[0]}, minutes: 60"):
        declare(files_site, enough)
        files_site.dr("validate")
