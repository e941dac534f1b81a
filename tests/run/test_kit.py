"""A kit at each step of its making, and what goes into the copy that it holds."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.errors import UsageError
from dr.operations import make_kit as making
from dr.operations import self_backup as saving
from dr.operations.kit_files import KitWanted, in_recovery_order
from dr.operations.make_kit import make_kit
from dr.operations.open_kit import open_kit
from dr.run.keys import escrow, host_keys
from dr.run.keys.recipient import identity_here, recipient_of
from dr.run.kit import kit as writing
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.contents import CATALOG
from dr.run.kit.kit import find_kit, identity_of, read_shares
from dr.session import Session
from dr.tools.state_dir import StateDir
from tests.conftest import plan_text


class KilledError(BaseException):
    """The process is gone: no handler of ours sees it."""


@pytest.fixture
def session(tmp_path: Path, restic_program: str, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("DR_RESTIC", restic_program)
    for name in ("plans", "targets"):
        (tmp_path / "config" / name).mkdir(parents=True)
    (tmp_path / "source").mkdir()
    for name in ("disk", "vault"):
        (tmp_path / "config" / "targets" / f"{name}.yaml").write_text(f"target: {name}\nlocal: {{path: ../{name}}}\n")
    (tmp_path / "config" / "plans" / "share.yaml").write_text(
        plan_text("share", f"docs: {{files: {{paths: [{tmp_path}/source]}}}}")
    )
    found = Session(tmp_path / "config", StateDir(tmp_path / "state"))
    found.state.make()
    return found


def wanted(session: Session, name: str = "out") -> KitWanted:
    return KitWanted(custodians=("A", "B", "C"), threshold=2, out=session.state.path.parent / name)


def safe(session: Session, secret: str, name: str = "out") -> bool:
    """Whether the secret is on the host, or given back by shares that are whole on the disk."""
    if identity_here(session.state) == secret:
        return True
    out = session.state.path.parent / name
    return identity_of(find_kit(out).kit, read_shares(sorted((out / "shares").glob("*.txt"))[:2])) == secret


def dying_at(number: int, real: Callable[..., Any]) -> Callable[..., Any]:
    count = itertools.count()

    def act(*arguments: Any, **named: Any) -> Any:
        if next(count) == number:
            raise KilledError
        return real(*arguments, **named)

    return act


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [
        *((writing, "write_private", number) for number in (0, 3, 9, 14)),
        *((host_keys, "settle", number) for number in (0, 4, 5)),
        (making, "find_kit", 0),
        (making, "read_shares", 0),
        (escrow, "take_identity", 0),
        (making, "save_everywhere", 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_dead_at_any_step_the_secret_is_kept_and_the_next_run_ends_the_work(
    session: Session, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, number: int
) -> None:
    recipient_of(session.state)
    secret = identity_here(session.state)
    assert secret
    with monkeypatch.context() as patch:
        patch.setattr(module, name, dying_at(number, getattr(module, name)))
        with pytest.raises(KilledError):
            make_kit(session, wanted(session))
    assert safe(session, secret)
    other = identity_here(session.state) is None
    if not other:
        done = make_kit(session, wanted(session))
        assert done.fact.outcome == "ok"
    assert identity_here(session.state) is None and safe(session, secret)
    assert not list(session.state.path.parent.glob(".*.unfinished"))


def test_what_a_kill_left_elsewhere_is_swept_by_the_next_kit(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares half written in one place are not forgotten because the next kit goes to another."""
    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_private", dying_at(14, writing.write_private))
        with pytest.raises(KilledError):
            make_kit(session, wanted(session))
    assert list(session.state.path.parent.glob(".out.unfinished/shares/*"))
    make_kit(session, wanted(session, "other"))
    assert not list(session.state.path.parent.glob(".out.unfinished"))


def test_shares_that_do_not_give_the_secret_back_leave_it_on_the_host(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the proof: a splitter that is wrong must be found out before the secret goes."""
    from dr.tools import age, shares

    real = shares.split
    monkeypatch.setattr(making.shares, "split", lambda identity, **named: real(age.new_identity()[0], **named))
    with pytest.raises(Exception, match="do not give the secret back"):
        make_kit(session, wanted(session))
    assert identity_here(session.state)


def test_the_opened_kit_is_what_was_declared_wherever_it_lies(session: Session, tmp_path: Path) -> None:
    script = session.config / "plans" / "checks" / "smoke"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    (session.config / "plans" / "dump.bin").write_bytes(os.urandom(300_000))
    done = make_kit(session, wanted(session))
    assert any("dump.bin: too large" in text for text in done.folder.kit.left_out)
    files = sorted((tmp_path / "out" / "shares").glob("*.txt"))[1:]
    opened = open_kit(tmp_path / "out", files, tmp_path / "new")
    new = Session(opened.config, opened.state)
    place = new.toolbox(new.chosen(["share"])[0]).places[0]
    assert os.path.realpath(place.repository.location) == str(tmp_path / "disk" / "share")
    assert new.declarations.plans["share"].digest == session.declarations.plans["share"].digest
    assert os.access(opened.config / "plans" / "checks" / "smoke", os.X_OK)
    assert identity_here(opened.state) is None, "custodians still hold it"
    with pytest.raises(UsageError, match="not empty"):
        open_kit(tmp_path / "out", files, tmp_path / "new")


def test_what_no_recovery_needs_stops_none_where_the_kit_is_opened(session: Session, tmp_path: Path) -> None:
    practice = "target: practice\ns3: {endpoint: 'http://127.0.0.1:9', bucket: practice, credentials: {file: keys}}\n"
    (session.config / "targets" / "practice.yaml").write_text(practice)
    plan, faulty = (session.config / "plans" / name for name in ("share.yaml", "library.yaml"))
    plan.write_text(plan.read_text() + "drill: {scratch: practice}\ndepends_on: [library]\n")
    faulty.write_text("system: library\nobjectves: {rto: 1h}\n")
    session = Session(session.config, session.state)
    done = make_kit(session, wanted(session))
    assert any("plans/library.yaml" in text for text in done.folder.kit.left_out) and done.fact.outcome == "degraded"
    opened = open_kit(tmp_path / "out", sorted((tmp_path / "out" / "shares").glob("*.txt"))[1:], tmp_path / "new")
    assert Session(opened.config, opened.state).chosen(["share"])[0].plan.drill.scratch == "practice"
    assert (opened.config / "plans" / "library.yaml").read_text() == faulty.read_text()


def test_a_large_catalog_goes_along_once_a_day(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_SMALL_CATALOG", 0)
    now = session.clock()
    kept = []
    for hours in (0, 1, 25):
        session.clock = lambda hours=hours: now + timedelta(hours=hours)  # type: ignore[misc]
        plan = session.config / "plans" / "share.yaml"
        plan.write_text(plan.read_text() + f"# {hours}\n")
        fresh = Session(session.config, session.state, clock=session.clock)
        loaded = fresh.chosen(["share"])[0]
        fresh.reached = {place.name: place for place in fresh.toolbox(loaded).places}
        for place in fresh.toolbox(loaded).places:
            place.store.reachable()
        saving.save_self(fresh)
        assert fresh.problems == []
        root = next(iter(fresh.toolbox(loaded).places)).root
        assert root
        name = selfcopy.names(root)[0]
        copy = selfcopy.unpack(
            root.child(selfcopy.PLACE).get(name),
            identity=host_keys.host_identity(session.state),
            key=host_keys.control_key(session.state),
            name=name,
        )
        kept.append(CATALOG in copy.contents)
    assert kept == [True, False, True]


def test_systems_come_after_what_they_depend_on(session: Session) -> None:
    for name, more in (("alpha", "depends_on: [omega]\n"), ("omega", "depends_on: [share]\n")):
        text = plan_text(name, f"docs: {{files: {{paths: [{session.config}]}}}}", more=more)
        (session.config / "plans" / f"{name}.yaml").write_text(text)
    items = Session(session.config, session.state).usable()[0]
    assert [item.plan.system for item in in_recovery_order(items)] == ["share", "omega", "alpha"]


def test_the_description_of_a_kit_is_not_secret_and_can_be_read_again(session: Session) -> None:
    done = make_kit(session, wanted(session))
    body = json.loads((done.folder.path / "kit.json").read_text())
    assert find_kit(session.state.path.parent / "out").kit == done.folder.kit
    assert "words" not in body and body["recipient"] == recipient_of(session.state)
