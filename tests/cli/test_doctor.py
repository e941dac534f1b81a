"""`dr doctor`: what is missing here, and how to get it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dr.queries.doctor.doctor import examine
from tests.conftest import Site, plan_text
from tests.far import Far
from tests.namespaces import refusal


def _found(site: Site, code: int) -> dict[str, dict[str, str]]:
    return {item["what"]: item for item in site.dr("doctor", "--json", code=code).document["findings"]}


def test_all_is_well(files_site: Site) -> None:
    found = _found(files_site, 0)
    assert {item["outcome"] for item in found.values()} == {"ok"}
    assert {"Python", "restic", "setpriv", "state", "clock", "plans", "share on disk", "share on vault"} <= set(found)


def test_a_restic_that_is_not_there_or_too_old_is_said_with_the_way_to_get_one(files_site: Site) -> None:
    files_site.env["DR_RESTIC"] = "/no/such/restic"
    found = _found(files_site, 1)["restic"]
    assert found["outcome"] == "failed"
    old = files_site.root / "old-restic"
    old.write_text("#!/bin/sh\necho restic 0.14.0 compiled with go1.19\n")
    old.chmod(0o755)
    files_site.env["DR_RESTIC"] = str(old)
    found = _found(files_site, 1)["restic"]
    assert found["outcome"] == "failed" and "0.18.0" in found["observed"] + found["hint"]


def test_an_open_state_directory_and_an_open_target_are_said(files_site: Site) -> None:
    files_site.dr("backup", "share")
    (files_site.root / "state").chmod(0o755)
    (files_site.root / "vault").chmod(0o755)
    found = _found(files_site, 3)
    assert found["vault: access"]["outcome"] == "degraded" and "directory open to all" in found["vault: access"]["hint"]
    assert found["state"]["outcome"] == "degraded" and "chmod 700" in found["state"]["hint"]


def test_points_of_a_system_without_a_plan_are_said(files_site: Site) -> None:
    files_site.dr("backup", "share")
    plan = files_site.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text().replace("system: share", "system: files"))
    found = _found(files_site, 3)["share"]
    assert "1 recovery point, and no plan: none is proven or expired" in found["observed"]
    assert "`system: share`" in found["hint"]


def test_a_target_that_is_down_is_said_and_the_others_are_looked_at(files_site: Site) -> None:
    files_site.target("disk", f"target: disk\nlocal: {{path: {files_site.root}/none/disk/x}}\n")
    found = _found(files_site, 1)
    assert (found["share on disk"]["outcome"], found["share on vault"]["outcome"]) == ("failed", "ok")


def test_a_bucket_shows_its_posture_and_its_clock(files_site: Site, s3: Any, bucket: str, monkeypatch: Any) -> None:
    site = files_site
    keys = s3.write_keys(site.root / "keys")
    part = f"endpoint: '{s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}"
    site.target("offsite", f"target: offsite\ns3: {{{part}}}\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[offsite]"))
    found = _found(site, 3)
    assert found["offsite: versioning"]["outcome"] == "degraded" and found["offsite: clock"]["outcome"] == "ok"
    assert found["offsite: object lock"]["outcome"] == "ok", "none declared is not a fault"
    for name, value in site.env.items():
        monkeypatch.setenv(name, value)
    wrong = site.session(clock=lambda: datetime.now(UTC) - timedelta(minutes=9))
    off = {item.what: item for item in examine(wrong)}["offsite: clock"]
    assert off.outcome == "degraded" and "behind the target's" in off.observed


def test_faulty_plans_and_none_at_all_are_said(files_site: Site) -> None:
    files_site.plan("share", "system: share\nobjectves: {}\n")
    assert _found(files_site, 1)["plans"]["hint"] == "run `dr validate`"
    (files_site.root / "config" / "plans" / "share.yaml").unlink()
    assert _found(files_site, 1)["plans"]["hint"] == "run `dr init`"


def test_what_databases_and_other_hosts_need_is_looked_at(files_site: Site, sshd: Any) -> None:
    host = f"host: {{ssh: '{sshd.address}', known_hosts: '{sshd.known_hosts}', key: '{sshd.key}'}}\n"
    sources = ("db: {postgres: {database: sis}}", "small: {sqlite: {path: /srv/small.db}}")
    files_site.plan("sis", plan_text("sis", *sources, more=host))
    found = _found(files_site, 1)
    assert found["sis: db: whole"]["outcome"] == "failed", "the program is there, the server is not"
    assert found[f"sis: host {sshd.address}"]["observed"] == "login works"
    assert found["sis: db"]["outcome"] == found["sis: small"]["outcome"] == "ok"


def test_a_program_that_is_not_there_and_a_host_that_is_not_known_are_said(files_site: Site, sshd: Any) -> None:
    files_site.plan("books", plan_text("books", "db: {mysql: {database: library, bin: /opt/none}}"))
    (files_site.root / "nobody").write_text("")
    host = f"host: {{ssh: '{sshd.address}', known_hosts: '{files_site.root}/nobody', key: '{sshd.key}'}}\n"
    files_site.plan("sis", plan_text("sis", "db: {postgres: {database: sis}}", more=host))
    found = _found(files_site, 1)
    assert found["books: db"]["outcome"] == "failed" and "mariadb or mysql" in found["books: db"]["observed"]
    assert found[f"sis: host {sshd.address}"]["outcome"] == "failed"
    assert "sis: db" not in found, "what lies on a host that is not reached is not guessed at"


def test_what_a_drill_needs_on_another_host_is_looked_at(files_site: Site, tmp_path: Path) -> None:
    with Far(tmp_path / "spare") as far:
        more = f"drill: {{{far.plan_host().strip().replace(', mode: agent', '')}}}\n"
        files_site.plan("sis", plan_text("sis", "db: {mysql: {database: library}}", more=more))
        assert _found(files_site, 1)[f"sis: host {far.address}"]["observed"] == "login works"
        config = far.home / "sshd_config"
        config.write_text(config.read_text().replace(":/usr/local/bin:/usr/bin:/bin", ""))
        for name in ("sh", "dd", "setsid", "true", "tar"):
            (far.bin / name).symlink_to(f"/usr/bin/{name}")
        far.restart()
        lacking = _found(files_site, 1)["sis: drills"]
        assert "find, sha256sum" in lacking["observed"] and "tar" not in lacking["observed"]
    assert _found(files_site, 1)[f"sis: host {far.address}"]["outcome"] == "failed"


def test_whether_sandboxes_can_be_isolated_is_tried_and_the_way_is_named(files_site: Site, tmp_path: Path) -> None:
    source = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
    check = "drill: {checks: [{command: {run: ['true'], expect: {exit: 0}}}]}\n"
    files_site.plan("share", plan_text("share", source, more=check))
    if not refusal():
        found = _found(files_site, 0)["share: sandbox"]
        assert (found["outcome"], found["observed"]) == ("ok", "on this host: what runs in it reaches no network")
    refusing = tmp_path / "refusing"
    refusing.mkdir()
    (refusing / "unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2; exit 1\n")
    (refusing / "unshare").chmod(0o755)
    files_site.env["PATH"] = f"{refusing}:{files_site.env['PATH']}"
    found = _found(files_site, 3)["share: sandbox"]
    assert "reaches its network: unshare failed: Operation not permitted" in found["observed"]
    assert "as root" in found["hint"] and "kernel.apparmor_restrict_unprivileged_userns=0" in found["hint"]
    files_site.plan("share", plan_text("share", source))
    assert "share: sandbox" not in _found(files_site, 0), "nothing runs in its drills"


def test_a_program_of_a_check_that_is_not_there_is_named_before_a_drill_fails(files_site: Site) -> None:
    source = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
    http = "{http: {serve: [./portal], url: 'http://127.0.0.1:{port}/'}}"
    checks = f"[{{command: {{run: [smoke-tset, x]}}}}, {{command: {{run: ['true']}}}}, {http}]"
    plan = files_site.plan("share", plan_text("share", source, more=f"drill: {{checks: {checks}}}\n"))
    beside = plan.with_name("portal")
    beside.write_text("#!/bin/sh\n")
    found = _found(files_site, 3)["share: checks"]
    assert found["observed"] == "not found, or not executable: smoke-tset, ./portal" and "chmod +x" in found["hint"]
    beside.chmod(0o755)
    assert _found(files_site, 3)["share: checks"]["observed"].endswith(": smoke-tset")
    files_site.plan("share", plan_text("share", source, more=f"drill: {{checks: [{http}]}}\n"))
    assert "share: checks" not in _found(files_site, 0)
