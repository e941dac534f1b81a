"""How a target is kept, and what its keys could destroy: on a real server, with keys of every kind."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import RefusedError, TargetDownError, UsageError
from dr.evidence.posture import Probe, TargetPosture
from dr.plan.target import Target
from dr.plan.target_kind import Credentials, Immutability
from dr.run.immutability.posture import look
from dr.run.immutability.probe_state import is_fresh, keep_probe, last_probe
from dr.targets.kinds import driver_of
from dr.targets.making import build_bucket
from dr.targets.s3.bucket import open_bucket
from dr.targets.s3.posture import lifecycle
from dr.targets.s3.probe import CANARY, probe
from dr.targets.s3.provision import plan_bucket
from dr.tools.state_dir import StateDir
from scripts.servers.s3 import S3Server

ARN = "arn:aws:iam::000000000000:user/writer"
Make = Callable[..., Target]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def make(s3: S3Server, tmp_path: Path) -> Make:
    """Make a target of a bucket, and of the bucket itself: locked, versioned, plain, or none."""

    def made(kind: str, *, user: str = "writer", declared: str = "", days: int = 30, keeper: bool = False) -> Target:
        name = f"posture-{secrets.token_hex(6)}"
        if kind in ("compliance", "governance"):
            s3.make_locked(name, kind, days)
        elif kind == "versioned":
            s3.make_versioned(name)
        elif kind != "none":
            s3.client().create_bucket(Bucket=name)
        rules: dict[str, Any] = {"mode": declared or (kind if days and kind.endswith("ance") else "none")}
        rules |= {"credentials": {"file": keys(s3, tmp_path, "keeper")}} if keeper else {}
        whole = {"endpoint": s3.endpoint, "bucket": name, "prefix": "d", "immutability": rules}
        return Target.model_validate(
            {"target": "t", "s3": {**whole, "credentials": {"file": keys(s3, tmp_path, user)}}}
        )

    return made


def keys(s3: S3Server, folder: Path, user: str) -> str:
    return str(s3.write_keys(folder / f"keys-{user}", user))


def s3_of(target: Target) -> Any:
    assert target.s3
    return target.s3


def severities(posture: TargetPosture) -> dict[str, str]:
    return {finding.what: finding.severity for finding in posture.findings}


def tried(found: Probe) -> dict[str, tuple[str, str]]:
    return {attempt.what: (attempt.outcome, attempt.severity) for attempt in found.attempts}


def canaries(target: Target) -> int:
    return sum(1 for version in open_bucket(s3_of(target)).versions(CANARY) if not version.marker)


# -- looking -----------------------------------------------------------------------------------------


def test_a_locked_bucket_is_as_declared_and_an_unversioned_one_is_not(make: Make) -> None:
    good = look(make("compliance", user="admin"), now=now())
    assert good.outcome == "ok" and severities(good)["object lock"] == severities(good)["versioning"] == "ok"
    plain = look(make("plain", user="admin", declared="compliance"), now=now())
    assert plain.outcome == "degraded" and plain.worst == "high"
    assert severities(plain)["object lock"] == severities(plain)["versioning"] == "high"
    mild = look(make("plain", user="admin"), now=now())
    assert severities(mild)["versioning"] == "medium" and severities(mild)["object lock"] == "low"


def test_a_default_that_is_weaker_than_declared_is_said(make: Make) -> None:
    weak = look(make("governance", user="admin", declared="compliance"), now=now())
    assert severities(weak)["object lock"] == "high"
    short = look(make("compliance", user="admin", days=7), now=now())
    assert severities(short)["object lock"] == "medium"
    none = look(make("compliance", user="admin", declared="compliance", days=0), now=now())
    assert severities(none)["object lock"] == "medium"


def test_objects_without_a_lock_are_found_in_the_sample(make: Make, s3: S3Server) -> None:
    target = make("compliance", user="admin", declared="compliance", days=0)
    client, bucket = s3.client(), s3_of(target).bucket
    for number in range(3):
        client.put_object(Bucket=bucket, Key=f"d/sis/data/{number}", Body=b"x")
    client.put_object(Bucket=bucket, Key="d/sis/locks/passing", Body=b"x")
    found = next(f for f in look(target, now=now()).findings if f.what == "locks on objects")
    assert found.severity == "high" and "3 of 3 objects asked: 3 have no lock now" in found.observed
    good = make("compliance", user="admin")
    client.put_object(Bucket=s3_of(good).bucket, Key="d/sis/data/1", Body=b"x")
    found = next(f for f in look(good, now=now(), below="sis/").findings if f.what == "locks on objects")
    assert found.severity == "ok" and "1 of 1 objects asked: all locked (compliance)" in found.observed


def test_a_wrong_clock_a_public_bucket_and_http_are_said(make: Make, s3: S3Server) -> None:
    target = make("versioned", user="admin")
    late = look(target, now=now() - timedelta(minutes=9))
    assert severities(late)["clock"] == "medium"
    place = f"arn:aws:s3:::{s3_of(target).bucket}/*"
    everybody = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": [place]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    s3.client().put_bucket_policy(Bucket=s3_of(target).bucket, Policy=policy)
    found = look(target, now=now())
    assert severities(found)["public access"] == "high" and severities(found)["clock"] == "ok"
    from dr.targets.findings import tls

    assert [tls(x).severity for x in ("http://s3.example", "https://s3.example", "http://127.0.0.1:1")] == [
        "medium", "ok", "ok",
    ]  # fmt: skip


def test_lifecycle_rules_that_eat_versions_are_found_and_others_are_not(make: Make, s3: S3Server) -> None:
    target = make("versioned", user="admin")
    rules = [
        {"ID": "eats", "Status": "Enabled", "Filter": {"Prefix": "d/"}, "Expiration": {"Days": 10}},
        {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}},
        {"ID": "elsewhere", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 1}},
    ]  # fmt: skip
    whole = {"Rules": rules}
    s3.client().put_bucket_lifecycle_configuration(Bucket=s3_of(target).bucket, LifecycleConfiguration=whole)
    said = [f.observed for f in look(target, now=now()).findings if f.what == "lifecycle"]
    assert len(said) == 2 and "'eats' deletes current objects after 10 days" in said[0] and "'old'" in said[1]


def test_the_rules_of_lifecycle_one_by_one() -> None:
    declared = Immutability(mode="compliance", days=30)

    def found(**rule: Any) -> list[str]:
        whole = {"Status": "Enabled", "Prefix": "", **rule}
        return [f.severity for f in lifecycle([whole], declared, prefix="d/") if f.what == "lifecycle"]

    assert found(Expiration={"Days": 5}) == found(NoncurrentVersionExpiration={"NoncurrentDays": 29}) == ["high"]
    assert found(NoncurrentVersionExpiration={"NoncurrentDays": 30}) == ["ok"]
    assert found(Expiration={"ExpiredObjectDeleteMarker": True}) == ["ok"]
    assert found(Expiration={"Days": 5}, Status="Disabled") == ["ok"]
    assert found(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]) == ["medium"]
    assert [f.what for f in lifecycle([], declared, prefix="d/")] == ["unfinished uploads", "lifecycle"]
    assert [f.severity for f in lifecycle(None, declared, prefix="")] == ["low"]


def test_keys_that_may_not_ask_are_helped_by_those_for_locks(make: Make) -> None:
    alone = look(make("compliance"), now=now())
    assert next(f for f in alone.findings if f.what == "object lock").observed.startswith("these keys may not ask")
    helped = look(make("compliance", keeper=True), now=now())
    assert severities(helped)["object lock"] == "ok"


def test_a_directory_is_told_as_what_it_is(tmp_path: Path) -> None:
    target = Target.model_validate({"target": "disk", "local": {"path": str(tmp_path / "disk")}})
    assert look(target, now=now()).findings[0].observed == "the directory is not made yet"
    assert not (tmp_path / "disk").exists(), "looking makes nothing"
    (tmp_path / "disk").mkdir(mode=0o700)
    found = look(target, now=now())
    assert found.outcome == "ok" and [f.severity for f in found.findings] == ["ok", "low", "low"]
    (tmp_path / "disk").chmod(0o755)
    assert look(target, now=now()).outcome == "degraded"
    away = Target.model_validate({"target": "cellar", "offline": True, "local": {"path": str(tmp_path / "cellar")}})
    assert [f.severity for f in look(away, now=now()).findings] == ["ok"], "a disk that was taken away is not a fault"


def test_what_cannot_be_reached_or_is_refused_is_raised(make: Make, tmp_path: Path) -> None:
    with pytest.raises(TargetDownError, match="there is no bucket"):
        look(make("none"), now=now())
    target = make("plain")
    Path(str(s3_of(target).credentials.file)).write_text("[default]\naws_access_key_id=x\naws_secret_access_key=y\n")
    with pytest.raises(RefusedError):
        look(target, now=now())


def test_a_lock_that_these_keys_may_not_ask_for_is_not_called_off(make: Make, s3: S3Server) -> None:
    told = {}
    for kind, user in (("compliance", "admin"), ("plain", "admin"), ("compliance", "writer")):
        driver = driver_of(make(kind, user=user, declared="compliance"))
        s3.deny(s3_of(driver.target).bucket, "GetBucketObjectLockConfiguration")
        told[kind, user] = driver.object_lock(driver.open().store)
    assert list(told.values()) == ["compliance 30 days", "off", "not told"]


# -- trying ------------------------------------------------------------------------------------------


def test_a_plain_write_key_can_delete_and_overwrite_and_the_probe_finds_it(make: Make) -> None:
    found = tried(probe(s3_of(make("plain")), now=now()))
    assert found["delete a version"] == found["overwrite an object"] == ("allowed", "high")
    versioned = tried(probe(s3_of(make("versioned")), now=now()))
    assert versioned["delete a version"] == ("allowed", "high")
    assert versioned["overwrite an object"] == ("allowed", "ok"), "a new version, and the old one stays"
    assert versioned["change bucket settings"] == ("allowed", "high")


def test_under_a_compliance_lock_and_an_append_only_policy_all_is_refused(make: Make, s3: S3Server) -> None:
    target = make("compliance")
    s3.append_only(s3_of(target).bucket)
    found = probe(s3_of(target), now=now())
    assert {what for what, (outcome, _) in tried(found).items() if outcome == "refused"} == {
        "delete a version", "delete a version round governance", "shorten a lock", "shorten a lock round governance",
        "change bucket settings",
    }  # fmt: skip
    assert look(target, now=now(), probe=found).outcome == "ok"


def test_governance_is_no_hindrance_to_keys_that_may_go_round_it(make: Make) -> None:
    found = probe(s3_of(make("governance", user="admin")), now=now())
    assert tried(found)["delete a version"] == ("refused", "ok")
    assert tried(found)["delete a version round governance"] == ("allowed", "high")
    target = make("compliance", user="admin")
    assert tried(probe(s3_of(target), now=now()))["delete a version round governance"] == ("refused", "ok")


def test_a_lock_that_was_shortened_is_put_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    target = make("governance", user="admin")
    from dr.tools.s3_bucket import S3Bucket

    monkeypatch.setattr(S3Bucket, "delete_version", lambda *args, **more: None)  # takes it, and keeps the version
    found = tried(probe(s3_of(target), now=now()))
    assert found["delete a version round governance"][0] == "refused", "what counts is the fact"
    assert found["shorten a lock"] == ("refused", "ok")
    assert found["shorten a lock round governance"] == ("allowed", "high")
    bucket = open_bucket(s3_of(target))
    ends = [bucket.lock_of(v.name, v.id) for v in bucket.versions(CANARY)]
    assert all(lock and lock.until > now() + timedelta(days=29, hours=23) for lock in ends)


@pytest.mark.parametrize("kind", ["compliance", "versioned", "plain"])
@pytest.mark.parametrize("append_only", [True, False])
def test_canaries_do_not_pile_up_and_the_bucket_is_as_before(
    make: Make, s3: S3Server, kind: str, append_only: bool
) -> None:
    target = make(kind)
    if append_only:
        s3.append_only(s3_of(target).bucket)
    admin = target.model_copy(update={"s3": s3_of(target).model_copy(update={"credentials": None})})
    before = s3.client().get_bucket_versioning(Bucket=s3_of(admin).bucket).get("Status")
    first = probe(s3_of(target), now=now())
    for _ in range(4):
        again = probe(s3_of(target), now=now())
    assert canaries(target) <= 3
    assert {w: o for w, (o, _) in tried(again).items()} == {w: o for w, (o, _) in tried(first).items()}
    assert s3.client().get_bucket_versioning(Bucket=s3_of(admin).bucket).get("Status") == before


def test_a_probe_is_remembered_for_a_day_and_for_its_place(tmp_path: Path) -> None:
    found = Probe(tried=now())
    keep_probe(StateDir(tmp_path), "t", ("s3", "a"), found)
    assert (
        last_probe(StateDir(tmp_path), "t", ("s3", "a")) == found
        and last_probe(StateDir(tmp_path), "t", ("s3", "b")) is None
    )
    assert is_fresh(found, now()) and not is_fresh(found, now() + timedelta(days=1, seconds=1))
    assert not is_fresh(found, now() - timedelta(days=2)) and not is_fresh(None, now())


# -- making ------------------------------------------------------------------------------------------


def admin(s3: S3Server, folder: Path) -> Credentials:
    return Credentials(file=Path(keys(s3, folder, "admin")))


def test_a_bucket_is_made_as_declared_and_again_is_nothing(make: Make, s3: S3Server, tmp_path: Path) -> None:
    target = make("none", declared="compliance", keeper=True)
    plan = plan_bucket(s3_of(target), credentials=admin(s3, tmp_path), principal=ARN)
    assert plan.new and len(plan.changes) == 5 and plan.stays == ()
    build_bucket(plan)
    again = plan_bucket(s3_of(target), credentials=admin(s3, tmp_path), principal=ARN)
    assert (again.new, again.changes, again.stays) == (False, (), ())
    found = look(target, now=now(), probe=probe(s3_of(target), now=now()))
    assert found.worst == "low", [f for f in found.findings if f.severity in ("high", "medium")]


def test_a_making_that_was_cut_short_is_finished_by_the_next(make: Make, s3: S3Server, tmp_path: Path) -> None:
    target = make("none", declared="compliance")
    for steps in (1, 2, 3):
        plan = plan_bucket(s3_of(target), credentials=admin(s3, tmp_path), principal=ARN)
        plan.changes[0].act()
        assert len(plan.changes) == {1: 5, 2: 3, 3: 2}[steps], [change.what for change in plan.changes]
    build_bucket(plan_bucket(s3_of(target), credentials=admin(s3, tmp_path), principal=ARN))
    assert look(target, now=now()).worst == "low"


def test_an_existing_bucket_is_brought_nearer_and_what_cannot_be_is_said(
    make: Make, s3: S3Server, tmp_path: Path
) -> None:
    target = make("plain", declared="compliance")
    rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "d/"}, "Expiration": {"Days": 9}}
    client, bucket = s3.client(), s3_of(target).bucket
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    plan = plan_bucket(s3_of(target), credentials=admin(s3, tmp_path), principal=None)
    assert len(plan.stays) == 2 and "Object Lock is off" in plan.stays[0] and "'theirs'" in plan.stays[1]
    build_bucket(plan)
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    kept = {r["ID"] for r in client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert kept == {"theirs", "dr-old-versions", "dr-unfinished-uploads"}


def test_nothing_is_weakened(make: Make, s3: S3Server, tmp_path: Path) -> None:
    target = make("compliance", days=80)
    plan = plan_bucket(s3_of(target), credentials=admin(s3, tmp_path), principal=None)
    assert "shortened" in plan.stays[0] or "weakened" in plan.stays[0]
    build_bucket(plan)
    rule = s3.client().get_object_lock_configuration(Bucket=s3_of(target).bucket)["ObjectLockConfiguration"]["Rule"]
    assert rule["DefaultRetention"]["Days"] == 80
    with pytest.raises(UsageError, match="not a name of a principal"):
        plan_bucket(s3_of(target), credentials=admin(s3, tmp_path), principal="writer")


def test_keys_that_may_not_make_a_bucket_are_refused(make: Make) -> None:
    target = make("none", declared="compliance")
    plan = plan_bucket(s3_of(target), credentials=None, principal=None)
    with pytest.raises(RefusedError):
        build_bucket(plan)
