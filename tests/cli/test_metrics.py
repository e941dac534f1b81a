"""Metrics as typed: the file that is written after each run, over HTTP from the daemon, and what is said on stderr."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dr.cli.daemon import _Pace
from dr.errors import DrError
from dr.tools.systemd import Notifier
from tests.conftest import Site
from tests.waiting import LIMIT, soon


def names(text: str) -> set[str]:
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def test_the_file_that_site_yaml_names_is_written_after_each_run_whole_or_not_at_all(files_site: Site) -> None:
    site, file = files_site, files_site.root / "prom" / "dr.prom"
    file.parent.mkdir()
    (site.root / "config" / "site.yaml").write_text(f"metrics: {{textfile: {file}}}\n")
    site.dr("status")
    assert not file.exists(), "looking changes nothing"
    site.dr("backup", "share")
    text = file.read_text()
    assert {"dr_recovery_point_timestamp_seconds", "dr_runs_total"} <= names(
        text
    ) and file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in file.parent.iterdir()] == ["dr.prom"]
    file.parent.chmod(0o500)
    file.unlink() if os.geteuid() == 0 else None
    (site.root / "config" / "site.yaml").write_text(f"metrics: {{textfile: {file.parent}/none/dr.prom}}\n")
    ran = site.dr("verify", "share", "--json", code=3)
    assert "the metrics cannot be written" in ran.document["errors"][0]["what"]
    file.parent.chmod(0o700)


def test_metrics_are_printed_written_and_given_as_a_document(files_site: Site) -> None:
    site = files_site
    printed = site.dr("metrics").out
    assert names(printed) >= {"dr_build_info", "dr_problems"} and "restic_" not in printed
    out = site.root / "own.prom"
    assert site.dr("metrics", "-o", str(out), "--restic-names").out == f"wrote {out}\n"
    assert names(out.read_text()) >= {"restic_snapshots_total"}
    document = site.dr("metrics", "--json").document["metrics"]
    assert {each["name"] for each in document} >= {"dr_build_info", "dr_problems"}


class Systemd:
    """Who reads what a service tells of itself."""

    def __init__(self, address: Path) -> None:
        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while text := self._socket.recv(4096).decode():
            self.told += text.splitlines()


def _ask_and_be_gone(url: str) -> None:
    """Ask as somebody who loses patience: the connection is reset before the answer is there."""
    place = urllib.parse.urlsplit(url)
    with socket.create_connection((str(place.hostname), place.port or 0), timeout=LIMIT) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asking.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")


def test_the_daemon_serves_metrics_on_loopback_alone_and_tells_systemd_how_it_is(files_site: Site) -> None:
    site, systemd = files_site, Systemd(files_site.root / "notify")
    more = {"NOTIFY_SOCKET": str(site.root / "notify"), "WATCHDOG_USEC": "200000"}
    with site.start("daemon", "--listen", "127.0.0.1:0", "--every", "3600", **more) as daemon:
        try:
            assert daemon.stdout is not None
            url = next(line for line in iter(daemon.stdout.readline, "") if line.startswith("metrics: ")).split()[1]
            assert soon(lambda: systemd.told.count("WATCHDOG=1") > 2 or daemon.poll() is not None)
            with urllib.request.urlopen(url, timeout=LIMIT) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                assert "dr_build_info" in names(answer.read().decode())
            _ask_and_be_gone(url)
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(url.replace("/metrics", "/other"), timeout=LIMIT)
            daemon.send_signal(signal.SIGTERM)
            assert "Traceback" not in daemon.communicate(timeout=LIMIT)[1]
            assert soon(lambda: systemd.told[-1] == "STOPPING=1")
        finally:
            daemon.kill()
    assert daemon.returncode == 0 and systemd.told[0] == "READY=1" and systemd.told[1].startswith("STATUS=")
    assert set(systemd.told[2:-1]) == {"WATCHDOG=1"}


def test_a_daemon_that_does_not_go_round_is_not_called_well() -> None:
    pace = _Pace(every=1)
    assert pace.is_well()
    pace.turned -= 3600
    assert not pace.is_well(), "the wait after a look does not end"
    pace.looking = True
    assert pace.is_well(), "a drill may take hours"


def test_who_was_not_started_by_systemd_tells_nobody(tmp_path: Path) -> None:
    Notifier({}).tell("READY=1")
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog is None, "meant for another process"
    with pytest.raises(DrError, match="systemd cannot be told"):
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).tell("READY=1")


@pytest.mark.parametrize("listen", ["0.0.0.0:9", "192.0.2.1:9", "[::]:9", "127.0.0.1", "127.0.0.1:70000", "here:9"])
def test_what_others_could_reach_is_refused(files_site: Site, listen: str) -> None:
    ran = files_site.dr("daemon", "--once", "--listen", listen, code=2)
    assert "--listen" in ran.err and ("can be reached by others" in ran.err or "is not an address" in ran.err)


def test_the_probe_ends_as_plugins_do_whatever_it_meets(files_site: Site) -> None:
    site = files_site
    warned = site.dr("status", "--nagios", code=1)
    assert warned.out.startswith("DR WARNING - share: ") and " | 'share_proof_level'=0;;;0;6" in warned.out
    assert site.dr("status", "--nagios", "nothing", code=3).out.startswith("DR UNKNOWN - there is no plan for")
    site.plan("other", "system: [typo")
    assert site.dr("status", "--nagios", code=3).out.startswith("DR UNKNOWN - ")
    assert site.dr("status", "--nagios", "--json", code=3).document["nagios"]["state"] == 3


def test_lines_on_stderr_are_json_where_that_is_asked_for(files_site: Site) -> None:
    ran = files_site.dr("status", "nothing", "--log-format", "json", code=2)
    told = json.loads(ran.err)
    assert told["level"] == "error" and told["what"] == "there is no plan for the system 'nothing'" and told["hint"]
    assert told["command"] == "status" and told["time"].endswith("Z")
    assert files_site.dr("status", "nothing", "--log-format=text", code=2).err.startswith("dr: ")


def test_in_the_journal_each_line_has_its_priority(files_site: Site) -> None:
    """As systemd starts it: JOURNAL_STREAM names where stderr leads. Elsewhere, the same name means nothing."""
    site, log = files_site, files_site.root / "journal"
    with log.open("w") as stream:
        status = os.fstat(stream.fileno())
        env = {**site.env, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        subprocess.run(site.argv("status", "nothing"), env=env, stderr=stream, check=False, timeout=LIMIT)
    assert log.read_text().startswith("<3>dr: ")
    assert site.dr("status", "nothing", code=2, JOURNAL_STREAM="1:1").err.startswith("dr: ")
