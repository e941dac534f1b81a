"""A unit of systemd that fails by itself is told once, is over once, and what it told itself is not told again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Ran, Site, plan_text
from tests.e2e.test_notify import channel, write_site
from tests.smtp_sink import SmtpSink
from tests.waiting import LIMIT, soon

#: What systemd gives to whatever `OnFailure=` starts, of a unit that was killed for want of memory.
OOM = {"MONITOR_SERVICE_RESULT": "oom-kill", "MONITOR_EXIT_STATUS": "KILL", "MONITOR_INVOCATION_ID": "start-1"}
ENDED = {"MONITOR_SERVICE_RESULT": "exit-code", "MONITOR_EXIT_STATUS": "1", "MONITOR_INVOCATION_ID": "start-2"}


@dataclass
class Host:
    """A host under systemd with one system, and what its channel got."""

    site: Site
    sink: SmtpSink
    heard: int = field(default=0)

    def dr(self, *arguments: str, code: int | None = 0, **env: str) -> Ran:
        return Site(self.site.root, {**self.site.env, **env}, self.site.forker).dr(*arguments, code=code)

    def failed(self, env: dict[str, str], unit: str = "dr.service") -> list[str]:
        self.dr("--quiet", "notify", "failed", unit, **env)
        return self.told()

    def spoil_the_catalog(self) -> dict[Path, bytes]:
        """Let the catalog be none that can be read; return the files that it was."""
        catalog = self.site.root / "state" / "catalog.sqlite"
        kept = {path: path.read_bytes() for path in catalog.parent.glob("catalog.sqlite*")}
        for path in kept:
            path.unlink()
        catalog.write_bytes(b"no database" * 1000)
        return kept

    def told(self) -> list[str]:
        """Return the subjects of the mails that came since the last time."""
        found = [str(mail["subject"]) for mail in self.sink.mails[self.heard :]]
        self.heard = len(self.sink.mails)
        return found


@pytest.fixture
def host(files_site: Site) -> Iterator[Host]:
    with SmtpSink() as sink:
        write_site(files_site, f"notify:\n{channel(sink)}")
        source = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
        files_site.plan(
            "share", plan_text("share", source, more="cadence: {backup: every 4 hours, verify: never, drill: never}\n")
        )
        made = Host(files_site, sink)
        made.dr("run", INVOCATION_ID="start-0")
        assert made.told() == []
        yield made


def test_a_unit_that_is_killed_is_told_once_and_its_recovery_once(host: Host) -> None:
    [told] = host.failed(OOM)
    assert "the unit dr.service was killed for want of memory" in told
    assert host.failed(OOM) == [] and host.failed({**OOM, "MONITOR_INVOCATION_ID": "start-9"}) == []
    board = host.dr("status").out
    assert "this site: the unit dr.service was killed" in board and "journalctl -u dr.service" in board
    host.dr("run", INVOCATION_ID="start-3")
    [well] = host.told()
    assert "well again: the unit dr.service was killed" in well
    host.dr("run", INVOCATION_ID="start-4")
    assert host.told() == [] and "this site" not in host.dr("status").out
    assert "ended with 203" in host.failed({**ENDED, "MONITOR_EXIT_STATUS": "203"})[0], "a new one is told again"


def test_what_a_run_told_itself_is_not_told_again_and_what_it_could_not_tell_is(host: Host) -> None:
    plan = host.site.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text().replace("objectives", "objectivs"))
    host.dr("run", code=2, INVOCATION_ID="start-2")
    assert ["cannot be used" in each for each in host.told()] == [True]
    assert host.failed(ENDED) == [], "it came to its end, and told"
    [told] = host.failed({**ENDED, "MONITOR_INVOCATION_ID": "another"})
    assert "the unit dr.service ended with 1 before it could tell anybody" in told
    for unit in ("", "dr.service; rm -rf /", "x" * 300):
        assert "is not the name of a unit" in host.dr("notify", "failed", unit, code=2).err and host.told() == []
    [bare] = host.failed({}, "dr-daemon.service")
    assert "the unit dr-daemon.service failed" in bare, "an older systemd says no more"


def test_where_the_catalog_cannot_be_written_the_channels_are_told_all_the_same_once(host: Host) -> None:
    kept = host.spoil_the_catalog()
    host.dr("run", code=1, INVOCATION_ID="start-2")
    assert host.told() == [], "the run could tell nobody"
    [told] = host.failed(ENDED)
    assert "before it could tell anybody" in told
    assert host.failed(ENDED) == [] and host.failed(OOM) == []
    for path, content in kept.items():
        path.write_bytes(content)
    host.dr("run", INVOCATION_ID="start-5")
    [well] = host.told()
    assert "well again: the unit dr.service" in well
    host.dr("run", INVOCATION_ID="start-6")
    assert host.told() == []


def test_a_daemon_that_stays_and_can_write_nothing_tells_the_channels_once_and_that_it_is_over(host: Host) -> None:
    kept = host.spoil_the_catalog()
    host.dr("daemon", "--once", code=1)
    [told] = host.told()
    assert "the unit dr-daemon.service can do nothing" in told and "catalog" in told
    host.dr("daemon", "--once", code=1)
    assert host.told() == []
    for path, content in kept.items():
        path.write_bytes(content)
    host.dr("daemon", "--once")
    [well] = host.told()
    assert "well again: the unit dr-daemon.service" in well


def test_a_daemon_whose_state_takes_no_note_either_tells_all_the_same_that_it_is_over(host: Host) -> None:
    state = host.site.root / "state"
    kept = host.spoil_the_catalog()
    (state / "failed-units.json.new").mkdir()  # a name that cannot be written, also by root
    daemon = host.site.start("daemon", "--every", "1")
    assert soon(lambda: len(host.sink.mails) > host.heard)
    [told] = host.told()
    assert "the unit dr-daemon.service can do nothing" in told and not (state / "failed-units.json").exists()
    for path, content in sorted(kept.items(), reverse=True):
        whole = host.site.root / "whole"
        whole.write_bytes(content)
        whole.replace(path)
    assert soon(lambda: len(host.sink.mails) > host.heard)
    daemon.terminate()
    daemon.communicate(timeout=LIMIT)
    [well] = host.told()
    assert "well again: the unit dr-daemon.service can do nothing" in well and daemon.returncode == 0


def test_where_the_state_directory_takes_nothing_the_room_that_systemd_gives_keeps_it(
    host: Host, tmp_path: Path
) -> None:
    room = tmp_path / "run"
    room.mkdir()
    for name in ("failed-units.json.new", "told-by-itself.new"):
        (host.site.root / "state" / name).mkdir()  # a name that cannot be written, also by root
    here = {"RUNTIME_DIRECTORY": str(room)}
    host.dr("run", INVOCATION_ID="start-2", **here)
    assert host.failed({**ENDED, **here}) == [], "the mark is there"
    [told] = host.failed({**OOM, **here})
    assert "want of memory" in told and host.failed({**OOM, **here}) == []
