"""Locks kept alive, on a real server with Object Lock, by clocks of our own."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import DrError, InterruptedRunError, RefusedError, TargetDownError
from dr.evidence.stored_object import moment
from dr.plan.target import Target
from dr.run.immutability import extend_locks as locks
from dr.run.immutability.extend_locks import LockExtension, extend_locks
from dr.run.workspace.toolbox import Place
from dr.targets.s3.bucket import open_locks
from dr.tools import command
from dr.tools.restic import Repository
from dr.tools.s3_bucket import S3Bucket
from dr.tools.s3_versions import Lock
from dr.tools.state_dir import StateDir
from scripts.servers.s3 import S3Server
from tests.waiting import soon

DAY = timedelta(days=1)


@dataclass
class Vault:
    """A locked bucket, a target that declares it, and a repository in it."""

    s3: S3Server
    place: Place
    name: str
    state: Path

    @property
    def memory(self) -> Path:
        return self.state / "cache" / "locks" / "sis@vault.json"

    def bucket(self) -> S3Bucket:
        assert self.place.target.s3
        return open_locks(self.place.target.s3).child("sis")

    def keep(self, *, after: timedelta = timedelta(), live: Any = (), dropped: Any = ()) -> LockExtension:
        """Keep the locks as a run would that many days from now."""
        now = datetime.now(UTC) + after
        return extend_locks(self.place, self.bucket(), state=StateDir(self.state), now=now, live=live, dropped=dropped)

    def ends(self) -> dict[str, datetime | None]:
        """Until when each object's newest version is locked, as the service says."""
        bucket, found = self.bucket(), {}
        for version in bucket.versions():
            if not version.marker and not version.name.startswith("locks/"):
                lock = bucket.lock_of(version.name, version.id)
                found[version.name] = lock.until if lock else None
        return found

    def declare(self, **changes: Any) -> None:
        """Change what the target declares under immutability."""
        assert self.place.target.s3
        rules = self.place.target.s3.immutability.model_copy(update=changes)
        s3 = self.place.target.s3.model_copy(update={"immutability": rules})
        self.place = replace(self.place, target=self.place.target.model_copy(update={"s3": s3}))

    def restic(self, *arguments: str) -> Any:
        return self.place.repository._call(*arguments, doing="testing").stdout


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, restic_program: str) -> Path:
    """A repository of two snapshots in a directory, made once: its objects are copied into each vault."""
    root = tmp_path_factory.mktemp("template")
    repository = Repository(
        program=restic_program, location=str(root / "repository"), where="template", host="sis",
        env={"RESTIC_PASSWORD": "x"}, cache=root / "cache",
    )  # fmt: skip
    repository.init()
    for number in range(2):
        source = root / str(number)
        source.mkdir()
        (source / "data").write_bytes(secrets.token_bytes(100_000))
        repository.backup_tree([str(source)], cwd=root, tags={"source": str(number)})
    return root / "repository"


@pytest.fixture
def vault(s3: S3Server, tmp_path: Path, restic_program: str, template: Path) -> Callable[..., Vault]:
    """Make a vault with a repository of two snapshots."""

    def make(mode: str = "compliance", *, days: int = 30, user: str = "admin", filled: bool = True) -> Vault:
        name = f"vault-{secrets.token_hex(6)}"
        s3.make_locked(name, mode, days)
        for who in ("admin", "writer", "keeper"):
            s3.write_keys(tmp_path / f"keys-{who}", who)
        rules = {"mode": mode, "days": 30, "max_lock_days": 90}
        credentials = {"file": str(tmp_path / f"keys-{user}")}
        whole = {"endpoint": s3.endpoint, "bucket": name, "credentials": credentials, "immutability": rules}
        target = Target.model_validate({"target": "vault", "s3": whole})
        key, secret = s3.keys("admin")
        repository = Repository(
            program=restic_program, location=f"s3:{s3.endpoint}/{name}/sis", where="sis on vault", host="sis",
            env={"RESTIC_PASSWORD": "x", "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
            cache=tmp_path / "cache",
        )  # fmt: skip
        assert target.s3
        bucket = open_locks(target.s3).child("sis")
        made = Vault(s3, Place("vault", target, repository, bucket, bucket), name, tmp_path / "state")
        if filled:
            client = s3.client()
            for path in sorted(template.rglob("*")):
                if path.is_file():
                    key = f"sis/{path.relative_to(template).as_posix()}"
                    client.put_object(Bucket=name, Key=key, Body=path.read_bytes())
        return made

    return make


@pytest.fixture(autouse=True)
def _clocks_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SKEW_SECONDS", 1e9)


def test_locks_are_lengthened_only_within_the_margin(vault: Callable[..., Vault]) -> None:
    made = vault()
    first = made.keep()
    assert (first.state.outcome, first.state.due, first.state.extended) == ("ok", 0, 0)
    assert first.state.needed == len(made.ends()) and first.state.calls < 10
    early = made.keep(after=19 * DAY)
    assert (early.state.due, early.state.extended) == (0, 0)
    before = made.ends()
    late = made.keep(after=21 * DAY)
    assert late.state.extended == late.state.due == len(before) and late.state.left == 0
    after = made.ends()
    assert all(after[name] == before[name] + 21 * DAY or after[name] > before[name] + 20 * DAY for name in before)
    assert late.state.protected_until and min(after.values()) == late.state.protected_until
    again = made.keep(after=21 * DAY)
    assert (again.state.due, again.state.extended) == (0, 0), "an unchanged repository is left alone"
    assert again.state.calls <= 3, "and costs no request for each object"


def test_no_lock_goes_past_the_ceiling(vault: Callable[..., Vault]) -> None:
    made = vault()
    made.declare(days=60, max_lock_days=35, margin_days=50)
    kept = made.keep()
    ceiling = datetime.now(UTC) + 35 * DAY
    assert kept.state.extended == kept.state.needed
    assert all(ceiling - timedelta(minutes=5) < end <= ceiling for end in made.ends().values() if end)


def test_only_what_the_snapshots_need_is_lengthened(vault: Callable[..., Vault]) -> None:
    made = vault()
    first, second = made.place.repository.snapshots()
    before = made.ends()
    made.restic("forget", first.id)
    kept = made.keep(after=21 * DAY, live=[second.id])
    longer = {name for name, end in made.ends().items() if end and before[name] and end > before[name] + DAY}
    left = before.keys() - longer
    assert f"snapshots/{first.id}" in left and f"snapshots/{second.id}" in longer
    assert sum(name.startswith("data/") for name in left) == 2, "the forgotten one's pack of data, and that of trees"
    assert "config" in longer and kept.state.scope.startswith("exactly") and kept.state.needed == len(longer)


def test_what_a_prune_took_away_is_not_locked_again_but_what_an_attacker_took_is(
    vault: Callable[..., Vault],
) -> None:
    made = vault()
    first, second = made.place.repository.snapshots()
    before = made.ends()
    made.restic("forget", "--prune", "--max-unused=0", first.id)
    kept = made.keep(after=21 * DAY, live=[second.id])
    assert kept.state.scope.startswith("exactly")
    # Their locks are inferred from a sample, and services keep whole seconds: not to the second.
    lines = [json.loads(line) for line in made.memory.read_text().splitlines()[1:]]
    gone = [name for name, _, end, _ in lines
            if name not in kept.needed and abs(moment(end) - before[name]) < timedelta(minutes=1)]  # fmt: skip
    assert f"snapshots/{first.id}" in gone and any(name.startswith("data/") for name in gone)
    # The repository is wiped and begun anew: what was there is kept, by this run and the next.
    client = made.s3.client()
    for item in client.list_objects_v2(Bucket=made.name, Prefix="sis/")["Contents"]:
        client.delete_object(Bucket=made.name, Key=item["Key"])
    made.place.repository.init()
    anew = made.keep(after=42 * DAY, live=None)
    assert "made again" in anew.state.scope and f"snapshots/{second.id}" in anew.needed
    assert {"config", "config?oldest"} <= set(anew.needed), "both repositories can be opened"
    assert made.keep(after=43 * DAY).state.due == 0
    assert "made again" in made.keep(after=70 * DAY).state.scope
    assert made.keep(after=140 * DAY).state.scope.startswith("exactly"), "not for ever: destruction stays possible"


def test_a_key_that_was_removed_on_record_is_let_go_and_one_that_somebody_took_is_kept(
    vault: Callable[..., Vault], tmp_path: Path
) -> None:
    made = vault()
    (tmp_path / "new").write_text("y")
    made.restic("key", "add", "--new-password-file", str(tmp_path / "new"))
    client = made.s3.client()
    there = json.loads(made.restic("key", "list"))
    (other,) = [key["id"] for key in there if not key["current"]]
    (name,) = [n for n in made.ends() if n.startswith(f"keys/{other}")]
    client.delete_object(Bucket=made.name, Key=f"sis/{name}")
    assert name in made.keep(after=21 * DAY).needed
    later = made.keep(after=42 * DAY, dropped=[name.removeprefix("keys/")])
    assert later.state.scope.startswith("exactly") and name not in later.needed


def test_when_a_snapshot_of_a_point_was_deleted_all_is_kept_and_the_record_says_so(
    vault: Callable[..., Vault],
) -> None:
    made = vault()
    first, second = made.place.repository.snapshots()
    made.restic("forget", first.id)
    kept = made.keep(after=21 * DAY, live=[first.id, second.id])
    assert kept.state.scope.startswith("all that is stored") and kept.state.extended == len(made.ends())


def test_when_the_head_was_deleted_or_overwritten_the_originals_are_locked(vault: Callable[..., Vault]) -> None:
    made = vault()
    client, held = made.s3.client(), made.bucket()
    original = {version.name: version.id for version in held.versions() if not version.name.startswith("locks")}
    names = sorted(original)
    for name in names[::2]:
        client.delete_object(Bucket=made.name, Key=f"sis/{name}")
    for name in names[1::2]:
        client.put_object(Bucket=made.name, Key=f"sis/{name}", Body=b"ransom")
    kept = made.keep(after=21 * DAY)
    assert kept.state.scope.startswith("all that is stored") and kept.state.extended == len(original)
    for name, version_id in original.items():
        lock = held.lock_of(name, version_id)
        assert lock and lock.until > datetime.now(UTC) + 50 * DAY
        data = held.get_version(name, version_id)
        assert name == "config" or hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]


def test_a_kill_in_the_middle_costs_one_batch_and_the_next_run_goes_on(
    vault: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = vault(filled=False)
    many(made, 40)
    monkeypatch.setattr(locks, "BATCH", 10)
    asked: list[int] = []

    def stop_later() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise InterruptedRunError("stopped", hint="again")

    monkeypatch.setattr(command, "raise_if_stopping", stop_later)
    monkeypatch.setattr(Repository, "unneeded_packs", lambda self, timeout: set())
    cut = made.keep(after=21 * DAY)
    assert cut.state.outcome == "degraded" and "interrupted" in (cut.state.error or "")
    assert (cut.state.extended, cut.state.left) == (20, 20)
    monkeypatch.setattr(command, "raise_if_stopping", lambda: None)
    rest = made.keep(after=21 * DAY)
    assert (rest.state.due, rest.state.extended, rest.state.outcome) == (20, 20, "ok")
    assert all(end and end > datetime.now(UTC) + 50 * DAY for end in made.ends().values())


def many(made: Vault, count: int) -> None:
    """So many small objects named by their hash, as restic's packs are."""
    client = made.s3.client()
    for number in range(count):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        client.put_object(Bucket=made.name, Key=f"sis/data/{digest[:2]}/{digest}", Body=str(number).encode())


def test_calls_are_bounded_and_the_first_to_run_out_go_first(
    vault: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = vault(filled=False)
    many(made, 12)
    monkeypatch.setattr(Repository, "unneeded_packs", lambda self, timeout: set())
    names = sorted(made.ends())
    bucket = made.bucket()
    later, versions = datetime.now(UTC) + 31 * DAY, {v.name: v.id for v in bucket.versions()}
    made.keep()
    for name in names[:6]:  # these are locked longer than the others
        bucket.lock(name, versions[name], Lock("compliance", later + 30 * DAY))
    made.memory.unlink()
    made.declare(max_calls=11, price_per_1000=5.0)
    monkeypatch.setattr(locks, "SAMPLE", 12)  # locks differ: each object counts as without one
    kept = made.keep(after=21 * DAY)
    assert kept.state.left > 0 and kept.state.cost == pytest.approx(kept.state.calls * 0.005)
    assert kept.state.outcome == "degraded" and "max_calls" in (kept.state.error or "")
    assert len(made.memory.read_text().splitlines()) == 1 + 12
    made.declare(max_calls=1000)
    rest = made.keep(after=21 * DAY)
    assert (rest.state.left, rest.state.outcome) == (0, "ok")


def test_an_object_whose_lock_ran_out_is_locked_again(vault: Callable[..., Vault]) -> None:
    made = vault(days=0)
    bucket = made.bucket()
    for version in bucket.versions():
        bucket.lock(version.name, version.id, Lock("compliance", datetime.now(UTC) + timedelta(seconds=8)))
    assert soon(lambda: all(end and end < datetime.now(UTC) for end in made.ends().values()))
    kept = made.keep()
    assert kept.state.extended == kept.state.needed > 0 and kept.state.outcome == "ok"
    assert all(end and end > datetime.now(UTC) + 29 * DAY for end in made.ends().values())


def test_a_bucket_without_object_lock_is_said_in_one_sentence(vault: Callable[..., Vault], s3: S3Server) -> None:
    made = vault(filled=False)
    plain = f"plain-{secrets.token_hex(6)}"
    s3.client().create_bucket(Bucket=plain)
    s3.client().put_object(Bucket=plain, Key="sis/config", Body=b"x")
    assert made.place.target.s3
    place = made.place.target.s3.model_copy(update={"bucket": plain})
    made.place = replace(made.place, target=made.place.target.model_copy(update={"s3": place}))
    kept = made.keep()
    assert kept.state.outcome == "degraded" and "Object Lock is off on this bucket" in (kept.state.error or "")
    assert kept.state.protected_until is None


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidRequest"])
def test_an_object_that_is_locked_longer_already_is_no_failure_however_the_service_says_it(
    vault: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    made = vault(filled=False)
    many(made, 3)
    bucket, far = made.bucket(), datetime.now(UTC).replace(microsecond=0) + 200 * DAY
    for version in bucket.versions():
        bucket.lock(version.name, version.id, Lock("compliance", far))
    monkeypatch.setattr(Repository, "unneeded_packs", lambda self, timeout: set())

    def shorter(self: S3Bucket, name: str, version_id: str, lock: Lock, **more: Any) -> None:
        raise RefusedError("no", hint="-") if code == "AccessDenied" else DrError("it is protected", hint="-")

    monkeypatch.setattr(S3Bucket, "lock", shorter)
    monkeypatch.setattr(S3Bucket, "lock_of", lambda self, name, version_id: Lock("compliance", far))
    monkeypatch.setattr(locks, "_infer", lambda work: None)
    kept = made.keep()
    assert (kept.state.outcome, kept.state.extended) == ("ok", 3) and kept.state.protected_until == far
    assert any("past the ceiling" in note for note in kept.state.notes)


def test_a_service_that_goes_down_meanwhile_is_not_asked_a_thousand_times(
    vault: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = vault(filled=False)
    many(made, 60)
    monkeypatch.setattr(Repository, "unneeded_packs", lambda self, timeout: set())
    asked, count = [0], itertools.count(1)
    real = S3Bucket.lock

    def going_down(self: S3Bucket, name: str, version_id: str, lock: Lock, **more: Any) -> None:
        asked[0] = number = next(count)
        if number > 5:
            raise TargetDownError("it does not answer", hint="wait", retryable=True)
        real(self, name, version_id, lock, **more)

    monkeypatch.setattr(S3Bucket, "lock", going_down)
    cut = made.keep(after=21 * DAY)
    assert "does not answer" in (cut.state.error or "") and asked[0] < 5 + 2 * locks.THREADS
    assert cut.state.extended == 5, "what was done before is known"
    monkeypatch.setattr(S3Bucket, "lock", real)
    assert made.keep(after=21 * DAY).state.extended == 55


def test_without_a_default_on_the_bucket_each_object_is_locked_after_the_backup(vault: Callable[..., Vault]) -> None:
    made = vault("governance", days=0)
    assert set(made.ends().values()) == {None}
    kept = made.keep()
    assert kept.state.extended == kept.state.needed and None not in made.ends().values()


def test_keys_that_may_not_lock_make_it_degraded_with_one_sentence_and_a_keepers_keys_do(
    vault: Callable[..., Vault], tmp_path: Path
) -> None:
    made = vault(user="writer")
    made.s3.append_only(made.name)
    refused = made.keep(after=21 * DAY)
    assert refused.state.outcome == "degraded" and refused.state.extended == 0
    assert "may not extend locks (PutObjectRetention)" in (refused.state.error or "")
    assert refused.state.calls < 15, "one refusal is enough"
    from dr.plan.target_kind import Credentials

    made.declare(credentials=Credentials(file=tmp_path / "keys-keeper"))
    kept = made.keep(after=21 * DAY)
    assert kept.state.outcome == "ok" and kept.state.extended == kept.state.needed > 0


def test_a_wrong_clock_locks_nothing(vault: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch) -> None:
    made = vault()
    before = made.ends()
    monkeypatch.setattr(locks, "SKEW_SECONDS", 3600.0)
    kept = made.keep(after=21 * DAY)
    assert kept.state.outcome == "degraded" and "clock" in (kept.state.error or "")
    assert made.ends() == before


def test_a_governance_lock_is_lengthened_in_its_own_mode_where_compliance_is_declared(
    vault: Callable[..., Vault],
) -> None:
    made = vault("governance")
    made.declare(mode="compliance")
    kept = made.keep(after=21 * DAY)
    assert kept.state.extended == kept.state.needed > 0


def test_until_when_a_point_is_protected_and_when_its_last_object_is_free(vault: Callable[..., Vault]) -> None:
    made = vault()
    kept = made.keep()
    first, second = made.place.repository.snapshots()
    found = kept.of_snapshots([first.id])
    assert found and found[0] == kept.state.protected_until and found[0] <= found[1]
    assert kept.of_snapshots([second.id])[1] >= found[1]  # type: ignore[index]
    assert kept.of_snapshots(["0" * 64]) is None and kept.of_snapshots([]) is None
