"""A target that is down: how long a system waits for it, who asks it, and when it is asked again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import RefusedError, TargetDownError
from dr.run.workspace.breaker import OPEN_SECONDS, Breaker, believed_from
from dr.tools import activity, retry
from tests.conftest import Site, plan_text
from tests.proxy import Proxy

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SYSTEMS = [f"system-{number}" for number in range(3)]


def test_many_systems_ask_a_target_that_is_down_no_more_often_than_one_does(
    files_site: Site, s3: Any, bucket: str
) -> None:
    site, keys = files_site, s3.write_keys(files_site.root / "keys")
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    (site.root / "config" / "plans" / "share.yaml").unlink()
    for system in SYSTEMS:
        more = "cadence: {backup: every 4 hours, verify: never, drill: never}\n"
        site.plan(system, plan_text(system, source, targets="[disk, offsite]", more=more))
    with Proxy(s3.port) as wire:
        place = f"endpoint: '{wire.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}"
        site.target("offsite", f"target: offsite\ns3: {{{place}}}\n")
        wire.down = True
        site.dr("backup", SYSTEMS[0], code=3)
        one = wire.visits
        runs = site.dr("run", "--json", code=3).document["runs"]  # nobody sits there, and it was just seen down
        assert sorted(run["system"] for run in runs) == SYSTEMS[1:] and wire.visits == one > 0
        runs = site.dr("backup", "--all", "--json", code=3).document["runs"]
        assert 0 < wire.visits - one <= one, "whoever types a command asks again, and once for all systems"
        told = [target["error"] for run in runs for target in run["targets"] if target["target"] == "offsite"]
        assert len(told) == len(SYSTEMS) and sum("not asked again since" in text for text in told) == len(SYSTEMS) - 1
        assert len({text.partition(" (")[0] for text in told}) == 1, "all are told the same"
        wire.down = False
        runs = site.dr("backup", "--all", "--json").document["runs"]
        assert {run["outcome"] for run in runs} == {"ok"}
        assert not list((site.root / "state" / "down").iterdir())


class Asked:
    """A target that counts who asks it, and answers as it is told to."""

    def __init__(self) -> None:
        self.times, self.error = 0, TargetDownError("it does not answer", "s3://b", "refused", hint="start it")

    def down(self) -> None:
        self.times += 1
        raise self.error

    def up(self) -> None:
        self.times += 1


def breaker(path: Path, *, at: float, since: float) -> Breaker:
    return Breaker(path, lambda: NOW + timedelta(seconds=at), NOW + timedelta(seconds=since))


def test_it_is_asked_again_after_a_while_and_the_note_goes_when_it_answers(tmp_path: Path) -> None:
    asked, path = Asked(), tmp_path / "down" / "offsite"
    with pytest.raises(TargetDownError):
        breaker(path, at=0, since=-300).guard(asked.down)
    with pytest.raises(TargetDownError, match=r"it does not answer .*seen at 12:00:00Z") as caught:
        breaker(path, at=100, since=-200).guard(asked.up)
    assert asked.times == 1 and caught.value.hint == "start it"
    breaker(path, at=301, since=1).guard(asked.up)
    assert asked.times == 2 and not path.exists()
    breaker(path, at=302, since=2).guard(asked.up)
    assert asked.times == 3


def test_a_note_from_a_clock_that_was_wrong_or_that_is_spoilt_hides_no_target(tmp_path: Path) -> None:
    asked, path = Asked(), tmp_path / "down" / "offsite"
    with pytest.raises(TargetDownError):
        breaker(path, at=86_400, since=0).guard(asked.down)
    breaker(path, at=10, since=0).guard(asked.up)
    path.write_text("{")
    breaker(path, at=10, since=0).guard(asked.up)
    assert asked.times == 3


def test_a_refusal_is_an_answer_and_is_not_noted(tmp_path: Path) -> None:
    def refused() -> None:
        raise RefusedError("no", hint="correct the keys")

    with pytest.raises(RefusedError):
        breaker(tmp_path / "offsite", at=0, since=0).guard(refused)
    assert not (tmp_path / "offsite").exists()


def test_how_long_a_note_counts() -> None:
    def since(rpo: float, *, unattended: bool) -> float:
        return (NOW - believed_from(NOW, begun=NOW, rpo=rpo, unattended=unattended)).total_seconds()

    assert since(86_400, unattended=False) == 0
    assert since(86_400, unattended=True) == OPEN_SECONDS
    assert since(600, unattended=True) == 150


@pytest.mark.parametrize(("rpo", "seconds"), [(60, 20), (900, 90), (3600, 120), (86_400, 120)])
def test_the_patience_of_a_system_follows_its_rpo_within_bounds(rpo: float, seconds: float) -> None:
    assert retry.budget_for(rpo) == seconds


def test_it_holds_in_the_threads_that_work_for_the_run() -> None:
    seen: list[float] = []
    note: Callable[[], None] = lambda: seen.append(retry.budget())  # noqa: E731
    with retry.within(33):
        note()
        there = activity.carried(note)
    there()
    note()
    assert seen == [33, 33, retry.BUDGET_SECONDS]
    with retry.within(5):
        patience = retry.Patience(clock=lambda: 0.0)
        assert not patience.is_spent("", 4.0) and patience.is_spent("", 6.0)


def test_restic_and_the_rest_are_as_patient_as_the_rpo_allows_and_a_drill_has_its_time(files_site: Site) -> None:
    site, said = files_site, files_site.root / "said"
    plan = site.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text().replace("rpo: 4h", "rpo: 15m"))
    wrapped = site.root / "restic"
    wrapped.write_text(f'#!/bin/sh\necho "$*" >>{said}\nexec {site.env["DR_RESTIC"]} "$@"\n')
    wrapped.chmod(0o755)
    site.dr("backup", "share", DR_RESTIC=str(wrapped))
    asked = said.read_text().splitlines()
    assert asked and all("--stuck-request-timeout=90s" in line for line in asked if line != "version"), asked
    said.unlink()
    site.dr("drill", "share", DR_RESTIC=str(wrapped))
    assert "--stuck-request-timeout=120s" in said.read_text() and "=90s" not in said.read_text()
