"""What is kept of declarations is what the files say, as long as they say it, to the program that kept it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import dr
from dr.catalog.store import Catalog
from dr.errors import PlanError
from dr.plan import kept
from dr.plan.declarations import Declarations
from dr.plan.kept import _PLAN, _SITE, _SOURCE, _shape_of, from_kept, kept_text, key_of
from dr.plan.load import load
from dr.session import Session
from dr.tools.state_dir import StateDir

SAMPLES = Path(__file__).parents[1] / "samples"
PLAN = (
    "system: sis\nobjectives: {rto: 1h, rpo: 4h}\nsources: {a: {files: {paths: [/srv]}}}\n"
    "targets: [disk]\ncadence: {timezone: America/New_York}\nretention: {last: 3}\n"
)
SITE = "organisation: District\nwindows: {verify: ['22:00-05:00']}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for folder in ("plans", "targets"):
        (tmp_path / "config" / folder).mkdir(parents=True)
    (tmp_path / "config/plans/sis.yaml").write_text(PLAN)
    (tmp_path / "config/targets/disk.yaml").write_text(f"target: disk\nlocal: {{path: {tmp_path}/disk}}\n")
    (tmp_path / "config/site.yaml").write_text(SITE)
    return tmp_path / "config"


def _unasked() -> Declarations:
    raise AssertionError("the files are read")


def _same(real: Any, known: Any, shape: Mapping[str, Any], at: str) -> None:
    for name, inside in shape.items():
        mine, theirs = getattr(real, name), getattr(known, name)
        if inside and mine is not None:
            _same(mine, theirs, inside, f"{at}.{name}")
        else:
            assert theirs == mine and type(theirs) is type(mine), f"{at}.{name}"


def test_of_what_opens_a_target_the_place_of_its_keys_is_kept_and_of_a_secret_that_none_is_named(config: Path) -> None:
    keys = config / "keys"
    keys.write_text("planted-key")
    (config / "targets" / "disk.yaml").write_text(
        f"target: disk\ns3: {{bucket: district-vault, ca_file: ca.pem, credentials: {{file: {keys}}}}}\n"
    )
    (config / "plans" / "pay.yaml").write_text(
        PLAN.replace("system: sis", "system: pay") + "secrets: {passphrase: {env: PLANTED_NAME}}\n"
    )
    text = kept_text(real := load(config))
    assert not real.stopping(()) and "planted-key" not in text and "PLANTED_NAME" not in text
    known = from_kept(config, text, lambda: real)
    assert known is not None
    opened = known.targets["disk"].declared
    assert (opened.credentials.file, opened.ca_file, opened.credentials.env) == (keys, config / "ca.pem", None)
    assert known.plans["sis"].plan.secrets.passphrase is None
    assert known.plans["pay"].plan.secrets.passphrase.env == "PLANTED_NAME", "read from the file"
    assert known.plans["sis"].plan.sources["a"].body == real.plans["sis"].plan.sources["a"].body


@pytest.mark.parametrize("sample", ["good", "site"])
def test_all_that_is_kept_is_as_in_the_files(sample: str) -> None:
    real = load(SAMPLES / sample)
    known = from_kept(real.config, kept_text(real), _unasked)
    assert known is not None and list(known.plans) == list(real.plans) and known.files == real.files
    for name, item in real.plans.items():
        _same(item.plan, known.plans[name].plan, _PLAN, name)
        assert list(known.plans[name].plan.sources) == list(item.plan.sources)
        for source, each in item.plan.sources.items():
            _same(each, known.plans[name].plan.sources[source], _SOURCE, f"{name}.{source}")
        assert (known.plans[name].digest, known.plans[name].path) == (item.digest, item.path)
        assert known.plans[name] == item and hash(known.plans[name]) == hash(item)
    for name, target in real.targets.items():
        _same(target, known.targets[name], _shape_of(target.kind), name)
        for here in (True, False):
            assert known.targets[name].is_offsite(lambda _, here=here: here) == target.is_offsite(
                lambda _, here=here: here
            )
            assert known.targets[name].lies_here(lambda _, here=here: here) == target.lies_here(
                lambda _, here=here: here
            )
    _same(real.site, known.site, _SITE, "site")
    assert known.usable == real.usable and known.unread == real.unread and known.of_site == real.of_site


@pytest.mark.parametrize("sample", ["a_circle", "bad_cadence", "no_mandatory_check"])
def test_what_stops_a_system_stops_it_from_what_is_kept_too(sample: str, config: Path) -> None:
    shutil.copy(SAMPLES / "faulty" / f"{sample}.yaml", config / "plans" / "zz.yaml")
    (config / "plans" / "sis.yaml").write_text(PLAN.replace("system: sis", "system: hr"))
    (config / "plans" / "aside.txt").write_text("read by nobody\n")
    real = load(config)
    known = from_kept(config, kept_text(real), _unasked)
    assert known is not None and known.stopping(()) == real.stopping(()) != ()
    assert known.usable == real.usable == ["hr"] and known.unread == real.unread != ()
    with pytest.raises(PlanError):
        known.require(())


def _touched(config: Path, act: str) -> None:
    plan = config / "plans" / "sis.yaml"
    status = plan.stat()
    match act:
        case "a byte changed behind the back of the clock":
            plan.write_text(PLAN.replace("rto: 1h", "rto: 2h"))
            os.utime(plan, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "the site changed":
            (config / "site.yaml").write_text(SITE.replace("22:00", "23:00"))
        case "the target changed":
            (config / "targets" / "disk.yaml").write_text("target: disk\nlocal: {path: /elsewhere}\n")
        case "another file came":
            (config / "plans" / "copy.yaml").write_text(PLAN)
        case "a file that nobody reads came":
            (config / "plans" / "sis.yaml.bak").write_text(PLAN)
        case "a directory that nobody reads came":
            (config / "plan").mkdir()
        case "a link leads elsewhere":
            plan.unlink()
            plan.symlink_to(config / "targets" / "disk.yaml")


@pytest.mark.parametrize(
    "act",
    [
        "a byte changed behind the back of the clock", "the site changed", "the target changed", "another file came",
        "a file that nobody reads came", "a directory that nobody reads came", "a link leads elsewhere",
    ],
)  # fmt: skip
def test_any_change_of_what_is_declared_has_another_key(config: Path, act: str) -> None:
    before = key_of(config)
    assert before == key_of(config) != ""
    _touched(config, act)
    assert key_of(config) != before


def test_another_version_of_the_program_has_another_key(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(config)
    monkeypatch.setattr(dr, "__version__", "999.0")
    assert key_of(config) != before
    monkeypatch.undo()
    monkeypatch.setattr(kept, "_program", lambda: ("plan.py 1 2",))
    assert key_of(config) != before


def test_what_cannot_be_read_has_no_key(config: Path) -> None:
    os.mkfifo(config / "plans" / "pipe.yaml")
    assert key_of(config) == ""


def _session(config: Path) -> Session:
    return Session(config, StateDir(config.parent / "state"))


def _once(config: Path, ask: Callable[[Session], Any]) -> Any:
    session = _session(config)
    try:
        return ask(session)
    finally:
        session.close()


def _keep(config: Path) -> None:
    """Look at declarations as a command does that has a catalog, and see that the next knows them."""
    (config.parent / "state").mkdir(mode=0o700)
    Catalog.open(StateDir(config.parent / "state")).close()
    assert _once(config, lambda session: type(session.declarations)) is Declarations
    assert _once(config, lambda session: type(session.declarations)) is not Declarations


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"plans": {}}', '{"plans": 3, "directories": []}', "null"])
def test_damaged_keeping_does_no_harm(config: Path, damage: str) -> None:
    _keep(config)
    session = _session(config)
    session.catalog.put_all({f"\n{key_of(config)}": damage})
    assert type(session.declarations) is Declarations
    assert session.declarations.plans["sis"].plan.objectives.rto == 3600
    session.close()
    assert _once(config, lambda session: type(session.declarations)) is not Declarations, "kept again"


def test_a_changed_plan_is_seen_at_once(config: Path) -> None:
    _keep(config)
    _touched(config, "a byte changed behind the back of the clock")
    assert _once(config, lambda session: session.declarations.plans["sis"].plan.objectives.rto) == 7200


def test_what_is_not_kept_is_read_from_the_files(config: Path) -> None:
    real = load(config)
    known = from_kept(config, kept_text(real), lambda: load(config))
    assert known is not None
    assert known.plans["sis"].plan.sources["a"].kind == "files" and known.plans["sis"].text == PLAN
    assert known.targets["disk"].declared.directory == real.targets["disk"].declared.directory
    assert known.plans["sis"].read.plan == real.plans["sis"].plan == known.plans["sis"].plan
    assert known.site.limits == real.site.limits and known.read.targets == real.targets


def test_faults_of_this_machine_are_looked_for_each_time(config: Path) -> None:
    (config / "plans/sis.yaml").write_text(PLAN + "secrets: {passphrase: {file: secret}}\n")
    (config / "secret").write_text("a passphrase\n")
    (config / "secret").chmod(0o600)
    text = kept_text(load(config))
    known = from_kept(config, text, lambda: load(config))
    assert known is not None and not any("secret" in fault.what for fault in known.faults)
    (config / "secret").unlink()
    again = from_kept(config, text, lambda: load(config))
    assert again is not None and any("secret" in fault.what for fault in again.about(["sis"]))


def test_a_plan_that_goes_while_it_is_read_is_named(config: Path) -> None:
    known = from_kept(config, kept_text(load(config)), lambda: load(config))
    (config / "plans/sis.yaml").unlink()
    assert known is not None and known.plans["sis"].plan.title == ""
    with pytest.raises(PlanError, match="sis changed while it was read"):
        known.plans["sis"].plan.sources["a"].body  # noqa: B018 - asked for


def test_two_directories_that_became_one_are_judged_again(config: Path) -> None:
    (config / "targets/second.yaml").write_text(f"target: second\nlocal: {{path: {config.parent}/second}}\n")
    (config.parent / "second").mkdir()
    text = kept_text(load(config))
    assert from_kept(config, text, _unasked) is not None
    (config.parent / "second").rmdir()
    (config.parent / "second").symlink_to(config.parent / "disk")
    assert from_kept(config, text, _unasked) is None


def test_a_time_zone_that_this_machine_lost_is_judged_again(config: Path) -> None:
    text = kept_text(load(config))
    there = json.loads(text)
    there["plans"]["sis"]["plan"]["cadence"]["timezone"] = "Nowhere/Lost"
    assert from_kept(config, json.dumps(there), _unasked) is None


def test_a_drill_of_another_scenario_is_due_of_a_plan_that_is_kept(config: Path) -> None:
    from dr.queries.schedule import due_now

    (config / "plans/sis.yaml").write_text(
        PLAN.replace("cadence: {", "cadence: {drill: never, scenarios: {control-loss: every 2 hours}, ")
    )
    _keep(config)

    def due(session: Session) -> list[str]:
        items = session.usable()[0]
        return [item.plan.drill.scenario for item in due_now(session, items, "drill", {})]

    assert _once(config, due) == ["control-loss"]
