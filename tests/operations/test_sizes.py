"""Once a listing is on record, the board can tell how much room is left: without reading a year of records."""

from __future__ import annotations

from datetime import timedelta

from dr.evidence.acts import NewBeginning
from dr.evidence.coverage import Coverage
from dr.evidence.record import Proof
from dr.operations.sizes import keep_size
from dr.queries.status import site_problems
from tests.operations.conftest import Office

GB = 10**9


def listed(office: Office, bytes: int, name: str) -> None:
    """Have a verification on record that saw so many bytes, as `carry_out` puts it there."""
    seen = Coverage(
        objects=1, bytes=bytes, read_objects=1, read_bytes=bytes, oldest_read=office.now, whole_within_seconds=86_400
    )
    proof = Proof(
        run_id=f"verify-{name}", system="share", target="disk", started=office.now, finished=office.now, outcome="ok",
        level_asked=2, level_reached=2, coverage=seen,
    )  # fmt: skip
    office.session.catalog.record(proof)
    keep_size(office.session, proof, "share")


def declare(office: Office, more: str) -> None:
    path = office.session.config / "targets/disk.yaml"
    path.write_text(path.read_text("utf-8").partition("capacity")[0] + more, "utf-8")
    office.session.__dict__.pop("declarations", None)


def test_a_target_that_fills_is_told_by_its_growth_then_by_its_share_and_since_when(office: Office) -> None:
    declare(office, "capacity: 100GB\n")
    for day in range(41):  # half a gigabyte a day
        listed(office, (40 + day // 2) * GB, f"a{day}")
        assert not list(site_problems(office.session)) or day > 14, "no history is no growth"
        office.wait(timedelta(days=1))
    (soon,) = site_problems(office.session)
    first, kept = soon.since, office.session.catalog.memory("share", "disk/size")
    assert soon.kind == "target_full" and "by ESTIMATE reaches its capacity of 100 GB in" in soon.text
    assert first and first < office.now - timedelta(days=1), "since it was first known"
    listed(office, 95 * GB, "b")
    (full,) = site_problems(office.session)
    assert full.text.startswith("disk holds 95.0 GB, 95 % of its capacity of 100 GB") and full.since == first
    assert kept != office.session.catalog.memory("share", "disk/size")
    declare(office, "capacity: 90GB\n")
    assert [each.severity for each in site_problems(office.session)] == ["degraded"], "as it is declared now"
    office.now -= timedelta(days=30)
    assert not list(site_problems(office.session)), "a listing that bears a later time than now says nothing"
    office.wait(timedelta(days=30))
    given_up = NewBeginning(
        run_id="begin-1", system="share", target="disk", found="nothing", because="a new disk", started=office.now,
        finished=office.now,
    )  # fmt: skip
    office.session.catalog.record(given_up)
    assert not list(site_problems(office.session)), "nothing is known of what was given up"


def test_a_budget_is_compared_with_what_is_stored_at_the_prices_declared(office: Office) -> None:
    declare(office, "capacity: 1TB\nprices: {currency: EUR, storage: 0.1, egress: 1}\nbudget: 10\n")
    listed(office, 89 * GB, "a")
    assert not list(site_problems(office.session))
    office.wait(timedelta(hours=1))
    listed(office, 101 * GB, "b")
    (over,) = site_problems(office.session)
    assert (over.kind, over.severity, over.since) == ("over_budget", "warning", office.now)
    assert over.text == "disk costs 10.10 EUR a month by ESTIMATE, more than its budget of 10.00 EUR a month"


def test_nothing_is_kept_where_no_bound_is_declared(office: Office) -> None:
    listed(office, GB, "a")
    assert office.session.catalog.memory("share", "disk/size") is None
