"""The check `http`: a program is started on what was restored, asked until it answers, and ended."""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dr.evidence.record import CheckResult
from dr.plan.check import Check
from dr.run.recovery.checks import http
from dr.run.recovery.checks.context import CheckContext
from dr.run.recovery.checks.run import run_check
from dr.tools import http as web
from dr.tools import process

SERVER = """
import http.server, os, sys, time
time.sleep(float(os.environ.get("LATE", "0")))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.path == "/none" else 302 if self.path == "/moved" else 200)
        if self.path == "/moved":
            self.send_header("Location", "/none")
        self.end_headers()
        open("asked", "w").close()
        self.wfile.write(("ok " + os.environ["DR_SANDBOX"] + " " + os.environ.get("AWS_SECRET_ACCESS_KEY", "-")).encode())
    def log_message(self, *about):
        print("x" * 5000, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.fixture
def ground(tmp_path: Path) -> CheckContext:
    (tmp_path / "serve.py").write_text(SERVER)
    (tmp_path / "sandbox").mkdir()
    return CheckContext(
        root=tmp_path / "sandbox",
        plan_dir=tmp_path,
        seed="d",
        now=lambda: datetime(2026, 11, 24, tzinfo=UTC),
        sources={},
    )


def ask(ground: CheckContext, path: str = "/", serve: list[str] | None = None, **more: Any) -> CheckResult:
    serve = serve or [sys.executable, str(ground.plan_dir / "serve.py"), "{port}"]
    body = {"serve": serve, "url": f"http://127.0.0.1:{{port}}{path}", "within": "60s", **more}
    (result,) = run_check(ground, Check.model_validate({"http": body}))
    assert process.at_work_in([ground.root]) == [], "what was started has been ended"
    return result


def test_a_service_that_answers_passes_and_sees_the_sandbox_but_no_secret(
    ground: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    result = ask(ground, expect={"status": 200, "body": f"matches ^ok {ground.root} -$"})
    assert result.outcome == "ok", result.observed
    assert result.expected.startswith("status 200") and result.observed.startswith("status 200 after")


def test_a_service_that_starts_late_is_waited_for(ground: CheckContext, monkeypatch: pytest.MonkeyPatch) -> None:
    late = [sys.executable, "-c", "import time; time.sleep(1.5)\n" + SERVER, "{port}"]
    assert ask(ground, serve=late).outcome == "ok"


@pytest.fixture
def answered(ground: CheckContext, monkeypatch: pytest.MonkeyPatch) -> str:
    """A time that is over a second after the first answer, however long the service takes to start."""

    def clock() -> float:
        return time.monotonic() + (599 if (ground.root / "asked").exists() else 0)

    monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=clock))
    return "600s"


@pytest.mark.parametrize(("path", "told"), [("/none", "status 404"), ("/moved", "status 302")])
def test_another_status_fails_and_is_told(ground: CheckContext, answered: str, path: str, told: str) -> None:
    result = ask(ground, path, within=answered)
    assert result.outcome == "failed" and result.observed.startswith(told)


def test_a_service_that_falls_silent_is_told_by_what_it_answered(ground: CheckContext, answered: str) -> None:
    once = SERVER.replace(
        "def do_GET(self):", "def do_GET(self):\n        time.sleep(9e9 if os.path.exists('asked') else 0)"
    )
    result = ask(ground, "/none", serve=[sys.executable, "-c", once, "{port}"], within=answered)
    assert result.outcome == "failed" and result.observed.startswith("status 404 after")
    assert "; then no answer (" in result.observed


def test_a_port_that_another_program_took_meanwhile_is_exchanged(
    ground: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:  # answers 501
        threading.Thread(target=other.serve_forever, daemon=True).start()
        given = iter([other.server_port, web.free_port()])
        monkeypatch.setattr(web, "free_port", lambda: next(given))
        result = ask(ground)
        assert result.outcome == "ok" and next(given, None) is None, result
        monkeypatch.setattr(web, "free_port", lambda: other.server_port)
        result = ask(ground)
        other.shutdown()
        assert result.outcome == "failed" and "in use" in result.observed, result


def test_another_body_fails(ground: CheckContext, answered: str) -> None:
    result = ask(ground, expect={"body": "matches ^fine"}, within=answered)
    assert result.outcome == "failed" and result.observed.startswith("status 200"), result


def test_a_program_that_ends_at_once_fails_without_waiting(ground: CheckContext) -> None:
    result = ask(ground, serve=["sh", "-c", "echo no database >&2; exit 1"], within="2h")
    assert result.outcome == "failed" and result.observed == "the program that serves has ended: no database"


def test_nobody_answering_fails_in_time(ground: CheckContext) -> None:
    result = ask(ground, serve=["sleep", "60"], within="1s")
    assert result.outcome == "failed" and "no answer" in result.observed


def test_a_program_that_is_not_there_is_said(ground: CheckContext) -> None:
    result = ask(ground, serve=["./not-there"])
    assert result.outcome == "failed" and "not on this machine" in result.observed


def test_what_serves_may_print_more_than_a_pipe_holds(ground: CheckContext) -> None:
    assert ask(ground, expect={"body": "matches never"}, within="2s").outcome == "failed"
    assert os.listdir(ground.root) == ["asked"], "what it wrote itself"
