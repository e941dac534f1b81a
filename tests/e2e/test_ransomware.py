"""The scenario ransomware: a scratch copy attacked and recovered; and no real copy is ever near it."""

from __future__ import annotations

import os
import secrets
import signal
from contextlib import closing
from typing import Any

import pytest

from dr.catalog.store import Catalog
from scripts.servers.s3 import S3Server
from tests.conftest import Site
from tests.e2e.bucket import Attacked, make_attacked
from tests.waiting import soon

RANSOMWARE = "drill: {scenario: ransomware, scratch: scratch}\n"


@pytest.fixture
def drilled(site: Site, s3: S3Server) -> Attacked:
    """A site with a scratch target, `scratch`."""
    made = make_attacked(site, s3)
    made.scratch = made.make_bucket()
    made.target("scratch", made.scratch)
    made.plan(RANSOMWARE)
    return made


def heads(made: Attacked) -> dict[str, Any]:
    """Every version and marker in the real bucket, by key and id."""
    listed = made.client.list_object_versions(Bucket=made.bucket)
    return {
        f"{i['Key']}@{i['VersionId']}": i["LastModified"]
        for k in ("Versions", "DeleteMarkers")
        for i in listed.get(k, ())
    }


def copies(made: Attacked) -> list[tuple[str, str]]:
    """What there is of copies on the scratch target; the canary that tries the keys there is none."""
    return [each for each in made.versions(made.scratch) if "/_probe/" not in each[0]]


def deleted(made: Attacked) -> list[str]:
    """What the attack has deleted on the scratch target."""
    markers = made.client.list_object_versions(Bucket=made.scratch).get("DeleteMarkers", ())
    return [each["Key"] for each in markers if "/_probe/" not in each["Key"]]


def told_of(drilled: Attacked, drill_id: str) -> str:
    return drilled.site.dr("report", "--drill", drill_id, "--format", "md", "-o", "-").out


def test_a_scratch_copy_is_attacked_and_recovered_and_goes_away(drilled: Attacked) -> None:
    before = heads(drilled)
    drill = drilled.site.dr("drill", "share", "--json").document["drills"][0]
    assert (drill["outcome"], drill["scenario"], drill["target"]) == ("ok", "ransomware", "scratch")
    assert drill["rto_verdict"] == drill["rpo_verdict"] == "met" and drill["sandbox"] == "destroyed"
    assert drill["seen_at"] and drill["rpa_seconds"] > 0 and drill["phases"]["declare"] > 0
    assert drill["checks"][0]["observed"] == "6 equal"
    assert drill["t_loss"] < drill["started"], "the attack came first: RPA counts to its beginning"
    assert sum(drill["phases"].values()) <= drill["rta_seconds"] + 0.1, "RTA counts from its end, the finding included"
    assert copies(drilled) == [], "nothing of it is left"
    after = heads(drilled)
    assert before.items() <= after.items()
    assert all(key.startswith("pre/_evidence/") for key in after.keys() - before.keys()), "the real copy was only read"
    text = told_of(drilled, drill["drill_id"])
    assert "objects attacked; the snapshots expired with the passphrase" in text
    assert "the scratch copy:" in text and "versions removed from scratch" in text
    drilled.site.dr("verify", "share")


def test_a_replica_that_nobody_attacked_does_not_help_out(drilled: Attacked) -> None:
    site = drilled.site
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    drilled.plan(f"{RANSOMWARE}replicas: [disk]\n")
    site.dr("replicate", "share")
    ran = site.dr("drill", "share")
    assert "objects attacked; the snapshots expired with the passphrase" in ran.out
    assert "seen       scratch as it was at " in ran.out
    drill_id = site.dr("report", "--format", "json", "--json").document["report"]["drills"][0]["drill_id"]
    timeline = told_of(drilled, drill_id).partition("| Time |")[2].partition("Not shown")[0]
    assert "scratch is seen as it was" in timeline and "disk" not in timeline


@pytest.mark.slow
def test_it_is_held_when_the_plan_says_so(drilled: Attacked) -> None:
    drilled.plan(
        RANSOMWARE.replace("drill", "cadence: {backup: every 4 hours, verify: never, drill: every day at 00:00}\ndrill")
    )
    drills = drilled.site.dr("run", "--json").document["drills"]
    assert [(drill["scenario"], drill["outcome"]) for drill in drills] == [("ransomware", "ok")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lock", "append-only"])
def test_what_locks_and_rights_keep_of_the_copy_is_said(drilled: Attacked, s3: S3Server, kind: str) -> None:
    name = f"test-{secrets.token_hex(6)}"
    s3.make_locked(name, "COMPLIANCE", 1 if kind == "lock" else 0)
    if kind == "append-only":
        s3.append_only(name)
    drilled.target("scratch", name, "admin" if kind == "lock" else "writer")
    drill = drilled.site.dr("drill", "share", "--json").document["drills"][0]
    assert drill["outcome"] == "ok", "an attacker who may not delete is still recovered from"
    text = told_of(drilled, drill["drill_id"])
    assert "versions stay on scratch" in text
    assert ("locked until" if kind == "lock" else "the keys may not delete versions") in text


# -- refused before anything is touched --------------------------------------------------------------


@pytest.fixture
def ready(site: Site, s3: S3Server) -> Attacked:
    """The same without a point: what is refused is refused before one is looked for."""
    made = make_attacked(site, s3, backup=False)
    made.client.put_object(Bucket=made.bucket, Key="pre/share/config", Body=b"a repository")
    made.scratch = made.make_bucket()
    made.target("scratch", made.scratch)
    made.plan(RANSOMWARE)
    return made


def refused(made: Attacked, *arguments: str) -> str:
    """Drill, see that it is exit 2 and that nothing was touched or recorded, and return what was said."""
    before, scratch = heads(made), made.versions(made.scratch)
    ran = made.site.dr("drill", *(arguments or ("share",)), code=2)
    assert heads(made) == before and made.versions(made.scratch) == scratch
    with closing(Catalog.open(made.site.state)) as catalog:
        assert catalog.head()[0] == 0 and catalog.open_runs() == []
    return ran.err


def test_a_target_of_a_plan_is_never_attacked(ready: Attacked) -> None:
    ready.plan("")
    assert "holds copies of the system 'share'" in refused(
        ready, "share", "--scenario", "ransomware", "--scratch", "offsite"
    )
    ready.plan(RANSOMWARE)
    source = f"docs: {{files: {{paths: [{ready.source}]}}}}"
    ready.site.plan(
        "other", f"system: other\nobjectives: {{rto: 1h, rpo: 4h}}\nsources: {{{source}}}\ntargets: [scratch]\n"
    )
    assert "holds copies of the system 'other'" in refused(ready)


@pytest.mark.parametrize("prefix", ["pre/share", "elsewhere"])
def test_a_bucket_in_which_something_declared_lies_is_never_attacked(ready: Attacked, prefix: str) -> None:
    ready.target("scratch", ready.bucket)
    path = ready.site.root / "config/targets/scratch.yaml"
    path.write_text(path.read_text().replace("prefix: pre", f"prefix: '{prefix}'"))
    assert "lies in the bucket of the target 'offsite'" in refused(ready)


def test_the_same_bucket_by_another_address_is_never_attacked(ready: Attacked) -> None:
    ready.target("scratch", ready.bucket)
    path = ready.site.root / "config/targets/scratch.yaml"
    path.write_text(path.read_text().replace("127.0.0.1", "localhost"))
    assert "lies in the bucket of the target 'offsite'" in refused(ready)


def test_a_bucket_without_versions_is_never_attacked(ready: Attacked) -> None:
    ready.target("scratch", ready.make_bucket(versions=False))
    assert "keeps no versions" in refused(ready)
    suspended = ready.make_bucket()
    ready.client.put_bucket_versioning(Bucket=suspended, VersioningConfiguration={"Status": "Suspended"})
    ready.target("scratch", suspended)
    assert "keeps no versions" in refused(ready)


def test_a_directory_a_missing_target_and_no_target_are_refused(ready: Attacked) -> None:
    ready.site.target("scratch", f"target: scratch\nlocal: {{path: {ready.site.root}/disk}}\n")
    assert "is a directory" in refused(ready)
    (ready.site.root / "config/targets/scratch.yaml").unlink()
    assert "no usable target 'scratch'" in refused(ready)
    ready.plan("")
    assert "no scratch target is named" in refused(ready, "share", "--scenario", "ransomware")


def test_where_another_declaration_cannot_be_read_nothing_is_attacked(ready: Attacked) -> None:
    ready.site.target("vault", "target: vault\ns3: {bukcet: x}\n")
    assert "cannot be read" in refused(ready)
    (ready.site.root / "config/targets/vault.yaml").unlink()
    ready.site.plan("broken", "system: broken\ntargets: [scratch\n")
    assert "cannot be read" in refused(ready)


def test_a_time_is_not_named_to_a_drill_that_finds_it(ready: Attacked) -> None:
    assert "finds the time itself" in refused(ready, "share", "--at", "1h")


@pytest.mark.slow
def test_a_scheduled_drill_that_would_be_refused_is_on_record_as_failed(drilled: Attacked) -> None:
    drilled.plan(
        RANSOMWARE.replace("drill", "cadence: {backup: every 4 hours, verify: never, drill: every day at 00:00}\ndrill")
    )
    drilled.target("scratch", drilled.make_bucket(versions=False))
    ran = drilled.site.dr("run", "--json", code=None)
    assert [(drill["outcome"], drill["run_id"]) for drill in ran.document["drills"]] == [("failed", None)]
    assert ran.code == 2 and "keeps no versions" in ran.err


# -- killed ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_drill_killed_in_its_attack_harms_nothing_and_the_next_cleans_up(drilled: Attacked) -> None:
    before = heads(drilled)
    running = drilled.site.start("drill", "share")
    assert soon(lambda: deleted(drilled))
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert copies(drilled) and heads(drilled) == before
    drill = drilled.site.dr("drill", "share", "--json").document["drills"][0]
    assert drill["outcome"] == "ok" and copies(drilled) == []
    assert "earlier drills: " in told_of(drilled, drill["drill_id"])
