"""`dr points --trust`: said of one suspect point, with a reason, and on record; of nothing else."""

from __future__ import annotations

import getpass
from datetime import timedelta

import pytest

from dr.errors import DrError, UsageError
from dr.evidence.acts import Trust
from dr.operations import trust as module
from dr.operations.trust import trust
from dr.session import Session
from tests.operations.conftest import Office

SUSPECT = "most files were changed at once"


def test_what_was_expected_is_on_record_and_the_point_is_suspect_no_more(office: Office) -> None:
    office.point("run-1", suspect=SUSPECT)
    assert office.session.points(office.loaded)[0].suspect == SUSPECT
    fact = trust(office.session, office.loaded, "run-1", because=" moved to a new disk ").fact
    assert isinstance(fact, Trust)
    assert (fact.point, fact.because, fact.suspect, fact.by) == (
        "run-1", "moved to a new disk", SUSPECT, getpass.getuser(),
    )  # fmt: skip
    assert office.session.points(office.loaded)[0].suspect is None


@pytest.mark.parametrize(
    ("run_id", "because", "said"),
    [
        ("run-1", "  ", "no reason was given"),
        ("run-2", "expected", "nothing is held against"),
        ("run-3", "expected", "no recovery point"),
    ],
)
def test_what_cannot_be_trusted_is_refused_and_nothing_is_recorded(
    office: Office, run_id: str, because: str, said: str
) -> None:
    office.point("run-2")
    office.wait(timedelta(hours=1))
    office.point("run-1", suspect=SUSPECT)
    before = len(list(office.session.catalog.records()))
    with pytest.raises(UsageError, match=said):
        trust(office.session, office.loaded, run_id, because=because)
    assert len(list(office.session.catalog.records())) == before


def test_it_counts_though_no_target_can_be_told_and_the_user_has_no_name(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise DrError("it does not answer")

    def nameless() -> str:
        raise KeyError("uid")

    office.point("run-1", suspect=SUSPECT)
    monkeypatch.setattr(Session, "send_evidence", failing)
    monkeypatch.setattr(module.getpass, "getuser", nameless)
    fact = trust(office.session, office.loaded, "run-1", because="expected").fact
    assert isinstance(fact, Trust) and fact.by == ""
    assert office.session.points(office.loaded)[0].suspect is None
