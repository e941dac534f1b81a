from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.tools import command
from dr.tools.host import ThisHost
from dr.tools.isolation import Isolated, NotIsolatedError
from dr.tools.ssh import SshHost
from tests.namespaces import needs_namespaces, refusal
from tests.waiting import soon

ROOT = Path(__file__).parents[2]
#: Holds a sandbox as a drill does, with a program in it, until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from dr.tools.host import ThisHost
from dr.tools.isolation import Isolated
inside = Isolated(ThisHost(), Path(sys.argv[1]))
running = inside.start(["sh", "-c", "echo $$; exec sleep 600"])
print(inside.within(None)[2], running.read().decode().strip(), flush=True)
time.sleep(600)
"""
#: What an ordinary user sees inside: the network devices, who they are, and whether a listener outside answers.
AS_USER = """
import os, sys
from pathlib import Path
from dr.tools.host import ThisHost
from dr.tools.isolation import Isolated
ThisHost().start(["true"]).finish()  # what is loaded late is there then
os.setgroups([]); os.setgid(65534); os.setuid(65534)  # the project and Python may lie where that user may not read
with Isolated(ThisHost(), Path("/tmp")) as inside:
    print(inside.run(["sh", "-c", "grep -c : /proc/net/dev; id -u; pwd"], cwd="/tmp").stdout.decode().split())
    print(inside.run([sys.argv[1], *sys.argv[2:]], cwd="/tmp").code)
"""


def alive(number: int) -> bool:
    """Whether a process runs, and is not merely waiting to be buried."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def knock(port: int) -> list[str]:
    """A program that ends with 0 when somebody listens there."""
    return ["/usr/bin/python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 20)"]


@pytest.fixture
def port() -> Iterator[int]:
    """Somebody who listens on this host."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Isolated | None]:
    if refusal():
        yield None
        return
    with Isolated(ThisHost(), tmp_path) as host:
        yield host


@needs_namespaces
def test_inside_there_is_a_loopback_and_nothing_else(inside: Isolated, tmp_path: Path) -> None:
    seen = inside.run(["sh", "-c", "cat /proc/net/dev; pwd"], cwd=str(tmp_path)).stdout.decode()
    assert [line.split(":")[0].strip() for line in seen.splitlines() if ":" in line] == ["lo"]
    assert seen.splitlines()[-1] == str(tmp_path)
    both = "import socket as s; a = s.create_server(('127.0.0.1', 0)); s.create_connection(a.getsockname())"
    assert inside.run(["/usr/bin/python3", "-c", both]).code == 0, "the loopback is up"


@needs_namespaces
def test_a_port_of_this_host_is_not_reached_from_inside_and_is_from_outside(inside: Isolated, port: int) -> None:
    assert ThisHost().run(knock(port)).code == 0
    refused = inside.run(knock(port))
    assert refused.code != 0 and b"refused" in refused.stderr


@needs_namespaces
def test_sockets_made_inside_are_reached_from_outside_and_those_that_were_there_are_not_from_inside(
    tmp_path: Path,
) -> None:
    there, made = tmp_path / "there", tmp_path / "made"
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(there))
        listener.listen()
        with Isolated(ThisHost(), tmp_path) as inside:
            assert inside.run([sys.executable, "-c", connect, str(there)]).code != 0
            assert ThisHost().run([sys.executable, "-c", connect, str(there)]).code == 0
            listen = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({str(made)!r}); s.listen(); s.accept()"
            with inside.start([sys.executable, "-c", listen]) as listening:
                assert soon(made.exists)
                assert soon(lambda: ThisHost().run([sys.executable, "-c", connect, str(made)]).code == 0)
                assert listening.finish().code == 0


@needs_namespaces
def test_an_exit_code_output_and_input_come_through_and_a_missing_program_is_said(
    inside: Isolated, tmp_path: Path
) -> None:
    done = inside.run(["sh", "-c", "cat; echo bad >&2; exit 7"], stdin=b"fed", env={"X": "1"}, cwd=str(tmp_path))
    assert (done.code, done.stdout, done.stderr) == (7, b"fed", b"bad\n")
    with pytest.raises(command.ProgramMissingError):
        inside.run(["no-such-program"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_user_has_such_a_place_too_and_stays_who_they_are(port: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", AS_USER, *knock(port)]
    done = subprocess.run(argv, env=env, cwd="/tmp", capture_output=True, text=True, check=False)
    plain = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "unshare", "--user", "--net", "true"]
    if subprocess.run(plain, cwd="/", capture_output=True, check=False).returncode:
        assert "NotIsolatedError" in done.stderr
    else:
        assert done.stdout.splitlines() == ["['1', '65534', '/tmp']", "1"], done.stderr


@needs_namespaces
def test_killed_by_force_it_leaves_nothing_running(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as holding:
        assert holding.stdout
        numbers = [int(word) for word in holding.stdout.readline().split()]
        assert len(numbers) == 2 and all(map(alive, numbers))
        holding.send_signal(signal.SIGKILL)
    assert soon(lambda: not any(map(alive, numbers)))


def test_a_kernel_that_refuses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2; exit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(NotIsolatedError, match="unshare failed: Operation not permitted"):
        Isolated(ThisHost(), tmp_path)


@needs_namespaces
def test_on_another_host_programs_are_isolated_by_what_is_there(far: SshHost, tmp_path: Path, port: int) -> None:
    with Isolated(far, tmp_path) as inside:
        assert far.run(knock(port)).code == 0
        assert inside.run(knock(port), cwd=str(tmp_path)).code != 0
        assert (
            inside.run(["sh", "-c", "pwd; cat"], cwd=str(tmp_path), stdin=b"fed").stdout == f"{tmp_path}\nfed".encode()
        )
