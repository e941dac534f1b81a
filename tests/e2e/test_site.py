"""What `site.yaml` says holds for what runs: windows, limits, and the plan that goes on record."""

from __future__ import annotations

import os
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from dr.plan.load import load
from dr.tools.restic import Throttle
from tests.conftest import Site, plan_text


def closed() -> str:
    """A window that is closed now, and for an hour more."""
    now = datetime.now(UTC)
    return f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"


def write_site(site: Site, text: str) -> None:
    (site.root / "config" / "site.yaml").write_text(text)


def test_heavy_work_waits_for_its_window_backups_do_not_and_a_typed_command_does_not(files_site: Site) -> None:
    write_site(files_site, f"windows: {{verify: ['{closed()}'], drill: ['{closed()}']}}\n")
    ran = files_site.dr("run")
    assert "share: verify is due and waits until its window opens, " in ran.out
    assert "share: drill is due and waits until its window opens, " in ran.out
    assert "share: ok, " in ran.out and "proven" not in ran.out
    again = files_site.dr("run", "--json").document
    assert (again["runs"], again["proofs"], again["drills"]) == ([], [], [])
    assert [(held["system"], held["verb"]) for held in again["held_back"]] == [("share", "verify"), ("share", "drill")]
    due = files_site.dr("verify", "--due", "--json").document
    assert due["proofs"] == [] and [held["verb"] for held in due["held_back"]] == ["verify"]
    row = files_site.dr("status", "--json", code=None).document["systems"][0]
    assert row["next_due"]["verify"] == again["held_back"][0]["opens"]
    assert files_site.dr("verify", "share", "--level", "1", "--json").document["proofs"][0]["outcome"] == "ok"
    write_site(files_site, "windows: {drill: ['00:00-24:00']}\n")
    assert [drill["outcome"] for drill in files_site.dr("run", "--json").document["drills"]] == ["ok"]


def test_a_backup_is_held_back_only_where_a_window_for_it_is_declared_and_the_rest_of_a_new_system_with_it(
    files_site: Site,
) -> None:
    write_site(files_site, f"windows: {{backup: ['{closed()}']}}\n")
    ran = files_site.dr("run", "--json").document
    assert [held["verb"] for held in ran["held_back"]] == ["backup"]
    assert (ran["runs"], ran["proofs"], ran["drills"]) == ([], [], []), "there is no point to prove or to rehearse yet"
    due = files_site.dr("status", "--json", code=None).document["systems"][0]["next_due"]
    assert due["verify"] == due["drill"] == due["backup"] == ran["held_back"][0]["opens"]
    assert files_site.dr("backup", "--due", "--json").document["runs"] == []


def test_the_effective_plan_is_what_goes_on_record(files_site: Site) -> None:
    write_site(files_site, "defaults: {classification: pupils, retention: {daily: 3}}\n")
    run = files_site.dr("backup", "share", "--json").document["runs"][0]
    with sqlite3.connect(files_site.root / "state" / "catalog.sqlite") as db:
        query = "select r.plan_digest, p.text from runs r join plans p on p.digest = r.plan_digest where run_id = ?"
        digest, text = db.execute(query, (run["run_id"],)).fetchone()
    kept = yaml.safe_load(text)
    assert (kept["classification"], kept["retention"], kept["system"]) == ("pupils", {"daily": 3}, "share")
    assert load(files_site.root / "config").plans["share"].digest == digest
    shown = files_site.dr("validate", "--show", "share", "--json").document["effective"]
    assert shown["digest"] == digest and shown["plan"]["retention"]["daily"] == 3
    assert {"key": "classification", "value": "pupils", "from": "site.yaml:1"} in shown["values"]
    (files_site.root / "config" / "plans" / "share.yaml").write_text("system: [")
    assert files_site.dr("validate", "--show", "share", code=2).out == ""


def test_a_faulty_part_of_the_site_is_said_by_what_runs_and_stops_no_backup(files_site: Site) -> None:
    write_site(files_site, "limits: {systems: none}\n")
    ran = files_site.dr("run", code=3)
    assert "site.yaml:1:10: 'systems' must be a whole number" in ran.err and "share: ok" in ran.out
    assert "must be a whole number" in files_site.dr("backup", "share").err


def test_limits_reach_restic_and_no_restore_is_slowed(files_site: Site) -> None:
    write_site(files_site, "limits: {upload: 5MB, download: 1MiB, memory: 512MiB}\n")
    session = files_site.session()
    repository = session.toolbox(session.chosen(["share"])[0]).places[0].repository
    assert {"--limit-upload=4882", "--limit-download=1024"} <= set(repository.argv("backup"))
    assert [part for part in repository.argv("restore") if "limit" in part] == ["--limit-upload=4882"]
    assert repository.environment()["GOMEMLIMIT"] == f"{512 * 2**20}B"
    assert repository.environment()["GOGC"] == os.environ["GOGC"], "what restic's own manual advises reaches it"
    assert Throttle().options("backup") == [] and Throttle().env == {}
    session.close()
    files_site.dr("backup", "share")
    files_site.dr("verify", "share")


def test_systems_take_turns_on_one_host_and_at_work(site: Site) -> None:
    write_site(site, "limits: {systems: 3, per_host: 1}\n")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    host = "host: {ssh: backup@far.district.example}\n"
    for name in ("a", "b", "c", "here"):
        more = "" if name == "here" else host
        site.plan(name, plan_text(name, "docs: {files: {paths: [/etc]}}", targets="[disk]", more=more))
    session = site.session(jobs=8)
    guard, inside, most = threading.Lock(), {"far": 0, "all": 0}, {"far": 0, "all": 0}
    barrier = threading.Barrier(2, timeout=60)  # two at once there must be: one from afar, and one from here

    def act(loaded: object) -> None:
        kind = "all" if loaded.plan.system == "here" else "far"  # type: ignore[attr-defined]
        with session.turn(loaded):  # type: ignore[arg-type]
            with guard:
                inside[kind] += 1
                most[kind] = max(most[kind], inside[kind])
            if loaded.plan.system in ("a", "here"):  # type: ignore[attr-defined]
                barrier.wait()
            with guard:
                inside[kind] -= 1

    items = session.chosen((), everything=True)
    assert {Path(item.path).stem for item in items} == {"a", "b", "c", "here"}
    session.each([item for name in ("a", "here", "b", "c") for item in items if item.plan.system == name], act)
    assert most == {"far": 1, "all": 1}
    session.close()
