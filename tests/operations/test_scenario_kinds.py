"""What every scenario promises: each there is, and one that is defined in a file of its own, keep it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dr.errors import UsageError
from dr.evidence.record import Drill
from dr.operations.drill import drill
from dr.operations.lifecycle import Finished
from dr.operations.scenarios import DRIVERS
from dr.plan.load import load
from dr.plan.scenario import SCENARIOS, Scenario
from dr.plan.schema import schema
from dr.report import words
from dr.run.recovery.request import RecoveryRequest
from tests.conftest import Site, plan_text
from tests.e2e.bucket import make_attacked
from tests.toys.scenario import NEWEST_LOST, NewestLostDriver

ALL = [*SCENARIOS, NEWEST_LOST.name]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One scenario more than there is."""
    monkeypatch.setitem(SCENARIOS, NEWEST_LOST.name, NEWEST_LOST)
    monkeypatch.setitem(DRIVERS, NEWEST_LOST.name, NewestLostDriver())


@pytest.fixture
def place(name: str, site: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A system `share` with two copies of each of two points, and what the scenario needs."""
    if SCENARIOS[name].attacks_scratch:
        made = make_attacked(site, request.getfixturevalue("s3"))
        made.target("scratch", made.make_bucket())
        made.plan("drill: {scratch: scratch}\n")
    else:
        request.getfixturevalue("files_site")
        site.escrow(SCENARIOS[name].begins_with_kit)  # else no self-copy is there to begin with
        site.dr("backup", "share")
        site.dr("backup", "share")
    for variable, value in site.env.items():
        monkeypatch.setenv(variable, value)
    return site


def held(site: Site, **asked: Any) -> Finished[Drill]:
    """Drill in this process, which knows the toy."""
    session = site.session()
    (done,) = drill(session, session.chosen(["share"]), RecoveryRequest(**asked))
    assert session.catalog.open_runs("share") == []
    assert [record.fact for record in session.catalog.facts(("drill",), systems=["share"])][-1] == done.record
    session.close()
    return done


# -- the row -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_row_says_what_is_lost_in_words_that_reports_show(name: str) -> None:
    row = SCENARIOS[name]
    assert row.name == name and re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    assert words.scenario(name) == row.assumed and not row.assumed.endswith(".") and len(row.assumed) > 10


@pytest.mark.parametrize("name", ALL)
def test_plans_and_their_schema_take_it(name: str, tmp_path: Path) -> None:
    row = SCENARIOS[name]
    scratch = "scratch: practice, " if row.attacks_scratch else ""
    text = plan_text("sis", "a: {files: {paths: [/srv]}}", targets="[disk, vault]")
    text += (
        f"drill: {{{scratch}scenario: {name}}}\ncadence: {{scenarios: {{{ALL[ALL.index(name) - 1]}: every 9 weeks}}}}\n"
    )
    if ALL[ALL.index(name) - 1] == "ransomware":
        text = text.replace("drill: {", "drill: {scratch: practice, ")
    jsonschema.validate(yaml.safe_load(text), schema("plan"))
    keys = "credentials: {env: {access_key_id: A, secret_access_key: B}}"
    bucket = f"s3: {{endpoint: 'https://s3.example', bucket: practice, {keys}}}"
    for target in ("disk", "vault"):
        _write(tmp_path / "targets" / f"{target}.yaml", f"target: {target}\nlocal: {{path: /srv/{target}}}\n")
    _write(tmp_path / "targets" / "practice.yaml", f"target: practice\n{bucket}\n")
    _write(tmp_path / "plans" / "sis.yaml", text)
    assert [fault for fault in load(tmp_path).faults if fault.severity == "refused"] == []
    _write(tmp_path / "plans" / "sis.yaml", text.replace(f"scenario: {name}", f"scenario: {name}s"))
    (fault,) = (fault for fault in load(tmp_path).faults if "'scenario' cannot be" in fault.what)
    assert fault.severity == "refused" and f"'{name}'" in fault.hint
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load((tmp_path / "plans" / "sis.yaml").read_text()), schema("plan"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


# -- what does not go together -----------------------------------------------------------------------

POINT = "20260101T000000Z-aaaaaa"
#: Of each option: what asks for it, and whether a row takes it.
OPTIONS: dict[str, tuple[dict[str, Any], Callable[[Scenario], bool]]] = {
    "--point": ({"point": POINT}, lambda row: not row.finds_point),
    "--at": ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, lambda row: not row.finds_time),
    "--kit": ({"kit": Path("kit"), "shares": (Path("share"),)}, lambda row: row.begins_with_kit),
    "--target": ({"target": "disk"}, lambda row: not row.loses_primary),
}


@pytest.mark.parametrize("name", ALL)
def test_what_its_row_does_not_take_is_refused_with_nothing_touched(
    name: str, files_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr("dr.operations.drill.across", lambda session, items, act: begun.append(name) or [])
    for option, (asked, takes) in OPTIONS.items():
        session = files_site.session()
        begun.clear()
        try:
            drill(session, session.chosen(["share"]), RecoveryRequest(scenario=name, **asked))
        except UsageError as error:
            refused = error.where == option
            assert refused or SCENARIOS[name].attacks_scratch, error
            assert error.hint
        else:
            refused = False
            assert begun == [name]
        assert refused != takes(SCENARIOS[name]), option
        assert session.catalog.head()[0] == 0
        session.close()


# -- the drill ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_it_is_held_judged_and_recorded_and_fails_when_nothing_is_left(name: str, place: Site) -> None:
    done = held(place, scenario=name)
    fact, row = done.record, SCENARIOS[name]
    assert (done.exit_code, fact.scenario, fact.real) == (0 if fact.outcome == "ok" else 3, name, False), fact
    assert fact.outcome in ("ok", "degraded") and fact.rta_seconds is not None and fact.rpa_seconds is not None
    assert fact.sandbox == "destroyed" and done.digest
    assert fact.proof_level <= 3 if row.partial else fact.proof_level >= 4
    assert (fact.sample < 1) == row.partial
    if row.loses_primary:
        assert fact.target == "vault" and "disk" in " ".join(event.what for event in fact.events)
    for copies in ("disk", "vault"):
        shutil.rmtree(place.root / copies, ignore_errors=True)
    if not row.attacks_scratch:
        lost = held(place, scenario=name)
        assert lost.exit_code not in (0, 3) and lost.record.outcome == "failed"
        assert lost.record.rta_seconds is None and lost.record.error and lost.record.error_hint


@pytest.mark.slow
@pytest.mark.parametrize("name", [NEWEST_LOST.name])
def test_a_scenario_in_a_file_of_its_own_says_what_it_assumes_and_is_reported(name: str, place: Site) -> None:
    newest = place.dr("points", "share", "--json").document["points"]
    fact = held(place, scenario=name).record
    assert fact.run_id == newest[1]["run_id"]
    assert any(event.what == f"the point {newest[0]['run_id']} is taken for lost" for event in fact.events)
    told = place.dr("report", "--drill", fact.drill_id, "--format", "md", "-o", "-").out
    assert "newest-lost" in told
