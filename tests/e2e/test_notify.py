"""Told once when something breaks, once when it is well again, and never twice: with a mail server that is one."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dr.errors import DrError
from dr.notify import url
from dr.notify.message import Message
from dr.operations import run_due
from dr.operations.tell import tell
from dr.plan.secret import SecretPlace
from tests.conftest import Ran, Site, plan_text
from tests.smtp_sink import SmtpSink
from tests.tls import Authority

MAIL = "{{name: {name}, to: {{mail: {{to: [ops@district.example], from: dr@district.example, server: '127.0.0.1:{port}', security: none}}}}{more}}}"


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as running:
        yield running


def channel(sink: SmtpSink, name: str = "ops", more: str = "") -> str:
    return "  - " + MAIL.format(name=name, port=sink.port, more=f", {more}" if more else "") + "\n"


def write_site(site: Site, text: str) -> None:
    (site.root / "config" / "site.yaml").write_text(text)


@dataclass
class World:
    """A system that is well: backed up, proven, drilled; and what the clock shows there."""

    site: Site
    sink: SmtpSink
    ahead: timedelta = field(default_factory=timedelta)
    heard: int = 0

    def dr(self, *arguments: str, code: int | None = 0) -> Ran:
        return self.site.dr(*arguments, code=code)

    def look(self) -> None:
        """What the end of any run does, by the clock of this world."""
        began = datetime.now(UTC)
        session = self.site.session(clock=lambda: began + self.ahead)
        tell(session)
        assert session.problems == []
        session.close()

    def sql(self, text: str, *given: object) -> None:
        with sqlite3.connect(self.site.root / "state" / "catalog.sqlite", isolation_level=None) as db:
            db.execute(text, given)

    def plan(self, more: str = "", **changes: str) -> None:
        more = CADENCE + (more or SLOW_CHECK)
        text = plan_text("share", f"docs: {{files: {{paths: [{self.site.root}/source]}}}}", more=more)
        for old, new in changes.items():
            text = text.replace(OLD[old], new)
        self.site.plan("share", text)

    def new_mails(self) -> list[str]:
        """The subject and text of each mail that came since the last time."""
        found = [f"{mail['subject']}\n{mail.get_content()}" for mail in self.sink.mails[self.heard :]]
        self.heard = len(self.sink.mails)
        return found


CADENCE = "cadence: {backup: every 2 hours, verify: every 7 days, drill: every 30 days}\n"
#: So that a recovery takes more than the shortest RTO there is.
SLOW_CHECK = "drill: {checks: [manifest, {command: {run: [sleep, '1.1']}}]}\n"
OLD = {"rto": "rto: 1h", "drill": "drill: every 30 days"}


@pytest.fixture
def world(files_site: Site, sink: SmtpSink) -> World:
    tickets = (
        f"  - {{name: tickets, to: {{command: {{run: [test, '!', -e, {files_site.root}/closed]}}}}, systems: [none]}}\n"
    )
    write_site(files_site, f"notify:\n{channel(sink)}{tickets}")
    made = World(files_site, sink)
    made.plan()
    for verb in ("backup", "verify", "drill"):
        made.dr(verb, "share")
    assert made.new_mails() == []
    return made


def _pack(world: World) -> Path:
    return max((world.site.root / "disk" / "share" / "data").rglob("*"), key=lambda x: x.is_file() and x.stat().st_size)


def _flip(path: Path) -> None:
    path.chmod(0o600)
    body = bytearray(path.read_bytes())
    body[100] ^= 1
    path.write_bytes(bytes(body))


def _mark(world: World) -> None:
    world.sql("insert into marks select run_id, system, consistency, 'all was rewritten', null from points")


def _stranger(world: World) -> None:
    world.sql("insert into strangers values ('share', 'disk', 'abc', 'run-x', 'other', 'there')")


def _ahead(world: World) -> None:
    later = int((datetime.now(UTC) + timedelta(days=2)).timestamp() * 1e6)
    world.sql(
        "insert into runs (run_id, verb, system, scenario, started, finished, outcome, process, plan_digest) "
        "values ('x', 'replicate', 'share', '', ?, ?, 'ok', '', '')",
        later,
        later,
    )
    world.sql(  # as whoever opens a run notes it
        "insert or replace into attempts (system, verb, scenario, begun, settled, worked) "
        "values ('share', 'replicate', '', ?, ?, ?)",
        later,
        later,
        later,
    )


def _back(world: World) -> None:
    world.ahead = timedelta()


def _later(**time: float) -> Callable[[World], None]:
    def act(world: World) -> None:
        world.ahead = timedelta(**time)

    return act


def _fresh_backup_later(**time: float) -> Callable[[World], None]:
    """The clock goes on, and all but one verb has been done meanwhile."""

    def act(world: World) -> None:
        world.ahead = timedelta(**time)
        ago = int((datetime.now(UTC) + world.ahead).timestamp() * 1e6) - 60_000_000
        world.sql("update runs set started = started where 1")
        world.sql("update points set consistency = ?, finished = ?", ago, ago)
        world.sql("update runs set started = ?, finished = ? where verb = 'backup'", ago, ago)

    return act


def _backup_is_now(world: World) -> None:
    world.ahead = timedelta()
    now = int(datetime.now(UTC).timestamp() * 1e6) - 60_000_000
    world.sql("update points set consistency = ?, finished = ?", now, now)
    world.sql("update runs set started = ?, finished = ? where verb = 'backup'", now, now)


def _move(name: str, to: str) -> Callable[[World], None]:
    return lambda world: (world.site.root / name).rename(world.site.root / to) and None


def _typed(*arguments: str, code: int | None = 0) -> Callable[[World], None]:
    def act(world: World) -> None:
        world.dr(*arguments, code=code)

    return act


def _write(path: str, text: str) -> Callable[[World], None]:
    return lambda world: (world.site.root / path).write_text(text) and None


def _in_turn(*acts: Callable[[World], None]) -> Callable[[World], None]:
    def act(world: World) -> None:
        for each in acts:
            each(world)

    return act


FAILING_CHECK = "drill: {checks: [manifest, {file: {source: docs, path: letter.txt, expect: '>= 9'}}]}\n"
BLOCKED = "target: vault\nlocal: {path: BLOCKED/vault}\n"


def _target(path: str) -> Callable[[World], None]:
    return lambda world: (
        world.site.target("vault", f"target: vault\nlocal: {{path: {world.site.root}/{path}}}\n") and None
    )


def _declared(more: str) -> Callable[[World], None]:
    def act(world: World) -> None:
        path = world.site.root / "config" / "targets" / "disk.yaml"
        path.write_text(path.read_text().partition("capacity")[0] + more)

    return act


#: What is broken, how it is put right, and the word that the message has of it.
BROKEN: dict[str, tuple[Callable[[World], None], Callable[[World], None], str]] = {
    "the source is gone": (
        _in_turn(_move("source", "away"), _typed("backup", "share", code=1)),
        _in_turn(_move("away", "source"), _typed("backup", "share")),
        "the last backup failed",
    ),
    "a target is down": (
        _in_turn(_move("vault", "gone"), _write("vault", "a file"), _typed("backup", "share", code=3)),
        _in_turn(lambda world: (world.site.root / "vault").unlink(), _move("gone", "vault"), _typed("backup", "share")),
        "the last backup was done in part",
    ),
    "stored bytes are damaged": (
        _in_turn(lambda world: _flip(_pack(world)), _typed("verify", "share", code=None)),
        _in_turn(lambda world: _flip(_pack(world)), _typed("verify", "share", code=None)),
        "damage found: ",
    ),
    "a recovery point is lost": (
        _in_turn(_move("disk/share/snapshots", "kept"), _typed("verify", "share", code=None)),
        _in_turn(
            lambda world: shutil.rmtree(world.site.root / "disk/share/snapshots", ignore_errors=True),
            _move("kept", "disk/share/snapshots"), _typed("verify", "share", code=None),
        ),
        "disk",
    ),
    "a drill's check fails": (
        _in_turn(lambda world: world.plan(FAILING_CHECK), _typed("drill", "share", code=1)),
        _in_turn(lambda world: world.plan(), _typed("drill", "share")),
        "the last drill failed",
    ),
    "a recovery takes too long": (
        _in_turn(lambda world: world.plan(rto="rto: 1s"), World.look),
        _in_turn(lambda world: world.plan(), World.look),
        "the last drill took too long",
    ),
    "the plan has a typo": (
        _in_turn(_write("config/plans/share.yaml", "system: share\nobjektives: {}\n"), World.look),
        _in_turn(lambda world: world.plan(), World.look),
        "its plan cannot be used, so nothing runs for it",
    ),
    "a recovery point is suspect": (
        _in_turn(_mark, World.look),
        _in_turn(lambda world: world.sql("delete from marks"), World.look),
        "no recovery point may be expired",
    ),
    "another installation writes there": (
        _in_turn(_stranger, World.look),
        _in_turn(lambda world: world.sql("delete from strangers"), World.look),
        "another installation made",
    ),
    "a clock went back": (
        _in_turn(_ahead, World.look),
        _in_turn(
            lambda world: world.sql("delete from runs where run_id = 'x'"),
            lambda world: world.sql("delete from attempts where verb = 'replicate'"),
            World.look,
        ),
        "bear a later time than now",
    ),
    "no backup is made any more": (
        _in_turn(_later(hours=3.5), World.look),
        _in_turn(_back, World.look),
        "a backup is overdue",
    ),
    "no proof is made any more": (
        _in_turn(_fresh_backup_later(days=8), World.look),
        _in_turn(_backup_is_now, World.look),
        "a verification is overdue",
    ),
    "no drill is made any more": (
        _in_turn(lambda world: world.sql("update runs set started = started + 5184000000000 where verb = 'verify'"),
                 _fresh_backup_later(days=61), World.look),
        _in_turn(lambda world: world.sql("update runs set started = started - 5184000000000 where verb = 'verify'"),
                 _backup_is_now, World.look),
        "drill",
    ),
    "the newest point is too old": (
        _in_turn(lambda world: world.sql("update points set consistency = consistency - 18000000000"), World.look),
        _in_turn(_backup_is_now, World.look),
        "the newest recovery point is too old",
    ),
    "another channel takes nothing": (
        _in_turn(_write("closed", "x"), _typed("notify", "test", "tickets", code=1), World.look),
        _in_turn(
            lambda world: (world.site.root / "closed").unlink(), _typed("notify", "test", "tickets"), World.look
        ),
        "the channel tickets takes no notices: ",
    ),
    "a target is full": (
        _in_turn(_declared("capacity: 1kB\n"), _typed("verify", "share")),
        _in_turn(_declared("capacity: 1TB\n"), World.look),
        "more than its capacity of 1.0 kB",
    ),
}  # fmt: skip


def test_each_of_what_breaks_is_told_once_and_once_when_it_is_well_again(world: World) -> None:
    assert len(BROKEN) >= 16
    for name, (break_it, mend, word) in BROKEN.items():
        break_it(world)
        told = world.new_mails()
        assert len(told) == 1 and word in told[0] and "well again" not in told[0], (name, told)
        world.look()
        world.look()
        assert world.new_mails() == [], name
        mend(world)
        told = world.new_mails()
        assert len(told) == 1 and "well again" in told[0], (name, told)
        world.look()
        assert world.new_mails() == [], name


# -- killed ------------------------------------------------------------------------------------------


def program(site: Site, body: str) -> str:
    """A channel that is a program: what it took is in `took`, one document a line."""
    path = site.root / "took.sh"
    path.write_text(f"#!/bin/sh\nset -e\ncd {site.root}\n{body}\n")
    path.chmod(0o755)
    return f"  - {{name: tickets, to: {{command: {{run: [{path}]}}}}}}\n"


def took(site: Site) -> list[dict[str, object]]:
    path = site.root / "took"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_kill_before_the_channel_took_it_loses_nothing_and_sends_it_once(files_site: Site) -> None:
    kill = "[ -e tried ] || { touch tried; kill -9 $PPID; exit 1; }\ncat >> took"
    write_site(files_site, f"notify:\n{program(files_site, kill)}")
    (files_site.root / "source").rename(files_site.root / "away")
    started = files_site.start("backup", "share")
    started.communicate()
    assert started.returncode == -9 and took(files_site) == []
    files_site.dr("backup", "share", code=1)
    files_site.dr("backup", "share", code=1)
    assert [len(document["notices"]) for document in took(files_site)] == [1]  # type: ignore[arg-type]


def test_a_kill_after_the_channel_took_it_sends_the_same_message_under_the_same_id(
    files_site: Site, sink: SmtpSink
) -> None:
    write_site(files_site, f"notify:\n{channel(sink)}")
    (files_site.root / "source").rename(files_site.root / "away")
    started = files_site.start("backup", "share")
    sink.taken = started.kill
    started.communicate()
    assert started.returncode == -9
    sink.taken = lambda: None
    files_site.dr("backup", "share", code=1)
    files_site.dr("backup", "share", code=1)
    first, again = sink.mails
    assert first["Message-ID"] == again["Message-ID"] and first.get_content() == again.get_content()


# -- to whom, and when -------------------------------------------------------------------------------


def test_each_channel_is_told_what_it_asked_for(files_site: Site) -> None:
    with SmtpSink() as all_of_it, SmtpSink() as drills, SmtpSink() as others, SmtpSink() as grave:
        write_site(
            files_site,
            "organisation: Example District\nnotify:\n"
            + channel(all_of_it, "all")
            + channel(drills, "drills", "on: [drill, recovered]")
            + channel(others, "others", "systems: [payroll]")
            + channel(grave, "grave", "severities: [critical], on: [failed]"),
        )
        (files_site.root / "vault").write_text("a file")
        files_site.dr("backup", "share", code=3)
        assert [len(sink.mails) for sink in (all_of_it, drills, others, grave)] == [1, 0, 0, 0]
        mail = all_of_it.mails[0]
        assert mail["Subject"].startswith("[dr] Example District: share: the last backup was done in part")
        assert (mail["To"], mail["Auto-Submitted"]) == ("ops@district.example", "auto-generated")
        assert "To do: remove the cause, then run `dr backup share`" in mail.get_content()
        (files_site.root / "source").rename(files_site.root / "away")
        files_site.dr("backup", "share", code=1)
        assert [len(sink.mails) for sink in (all_of_it, drills, others, grave)] == [1, 0, 0, 1]
        (files_site.root / "vault").unlink()
        (files_site.root / "away").rename(files_site.root / "source")
        files_site.dr("backup", "share")
        assert [len(sink.mails) for sink in (all_of_it, drills, others, grave)] == [2, 0, 0, 1]


def test_what_breaks_at_night_waits_for_the_morning_and_is_not_told_when_it_passed(
    files_site: Site, sink: SmtpSink
) -> None:
    now = datetime.now(UTC)
    opening = now + timedelta(hours=3)
    hours = f"hours: ['{opening:%H:%M}-{opening + timedelta(hours=1):%H:%M}']"
    write_site(files_site, f"notify:\n{channel(sink, 'ops', hours + ', on: [backup, recovered]')}")
    world = World(files_site, sink)
    (files_site.root / "source").rename(files_site.root / "away")
    files_site.dr("backup", "share", code=1)
    assert sink.mails == []
    listed = files_site.dr("notify", "list", "--json").document
    assert [(each["state"], each["problem"]) for each in listed["notices"]] == [("wrong", "backup_failed")]
    assert "ops: waits: share: the last backup failed" in files_site.dr("notify", "list").out
    world.ahead = timedelta(hours=3, minutes=1)
    world.look()
    assert len(sink.mails) == 1
    world.ahead = timedelta()
    (files_site.root / "away").rename(files_site.root / "source")
    files_site.dr("backup", "share")
    (files_site.root / "source").rename(files_site.root / "away")
    files_site.dr("backup", "share", code=1)  # broken again before its end was told: still the same
    world.ahead = timedelta(hours=3, minutes=2)
    world.look()
    assert len(sink.mails) == 1
    world.ahead = timedelta()
    (files_site.root / "away").rename(files_site.root / "source")
    files_site.dr("backup", "share")
    world.ahead = timedelta(hours=3, minutes=3)
    world.look()
    assert ["well again" in mail["Subject"] for mail in sink.mails] == [False, True]


def test_one_cause_for_many_systems_is_one_message(site: Site, sink: SmtpSink) -> None:
    write_site(site, f"notify:\n{channel(sink)}")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/blocked/disk}}\n")
    (site.root / "blocked").write_text("a file")
    for name in ("a", "b", "c", "d"):
        site.plan(name, plan_text(name, f"docs: {{files: {{paths: [{site.root}/config]}}}}", targets="[disk]"))
    site.dr("backup", "--all", code=1)
    assert [mail["Subject"] for mail in sink.mails] == ["[dr] 4 problems: a, b, c and 1 more"]


def test_what_fails_first_is_told_before_a_long_run_ends(
    site: Site, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_site(site, f"limits: {{systems: 1}}\nnotify:\n{channel(sink)}")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    told = site.root / "told"
    until = f"[sh, -c, 'until [ -e {told} ]; do sleep 0.1; done']"
    wait = f"hooks: {{capture: {{before: {{run: {until}, timeout: 60s}}}}}}\n"
    site.plan("a", plan_text("a", f"docs: {{files: {{paths: [{site.root}/gone]}}}}", targets="[disk]"))
    site.plan("b", plan_text("b", f"docs: {{files: {{paths: [{site.root}/config]}}}}", targets="[disk]", more=wait))
    sink.taken = told.touch
    for name, value in site.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(run_due, "EVERY_SECONDS", 0.0)
    session = site.session()
    done = run_due.run_due(session)
    session.close()
    assert {run.record.system: run.record.outcome for run in done.backups} == {"a": "failed", "b": "ok"}
    assert str(sink.mails[0]["Subject"]).endswith("problems: a")


def test_a_removed_plan_is_not_told_as_well_again(files_site: Site, sink: SmtpSink) -> None:
    write_site(files_site, f"notify:\n{channel(sink)}")
    files_site.plan("other", plan_text("other", "docs: {files: {paths: [/etc/hostname]}}"))
    (files_site.root / "source").rename(files_site.root / "away")
    files_site.dr("backup", "share", code=1)
    (files_site.root / "config" / "plans" / "share.yaml").unlink()
    files_site.dr("backup", "other")
    assert len(sink.mails) == 1
    assert files_site.dr("notify", "list", "--json").document["notices"] == []


# -- summaries ---------------------------------------------------------------------------------------


def test_the_digest_comes_weekly_and_the_report_on_its_date(files_site: Site, sink: SmtpSink) -> None:
    write_site(
        files_site, f"notify:\n{channel(sink, 'ops', 'on: [suspect], digest: every 7 days, report: every 30 days')}"
    )
    world = World(files_site, sink)
    files_site.dr("backup", "share")
    assert sink.mails == []
    for days, expected in ((6.9, 0), (7.1, 1), (7.2, 1), (14.2, 2), (30.1, 4)):
        world.ahead = timedelta(days=days)
        world.look()
        assert len(sink.mails) == expected, days
    text = sink.mails[0].get_content()
    assert sink.mails[0]["Subject"].startswith("[dr] 1 system, ")
    assert "- share: RPO missed" in text and "the newest recovery point is too old" in text
    report = sink.mails[-1]
    (attached,) = report.iter_attachments()
    assert attached.get_filename() == "report.html" and "<html" in attached.get_content()
    assert report["Message-ID"].startswith("<report-ops-")


# -- a channel that takes nothing --------------------------------------------------------------------


def test_a_channel_that_fails_is_on_the_board_and_makes_no_backup_fail(files_site: Site, sink: SmtpSink) -> None:
    sink.refusal = "451 not today"
    write_site(files_site, f"notify:\n{channel(sink)}")
    files_site.dr("backup", "share")
    (files_site.root / "vault" / "share").rename(files_site.root / "kept")
    (files_site.root / "vault" / "share").write_text("a file")
    ran = files_site.dr("backup", "share", code=3)
    assert "took no mail (451 not today)" in ran.err
    shown = files_site.dr("status", "--json", code=None).document
    assert [(each["kind"], each["subject"]) for each in shown["site"]["findings"]] == [("channel_failed", "ops")]
    assert "this site: the channel ops takes no notices: " in files_site.dr("status", code=None).out
    (files_site.root / "vault" / "share").unlink()
    (files_site.root / "kept").rename(files_site.root / "vault" / "share")
    files_site.dr("backup", "share")
    sink.refusal = ""
    world = World(files_site, sink, ahead=timedelta(minutes=5))
    world.look()
    assert sink.mails == []  # what was never told, and is over, is nobody's business any more
    files_site.dr("notify", "test")
    assert files_site.dr("status", "--json", code=None).document["site"]["problems"] == []


def test_channels_that_come_back_at_once_are_told_of_themselves_and_not_that_the_others_fail(
    files_site: Site, sink: SmtpSink
) -> None:
    sink.refusal = "451 not today"
    closed = "  - {name: tickets, to: {command: {run: ['false']}}}\n"
    write_site(files_site, f"notify:\n{channel(sink)}{channel(sink, 'head')}{closed}")
    away = (files_site.root / "source").rename(files_site.root / "away")
    files_site.dr("backup", "share", code=1)
    away.rename(files_site.root / "source")
    files_site.dr("backup", "share")
    sink.refusal = ""
    ahead = timedelta(minutes=5)
    session = files_site.session(clock=lambda: datetime.now(UTC) + ahead)
    tell(session)
    assert [problem.where for problem in session.problems] == ["notify: tickets"]
    session.close()
    told = [mail.get_content() for mail in sink.mails]
    again = [text for text in told if "well again. It was: the channel " in text]
    assert len(again) == 2 and "channel ops" in again[0] and "channel head" in again[1], told
    assert all(text.count("takes no notices") == 1 and "the channel tickets" in text for text in told[2:]), told
    assert len(told) == 4
    shown = files_site.dr("status", "--json", code=None).document
    assert [each["subject"] for each in shown["site"]["findings"]] == ["tickets"]


def test_a_refused_recipient_is_said_and_the_others_are_not_told_twice(files_site: Site, sink: SmtpSink) -> None:
    sink.unknown = {"gone@district.example"}
    line = channel(sink).replace("[ops@district.example]", "[ops@district.example, gone@district.example]")
    write_site(files_site, f"notify:\n{line}")
    (files_site.root / "source").rename(files_site.root / "away")
    files_site.dr("backup", "share", code=1)
    files_site.dr("backup", "share", code=1)
    assert sink.recipients == [["ops@district.example"]]
    assert "refused gone@district.example" in files_site.dr("status", code=None).out


def test_trying_tells_of_each_channel(files_site: Site, sink: SmtpSink) -> None:
    assert "no channel is declared" in files_site.dr("notify", "test", code=2).err
    (files_site.root / "secret").write_text("json://127.0.0.1:9/hush\n")
    (files_site.root / "secret").chmod(0o600)
    url = f"  - {{name: chat, to: {{url: {{file: {files_site.root}/secret}}}}}}\n"
    write_site(files_site, f"notify:\n{channel(sink)}{program(files_site, 'cat >> took')}{url}")
    ran = files_site.dr("notify", "test", "--json", code=3)
    assert [(each["channel"], each["outcome"]) for each in ran.document["notices"]] == [
        ("ops", "ok"), ("tickets", "ok"), ("chat", "failed")
    ]  # fmt: skip
    assert "hush" not in ran.out + ran.err
    assert (len(sink.mails), took(files_site)[0]["notices"]) == (1, [])
    assert files_site.dr("notify", "test", "ops").out == "ops: ok\n"
    assert "there is no channel 'opps'" in files_site.dr("notify", "test", "opps", code=2).err
    assert files_site.dr("notify", "test", "chat", code=1).out == ""


def test_a_webhook_is_told_by_the_library(files_site: Site) -> None:
    heard: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        write_site(files_site, "notify:\n  - {name: chat, to: {url: {env: CHAT}}}\n")
        ran = files_site.dr("notify", "test", "-v", CHAT=f"json://127.0.0.1:{server.server_port}/hush")
        server.shutdown()
    assert [(each["title"], "Nothing is wrong" in each["message"]) for each in heard] == [("[dr] test", True)]
    assert "hush" not in ran.out + ran.err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library's own imports
@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_no_delivery(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(status if self.path == "/was-here" else 200)
            self.send_header("Location", "/is-here")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"json://127.0.0.1:{server.server_port}"
        told = SecretPlace(env="CHAT"), Message(id="1", subject="backup failed", text="sis")
        monkeypatch.setenv("CHAT", f"{address}/was-here")
        with pytest.raises(DrError, match="did not take the notice"):
            url.send(*told, where="notify: chat")
        assert heard == ["POST /was-here"]
        monkeypatch.setenv("CHAT", f"{address}/is-here")
        url.send(*told, where="notify: chat")
        server.shutdown()
    assert heard[1:] == ["POST /is-here"]


def test_without_the_library_a_chat_says_what_to_install(files_site: Site) -> None:
    (files_site.root / "none").mkdir()
    (files_site.root / "none" / "apprise.py").write_text("raise ImportError\n")
    write_site(files_site, "notify:\n  - {name: chat, to: {url: {env: CHAT}}}\n")
    argv = files_site.argv("notify", "test")
    env = {
        **files_site.env,
        "CHAT": "json://hush",
        "PYTHONPATH": f"{files_site.root}/none:{files_site.env['PYTHONPATH']}",
    }
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'dr-orchestrator[notify]'" in done.stderr and "hush" not in done.stderr


# -- mail --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_sent_with_tls_and_a_login_and_the_password_is_told_to_nobody(
    security: str, files_site: Site, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    context = authority.issue("127.0.0.1")
    with SmtpSink(tls=context, at_once=security == "tls", login=("dr", "s3cr3t-word")) as sink:
        login = "login: {user: dr, password: {env: MAIL_PASSWORD}}"
        text = channel(sink).replace("security: none", f"security: {security}, {login}, ca_file: {authority.file}")
        write_site(files_site, f"notify:\n{text}")
        files_site.dr("notify", "test", MAIL_PASSWORD="s3cr3t-word")
        assert [mail["Subject"] for mail in sink.mails] == ["[dr] test"]
        ran = files_site.dr("notify", "test", "-v", code=1, MAIL_PASSWORD="wr0ng-word")
        assert "refused the login (535 5.7.8 not you)" in ran.err and "wr0ng" not in ran.err
        write_site(files_site, f"notify:\n{text.replace(f', ca_file: {authority.file}', '')}")
        ran = files_site.dr("notify", "test", code=1, MAIL_PASSWORD="s3cr3t-word")
        assert "cannot be trusted" in ran.err and len(sink.mails) == 1


def test_mail_goes_by_the_hosts_own_sendmail_where_no_server_is_named(files_site: Site) -> None:
    fake = files_site.root / "bin" / "sendmail"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" > {files_site.root}/given\ncat > {files_site.root}/mail\n')
    fake.chmod(0o755)
    to = "{mail: {to: [ops@district.example], from: dr@district.example}}"
    write_site(files_site, f"organisation: A\nnotify: [{{name: ops, to: {to}}}]\n")
    files_site.dr("notify", "test", PATH=f"{fake.parent}:{os.environ['PATH']}")
    assert (files_site.root / "given").read_text() == "-i -f dr@district.example -- ops@district.example\n"
    assert "Subject: [dr] A: test" in (files_site.root / "mail").read_text()
    fake.write_text("#!/bin/sh\necho 'no room' >&2\nexit 75\n")
    ran = files_site.dr("notify", "test", code=1, PATH=f"{fake.parent}:{os.environ['PATH']}")
    assert "sendmail took no mail (no room)" in ran.err
