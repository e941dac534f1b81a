"""What a check asks for on another host, by the programs that are there."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.errors import DrError
from dr.run.recovery.place.programs import WorksThere
from dr.tools.host import ThisHost


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response({"/none": 404, "/moved": 302}.get(self.path, 200))
        self.send_header("Location", "/none")
        self.end_headers()
        self.wfile.write(b"first\nsecond \xff line")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def works(tmp_path: Path) -> WorksThere:
    return WorksThere(ThisHost(), tmp_path / ".dr")


@pytest.fixture(params=["curl", "wget"])
def program(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The only one of the two that is there."""
    bare(tmp_path, monkeypatch, request.param)
    return str(request.param)


def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkdir", "rm", "sed", "tail", "head", *more):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))


def test_an_answer_is_its_status_and_its_body(works: WorksThere, url: str, program: str, tmp_path: Path) -> None:
    answer = works.fetch(f"{url}/", seconds=10)
    assert (answer.status, answer.text) == (200, "first\nsecond � line")
    assert works.fetch(f"{url}/none", seconds=10).status == 404
    assert works.fetch(f"{url}/moved", seconds=10).status == 302, "a redirect is an answer too"
    assert list((tmp_path / ".dr").iterdir()) == [], "nothing is left of an answer"


def test_no_answer_is_told(works: WorksThere, program: str) -> None:
    answer = works.fetch("http://127.0.0.1:1/", seconds=5)
    assert answer.status is None and "onnect" in answer.problem


def test_a_server_that_says_nothing_is_not_waited_for(works: WorksThere, program: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert works.fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=1).status is None


def test_with_neither_program_the_check_cannot_be_made(
    works: WorksThere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(tmp_path, monkeypatch)
    with pytest.raises(DrError, match="neither curl nor wget is on this host"):
        works.fetch("http://127.0.0.1:1/", seconds=1)


def test_a_port_that_is_taken_is_not_given(works: WorksThere, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("dr.run.recovery.place.programs._PORTS", range(port, port + 30))
        assert works.free_port() in range(port + 1, port + 30)


def test_a_program_beside_the_plan_is_brought_there(works: WorksThere, tmp_path: Path) -> None:
    (tmp_path / "smoke").write_text("#!/bin/sh\necho brought\n")
    there = works.program(tmp_path / "smoke")
    assert there.startswith(str(tmp_path / ".dr"))
    assert works.run([there], env={}, cwd=tmp_path, timeout=10).stdout == b"brought\n"
    with pytest.raises(DrError, match="is not beside the plan"):
        works.program(tmp_path / "none")
