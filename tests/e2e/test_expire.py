"""The plan's retention where backups write: what goes, what is on record of it, and what no retention may take."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest

from dr.errors import DEGRADED, FAILED, LOCKED, OK, REFUSED, LockedError
from dr.operations.holds import place_hold
from dr.operations.run_due import run_due
from dr.queries.status import board
from dr.tools import restic
from dr.tools.disk import DiskStore
from tests.e2e.expiring import RETENTION, Expiring, expiration, pruning
from tests.e2e.forgetful import DAY
from tests.waiting import soon


def test_what_retention_does_not_keep_is_removed_freed_proven_and_on_record(five: Expiring) -> None:
    story, before = five, sum(path.stat().st_size for path in five.path("first").rglob("*"))
    found = story.expired()
    fact, freed = expiration(found), pruning(found)
    assert (fact.outcome, [point.run_id for point in fact.expired]) == ("ok", story.made[:3])
    assert {point.rule for point in fact.expired} == {"no longer kept by last 2"}
    assert {point.left_on for point in fact.expired} == {()}, "nobody has them any more, and that is said"
    assert freed.outcome == "ok" and freed.freed_bytes > 500_000 and not freed.hidden_bytes
    assert freed.points == tuple(story.made[:3]) and freed.level_reached == 1 and freed.proof
    after = sum(path.stat().st_size for path in story.path("first").rglob("*"))
    assert before - after >= freed.freed_bytes - 10_000, "what is called freed is free"
    story.restic("first", "check", "--read-data")
    assert story.points_at("first") == story.made[3:] and story.verify() == ["ok"]
    assert [x.expired for x in story.facts()] == [fact.expired] and story.facts("prune") == [freed]
    again = story.expired()
    assert not expiration(again).expired and expiration(again).outcome == "ok" and pruning(again).objects == 0


def typed(story: Expiring, *arguments: str, code: int = OK) -> dict[str, object]:
    ran = story.site.dr("expire", "share", "--json", *arguments, code=code)
    return ran.document  # type: ignore[no-any-return]


def test_typed_it_says_what_would_go_asks_where_many_would_and_then_does_it(five: Expiring) -> None:
    story = five
    story.site.dr("verify", "share", code=None)  # by the clock of today
    before = story.names("first")
    shown = typed(story, "--dry-run", code=DEGRADED)
    [would] = shown["expirations"]  # type: ignore[misc]
    assert [each["run_id"] for each in would["would_expire"]] == story.made[:3] and not would["expired"]
    assert "more than 50%" in would["blocked"][0] and "--confirm-many" in would["blocked"][0]
    assert len(shown["calendar"][0]["days"]) == 365 and story.names("first") == before  # type: ignore[index]
    refused = typed(story, code=DEGRADED)["expirations"][0]  # type: ignore[index]
    assert refused["outcome"] == "degraded"
    assert story.names("first") == before, "and nothing went"
    assert {each["run_id"]: each["rule"] for each in refused["kept"]}.keys() == set(story.made), "all of them stay"
    assert "0 points expired, 5 stay" in story.site.dr("expire", "share", code=DEGRADED).out
    [done] = typed(story, "--confirm-many")["expirations"]  # type: ignore[misc]
    assert [each["run_id"] for each in done["expired"]] == story.made[:3] and done["pruned"]
    assert {each["run_id"]: each["rule"] for each in done["kept"]}[story.made[-1]].startswith("last")
    assert done["freed_bytes"] > 0 and done["level_reached"] == 1 and done["seconds"] > 0
    listed = story.site.dr("points", "share", "--json").document["points"]
    assert [each["run_id"] for each in listed] == story.made[:2:-1], "what expired is not listed"
    year = story.site.dr("points", "share", "--calendar").out
    assert "WHICH, AND WHY" in year and len(year.splitlines()) == 367
    report = story.site.dr("report", "--format", "md").out
    assert "3 recovery points removed from first" in report and "nobody can recover any more" in report


def test_a_plan_without_retention_expires_nothing_and_says_so(five: Expiring) -> None:
    story = five
    story.declare(more="")
    before = story.names("first")
    ran = story.site.dr("expire", "share")
    assert "the plan has no `retention`, so nothing expires" in ran.out and story.names("first") == before
    assert typed(story) == {**typed(story), "expirations": [], "without_retention": ["share"]}
    assert story.site.dr("expire", "share", "--no-retention", code=2).code == 2


def test_without_a_proof_or_with_an_old_one_nothing_goes_and_that_is_no_success(five: Expiring) -> None:
    story, before = five, five.names("first")
    story.now += 3 * DAY
    found = story.expired()
    assert found.expiration and found.expiration.exit_code == DEGRADED and found.pruning is None
    assert "the newest proof on first is older than 2 d" in expiration(found).blocked[0]
    assert story.names("first") == before
    with closing(story.session) as session:
        problems = board(session, session.chosen(["share"]))[0].row.problems
    told = [problem.text for problem in problems if problem.kind == "expiry_failed"]
    assert told and "the last removal of expired recovery points was done in part: the newest proof" in told[0]


def test_a_point_on_hold_outlives_retention(five: Expiring) -> None:
    story = five
    with closing(story.session) as session:
        place_hold(session, session.chosen(["share"])[0], reason="a lawsuit", point=story.made[0])
    found = story.expired()
    assert [point.run_id for point in expiration(found).expired] == story.made[1:3]
    assert found.decision and "on hold" in found.decision.kept[story.made[0]]
    assert story.points_at("first") == [story.made[0], *story.made[3:]]


def test_a_system_on_hold_keeps_all_and_a_nightly_run_is_no_failure(five: Expiring) -> None:
    story, before = five, five.names("first")
    story.site.dr("verify", "share", code=None)  # by the clock of today
    story.site.dr("hold", "place", "share", "--reason", "a lawsuit")
    ran = story.site.dr("expire", "share")
    assert "nothing expires: the system is on hold" in ran.out and "nothing expires" not in ran.err
    [expired] = typed(story)["expirations"]  # type: ignore[misc]
    assert expired["outcome"] == "ok" and "on hold" in expired["blocked"][0] and expired["expired"] == []
    assert story.names("first") == before


def test_a_clock_that_was_set_back_lets_nothing_go(five: Expiring) -> None:
    story = five
    story.now -= 30 * DAY
    assert "still to come: set this machine's clock" in expiration(story.expired()).blocked[0]


def test_what_somebody_else_removed_stops_it(five: Expiring) -> None:
    story = five
    story.restic("first", "forget", *story.snapshots(story.made[3:4]))
    blocked = expiration(story.expired()).blocked
    assert any(f"first has lost {story.made[3]}" in text for text in blocked) and len(story.points_at("first")) == 5


# -- what restic and the place make of it --------------------------------------------------------------


def test_that_restic_ended_well_is_not_believed(five: Expiring, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an append-only server, where a refused forget ends with 0."""
    story = five
    monkeypatch.setattr(restic.Repository, "forget", lambda self, ids: None)
    found = story.expired()
    fact = expiration(found)
    assert (fact.outcome, fact.expired, found.pruning) == ("failed", (), None)
    assert "restic ended well, but first still lists 3 of the snapshots" in (fact.error or "")
    assert found.expiration and found.expiration.exit_code == FAILED and story.verify() == ["ok"]


def leave_lock(story: Expiring) -> None:
    """A lock of restic, whose process was killed."""
    secret = next((story.site.root / "state" / "secrets").glob("share@first*"))
    env = {"PATH": os.environ["PATH"], "RESTIC_PASSWORD_FILE": str(secret), "HOME": str(story.site.root)}
    argv = [story.site.env["DR_RESTIC"], "-r", str(story.path("first")), "--no-cache", "backup", "--stdin"]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as running:
        assert soon(lambda: locks(story))
        running.kill()


def locks(story: Expiring) -> list[str]:
    return [path.name for path in (story.path("first") / "locks").iterdir() if "-tmp-" not in path.name]


def test_a_stale_lock_of_this_host_is_healed_and_said(five: Expiring) -> None:
    story = five
    leave_lock(story)
    found = story.expired()
    assert expiration(found).outcome == "ok" and len(expiration(found).expired) == 3
    assert "a stale lock of restic on first removed" in expiration(found).notes[0]
    assert not locks(story)


def test_a_lock_that_is_held_is_waited_for_and_ends_with_11(five: Expiring, monkeypatch: pytest.MonkeyPatch) -> None:
    story = five
    monkeypatch.setattr(restic, "LOCK_WAIT", "1s")
    with closing(story.session) as session:
        place = session.toolbox(session.chosen(["share"])[0]).places[0]
        (story.site.root / "work").mkdir()
        with place.repository.occupied(story.site.root / "work"):
            found = story.expired()
    assert found.expiration and found.expiration.exit_code == LOCKED and not expiration(found).expired
    assert len(story.points_at("first")) == 5 and len(expiration(story.expired()).expired) == 3


def test_a_wrong_passphrase_is_refused_and_on_record(five: Expiring) -> None:
    story = five
    secret = next((story.site.root / "state" / "secrets").glob("share@first*"))
    kept = secret.read_bytes()
    secret.write_text("another passphrase\n")
    found = story.expired()
    assert found.expiration and found.expiration.exit_code == REFUSED and not expiration(found).expired
    secret.write_bytes(kept)
    assert len(expiration(story.expired()).expired) == 3


def test_another_repository_in_its_place_is_left_alone(five: Expiring) -> None:
    story = five
    shutil.rmtree(story.path("first"))
    story.restic("first", "init")
    found = story.expired()
    assert expiration(found).outcome == "failed" and "another repository is there" in (expiration(found).error or "")


def test_what_a_prune_damages_is_found_by_the_proof_that_follows(
    five: Expiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the proof: a pack that the last points need goes with the rest."""
    story, whole = five, restic.Repository.prune

    def too_much(self: restic.Repository, **more: int | None) -> None:
        whole(self, **more)
        DiskStore(story.path("first")).remove(max(x for x in story.names("first") if x.startswith("data/")))

    monkeypatch.setattr(restic.Repository, "prune", too_much)
    freed = pruning(story.expired())
    assert freed.outcome == "failed" and "what is left is not proven" in (freed.error or "")
    assert "dr repair share" in freed.error_hint


# -- when it is due ------------------------------------------------------------------------------------


def test_dr_run_expires_each_day_and_prunes_each_week_after_the_proof(five: Expiring) -> None:
    story = five
    story.expired()
    story.declare(more=RETENTION + "cadence: {backup: every 4 hours, expire: every day at 04:00, drill: never}\n")
    done = []
    for _ in range(6):
        (story.site.root / "source" / "changing").write_text(str(story.now))
        with closing(story.session) as session:
            done.append(run_due(session).expirations)
        story.now += DAY / 2
    results = [each for found in done for each in found]
    assert [each.expiration.record.outcome for each in results if each.expiration] == ["ok"] * 2
    assert [each.pruning.record.outcome for each in results if each.pruning] == ["ok"], "on a sunday"
    assert len(story.points_at("first")) <= 4, "the last two, and those since the last run"
    with closing(story.session) as session:
        row = board(session, session.chosen(["share"]))[0]
        assert row.next_due["expire"] and row.next_due["prune"]
        assert row.next_due["expire"] - story.now < timedelta(days=1)


@pytest.mark.parametrize("expire", ["", "expire: never, "])
def test_without_a_cadence_it_is_left_to_who_types_it(five: Expiring, expire: str) -> None:
    """A plan of before, which had `retention` for its replicas, loses nothing by an upgrade."""
    story = five
    story.declare(more=RETENTION + f"cadence: {{{expire}backup: never, verify: never, drill: never}}\n")
    story.now += 9 * DAY
    with closing(story.session) as session:
        assert run_due(session).expirations == []
    assert story.site.dr("expire", "--due", "--json").document["expirations"] == []


def test_a_lock_that_turns_stale_meanwhile_is_healed_too(five: Expiring, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed a moment ago passes for alive until its parent has taken note of it."""
    story, unlock, asked = five, restic.Repository.unlock, list[bool]()
    monkeypatch.setattr(restic, "LOCK_WAIT", "1s")
    leave_lock(story)

    def late(self: restic.Repository) -> None:
        asked.append(True)
        if len(asked) > 1:
            unlock(self)

    monkeypatch.setattr(restic.Repository, "unlock", late)
    # The lock of a backup lets a forget pass: this one is of who removes something.
    monkeypatch.setattr(restic.Repository, "forget", _refused_once(restic.Repository.forget))
    found = story.expired(prune=False)
    assert expiration(found).outcome == "ok" and len(expiration(found).expired) == 3
    assert "a stale lock of restic on first removed" in expiration(found).notes[0]


def _refused_once(forget: Callable[..., None]) -> Callable[..., None]:
    refused: list[bool] = []

    def act(self: restic.Repository, ids: list[str]) -> None:
        if not refused:
            refused.append(True)
            raise LockedError("the repository is locked by another program", hint="wait for it to end")
        forget(self, ids)

    return act
