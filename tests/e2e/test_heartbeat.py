"""Silence is noticed: a service that speaks the protocol is pinged by each run, and no run is harmed by it."""

from __future__ import annotations

import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from dr.notify.heartbeat import slug
from tests.conftest import Site, plan_text


@dataclass(frozen=True)
class Ping:
    """What came: the check, the signal, the run, and the log."""

    check: str
    signal: str
    rid: str
    log: str


@dataclass
class Service:
    """As much of healthchecks.io as runs speak to: checks by name, made on first use where that is asked for."""

    url: str = ""
    pings: list[Ping] = field(default_factory=list)
    checks: set[str] = field(default_factory=set)
    status: int = 200
    heard: Callable[[], None] = int

    def signals(self, check: str) -> list[str]:
        return [ping.signal for ping in self.pings if ping.check == check]


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            url = urlsplit(self.path)
            asked, log = parse_qs(url.query), self.rfile.read(int(self.headers["Content-Length"])).decode()
            found = re.fullmatch(r"/k3y-of-project/([a-z0-9_-]+)(?:/(start|fail|log|\d+))?", url.path)
            if made.status != 200:
                self.answer(made.status, "no")
            elif not found or (found[1] not in made.checks and asked.get("create") != ["1"]):
                self.answer(200, "OK (not found)")
            else:
                rid = str(uuid.UUID(asked["rid"][0])) if "rid" in asked else ""
                made.pings.append(Ping(found[1], found[2] or "", rid, log))
                made.heard()
                new = found[1] not in made.checks
                made.checks.add(found[1])
                self.answer(201 if new else 200, "Created" if new else "OK")

        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}/k3y-of-project"
        yield made
        server.shutdown()


def heartbeat(site: Site, url: str) -> None:
    secret = site.root / "heartbeat"
    secret.write_text(f"{url}\n")
    secret.chmod(0o600)
    (site.root / "config" / "site.yaml").write_text(f"heartbeat: {{url: {{file: {secret}}}}}\n")


def test_each_run_pings_its_start_and_its_exit_status_under_one_id(files_site: Site, service: Service) -> None:
    heartbeat(files_site, service.url)
    files_site.dr("run")
    assert service.checks == {"dr-share-backup", "dr-share-verify", "dr-share-drill", "dr-run"}
    assert service.signals("dr-share-backup") == ["start", "0"] == service.signals("dr-share-drill")
    assert service.signals("dr-share-verify") == ["start", "0"] * 2  # each of its targets
    start, end = [ping for ping in service.pings if ping.check == "dr-share-backup"]
    assert start.rid == end.rid != "" and end.log == "backup of share: ok"
    assert service.signals("dr-run") == ["0"]
    files_site.dr("run")
    assert service.signals("dr-run") == ["0", "0"] and len(service.signals("dr-share-backup")) == 2


def test_a_run_that_fails_says_so_with_its_log(files_site: Site, service: Service) -> None:
    heartbeat(files_site, service.url)
    (files_site.root / "source").rename(files_site.root / "away")
    files_site.dr("backup", "share", code=1)
    assert service.signals("dr-share-backup") == ["start", "1"]
    assert service.pings[-1].log.startswith("backup of share: failed")


def test_the_worst_of_several_targets_is_what_counts(files_site: Site, service: Service) -> None:
    heartbeat(files_site, service.url)
    files_site.dr("backup", "share")
    (files_site.root / "disk").rename(files_site.root / "gone")
    files_site.dr("verify", "share", code=1)
    assert service.signals("dr-share-verify")[-1] == "1"


def test_a_run_that_is_killed_pings_no_end(files_site: Site, service: Service) -> None:
    heartbeat(files_site, service.url)
    files_site.plan("share", plan_text("share", "slow: {command: {run: [sleep, '600'], filename: x}}"))
    begun = threading.Event()
    service.heard = begun.set
    started = files_site.start("backup", "share")
    assert begun.wait(300)
    started.kill()
    started.wait()
    assert started.returncode == -9 and service.signals("dr-share-backup") == ["start"]


def test_what_the_service_does_not_take_is_said_and_harms_no_run(files_site: Site, service: Service) -> None:
    service.status = 500
    heartbeat(files_site, service.url)
    ran = files_site.dr("backup", "share", "--json")
    assert ran.document["runs"][0]["outcome"] == "ok"
    assert [error["what"] for error in ran.document["errors"]] == ["the heartbeat was not taken: it answered 500 no"]
    found = files_site.dr("status", "--json", code=None).document["site"]["findings"]
    assert [(each["kind"], each["severity"]) for each in found] == [("heartbeat_failed", "degraded")]
    service.status = 200
    files_site.dr("backup", "share")
    assert files_site.dr("status", "--json", code=None).document["site"]["findings"] == []
    heartbeat(files_site, service.url.replace("k3y", "0ther"))
    ran = files_site.dr("backup", "share")
    assert "it answered 200 OK (not found)" in ran.err and "0ther" not in ran.err


def test_a_service_that_never_answers_is_waited_for_five_seconds_and_told(files_site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        files_site.dr("backup", "share")
        heartbeat(files_site, f"http://127.0.0.1:{silent.getsockname()[1]}/k3y")
        ran = files_site.dr("backup", "share")
        assert "does not answer within 5 s" in ran.err and "k3y" not in ran.err


def test_a_heartbeat_whose_secret_is_gone_harms_no_run(files_site: Site) -> None:
    heartbeat(files_site, "x")
    (files_site.root / "heartbeat").unlink()
    assert "the secret file" in files_site.dr("backup", "share").err


def test_a_check_is_named_as_the_service_takes_it() -> None:
    assert slug("student_info", "drill") == "dr-student_info-drill"
    assert slug("Ä b", "c") == "dr--b-c"
