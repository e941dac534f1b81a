"""What runs moved and cost: counted, held against what the service saw; and what is to come, from history alone."""

from __future__ import annotations

from contextlib import closing

import pytest

from dr.catalog.store import Catalog
from dr.evidence.posture import Requests
from dr.evidence.seal import encode
from scripts.servers.s3 import S3Server
from tests.conftest import Site, plan_text
from tests.proxy import Busy, Exchange, busy
from tests.tools.test_meter import as_seen

PRICES = "prices: {currency: EUR, storage: 0.02, requests: {write: 5, list: 5, read: 0.4}, egress: 90}\n"


def own(front: Busy, since: int = 0) -> list[Exchange]:
    """What this program asked for, not restic."""
    return [each for each in front.seen[since:] if "minio" not in each.agent.lower()]


def before_record(exchanges: list[Exchange]) -> list[Exchange]:
    """What it asked for until it sent the first record of the run, or asked which records are there."""
    ends = [n for n, each in enumerate(exchanges) if "_evidence" in each.asked]
    return exchanges[: ends[0]]


@pytest.mark.slow
def test_what_a_run_moved_and_cost_is_on_record_as_the_service_saw_it(site: Site, s3: S3Server, bucket: str) -> None:
    keys = s3.write_keys(site.root / "keys")
    (site.root / "source").mkdir()
    (site.root / "source" / "letter").write_text("a letter\n" * 1000)
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, targets="[offsite]"))
    with busy(s3.port) as front:
        place = f"s3: {{endpoint: '{front.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}}}\n"
        site.target("offsite", f"target: offsite\n{place}{PRICES}capacity: 1GB\n")
        (run,) = site.dr("backup", "share", "--json").document["runs"]
        (moved,) = run["traffic"]
        assert moved["requests"] == requests(before_record(own(front)))
        assert moved["restic_sent_bytes"] == run["targets"][0]["bytes_added"] > 0, "as restic reports it, apart"
        assert any("minio" in each.agent.lower() for each in front.seen), "restic asked for more, which nobody counts"
        begun = len(front.seen)
        (proof,) = site.dr("verify", "share", "--json").document["proofs"]
        (moved,), seen = proof["traffic"], as_seen(before_record(own(front, begun)))
        assert moved["requests"] == requests(before_record(own(front, begun)))
        assert (moved["sent_bytes"], moved["received_bytes"]) == (seen.sent, seen.received)
        assert moved["restic_sent_bytes"] is None, "restic reports nothing of what it read"
        price = (seen.write * 5 + seen.list * 5 + seen.read * 0.4) / 1000 + seen.received / 10**9 * 90
        assert moved["price"] == {"amount": pytest.approx(price, abs=1e-9), "currency": "EUR"}
        whole = as_seen(own(front))
    with closing(Catalog.open(site.state)) as catalog:
        (month,) = catalog.traffic(["share"])
    assert month.requests == Requests(write=whole.write, list=whole.list, read=whole.read, delete=whole.delete)
    assert (month.runs, month.sent_bytes, month.received_bytes) == (2, whole.sent, whole.received), "the end too"
    (cost,) = site.dr("report", "--format", "json", "--json").document["report"]["costs"]
    assert cost["moved"]["requests"] == encode(month.requests) and cost["moved"]["price"]["currency"] == "EUR"
    line = f'dr_target_received_bytes_total{{system="share",target="offsite"}} {float(whole.received)}'
    assert line in site.dr("metrics").out
    told = site.dr("forecast", "--json").document["forecasts"][0]
    assert told["stored_bytes"] == proof["coverage"]["bytes"] and told["estimate"]["growth"] is None
    assert told["estimate"]["capacity"] == {
        "bytes": 10**9, "months": None, "soonest_months": None, "latest_months": None
    }  # fmt: skip
    assert any("too little history" in note for note in told["notes"])


def requests(exchanges: list[Exchange]) -> dict[str, int]:
    seen = as_seen(exchanges)
    return {"write": seen.write, "list": seen.list, "read": seen.read, "delete": seen.delete}
