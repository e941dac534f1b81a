"""Every verb, typed, against all that can end a run: each is found in its record, its exit code and its document."""

from __future__ import annotations

import errno
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

import dr.operations.backup
import dr.operations.drill
import dr.operations.expire_target
import dr.operations.repair
import dr.operations.rotate_keys
import dr.operations.scenarios
import dr.operations.update_replica
import dr.operations.verify
from dr.cli.main import main
from dr.errors import DEGRADED, FAILED, INTERRUPTED, LOCKED, DrError, InterruptedRunError
from dr.run.kit import self_backup as selfcopy
from dr.session import new_id
from tests.conftest import Site, plan_text


@dataclass(frozen=True)
class Typed:
    """A verb: what is typed, where its work can be made to fail, the lock it needs, and its results in the document."""

    arguments: tuple[str, ...]
    module: Any
    function: str
    results: str
    lock: str = ""

    @property
    def kind(self) -> str:
        """The kind of its record."""
        return "recovery" if self.arguments[0] == "recover" else self.arguments[0]


VERBS = {
    "backup": Typed(("backup", "share"), dr.operations.backup, "run_backup", "runs", "share"),
    "verify": Typed(("verify", "share"), dr.operations.verify, "verify", "proofs", "share"),
    "replicate": Typed(("replicate", "share"), dr.operations.update_replica, "replicate", "replications", "share@vault"),
    "drill": Typed(("drill", "share"), dr.operations.scenarios, "run_drill", "drills"),
    "recover": Typed(
        ("recover", "share", "--to", "OUT", "--yes"), dr.operations.drill, "run_recover", "drills"
    ),
    "repair": Typed(("repair", "share", "--target", "disk"), dr.operations.repair, "look", "repairs", "share"),
    "expire": Typed(("expire", "share"), dr.operations.expire_target, "situation", "expirations", "share"),
    "keys": Typed(("keys", "rotate", "share"), dr.operations.rotate_keys, "rotate", "changes", "share.keys"),
}  # fmt: skip
LOCKING = {name: each for name, each in VERBS.items() if each.lock}


@dataclass
class Ended:
    """How the program ended: its exit code, its document, and the last record of the verb."""

    code: int
    document: Any
    record: Any

    @property
    def said(self) -> str:
        """All errors of the document."""
        return " | ".join(error["what"] for error in self.document["errors"])


@pytest.fixture
def typed(
    files_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Typed], Ended]:
    """Type a verb in this process, on a system that was backed up, with a replica; return how it ended."""
    site = files_site
    monkeypatch.setenv("DR_RESTIC", site.env["DR_RESTIC"])
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, targets="[disk]", more="replicas: [vault]\nretention: {last: 6}\n"))
    site.dr("backup", "share")

    def run(verb: Typed) -> Ended:
        options = ("--json", "--config", f"{site.root}/config", "--state", f"{site.root}/state")
        words = [f"{site.root}/out" if word == "OUT" else word for word in verb.arguments]
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*options, *words])
        session = site.session()
        records = session.catalog.facts((verb.kind,), systems=["share"])
        assert session.catalog.open_runs("share") == [], "nothing is left to be called interrupted later"
        session.close()
        document = json.loads(capsys.readouterr().out)
        return Ended(int(ended.value.code or 0), document, records[-1].fact if records else None)

    return run


@contextmanager
def failing(verb: Typed, error: Exception) -> Iterator[None]:
    """An error in the midst of the work, which cannot be provoked at will."""

    def act(*_: Any, **__: Any) -> Any:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb.module, verb.function, act)
        yield


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize(
    ("error", "outcome", "code", "said"),
    [
        (InterruptedRunError("stopped on request"), "aborted", INTERRUPTED, "stopped on request"),
        (DrError("it broke", hint="put it right"), "failed", FAILED, "it broke"),
        (OSError(errno.ENOSPC, "No space left on device"), "failed", FAILED, "no space left on device"),
    ],
    ids=["interrupted", "an error", "the machine"],
)
def test_what_ends_a_run_is_in_its_record_the_exit_code_and_the_document(
    name: str, error: Exception, outcome: str, code: int, said: str, typed: Callable[[Typed], Ended]
) -> None:
    verb = VERBS[name]
    with failing(verb, error):
        ended = typed(verb)
    assert ended.code == code
    assert ended.record.outcome == outcome
    assert said in str(ended.record)
    [told] = [each for each in ended.document[verb.results] if each["outcome"] != "skipped"]
    assert told["outcome"] == outcome and said in ended.said


@pytest.mark.parametrize("name", LOCKING)
def test_while_another_run_is_at_work_it_ends_with_11_and_nothing_is_on_record(
    name: str, typed: Callable[[Typed], Ended], files_site: Site
) -> None:
    verb = LOCKING[name]
    with files_site.state.hold(verb.lock, what="another run is at work"):
        ended = typed(verb)
    assert ended.code == LOCKED and ended.said
    assert {told["outcome"] for told in ended.document[verb.results]} <= {"skipped"}
    assert ended.record is None or ended.record.outcome == "ok", "only the backup of before is on record"


@pytest.mark.parametrize("name", VERBS)
def test_a_record_that_reaches_no_target_is_told_and_the_work_stands(
    name: str, typed: Callable[[Typed], Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: Any) -> None:
        raise DrError("the disk is full", hint="free some space")

    monkeypatch.setattr("dr.tools.disk.DiskStore.put", refused_beside(refusing))
    ended = typed(VERBS[name])
    assert ended.record.outcome in ("ok", "degraded")
    assert "evidence could not be put on" in ended.said
    assert ended.code == DEGRADED


def refused_beside(refusing: Callable[..., None]) -> Callable[..., None]:
    """Refuse what is put beside a repository, and nothing else."""
    from dr.tools.disk import DiskStore

    put = DiskStore.put

    def act(self: DiskStore, name: str, *rest: Any, **more: Any) -> Any:
        return refusing() if "_evidence" in self.where else put(self, name, *rest, **more)

    return act


@pytest.mark.parametrize("name", VERBS)
def test_a_self_copy_that_cannot_be_saved_is_told_and_the_work_stands(
    name: str, typed: Callable[[Typed], Ended], monkeypatch: pytest.MonkeyPatch, files_site: Site
) -> None:
    def refusing(*_: Any, **__: Any) -> None:
        raise DrError("the disk is full", hint="free some space")

    monkeypatch.setattr(selfcopy, "put", refusing)
    (files_site.root / "state" / "escrow" / "recipient").unlink()
    ended = typed(VERBS[name])
    assert ended.record.outcome in ("ok", "degraded")
    assert "no self-copy could be put on" in ended.said and ended.code == DEGRADED


def test_the_record_of_a_new_escrow_key_is_at_the_target_with_that_of_the_backup(files_site: Site) -> None:
    """Who loses this host after the first backup finds both beside the repository."""
    files_site.escrow(True)
    files_site.dr("backup", "share")
    session = files_site.session()
    assert [record.kind for record in session.catalog.records()] == ["backup", "keys"]
    assert {name: session.catalog.unsent("share", name) for name in ("disk", "vault")} == {"disk": [], "vault": []}
    session.close()


def test_no_two_runs_that_begin_in_one_second_bear_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = iter(("aaaaaa", "aaaaaa", "aaaaaa", "bbbbbb"))
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(digits))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert new_id("test-", at)[-6:] == "aaaaaa" and new_id("test-", at)[-6:] == "bbbbbb"
