"""Another host over SSH: one contract for both hosts, and all that can go wrong between two."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dr.errors import DrError, InterruptedRunError, UsageError
from dr.tools import command, ssh_shell, ssh_wire
from dr.tools.command import ProgramMissingError, TimeoutExpiredError
from dr.tools.host import Host, ThisHost
from dr.tools.isolation import Isolated
from dr.tools.ssh import SshHost
from dr.tools.ssh_line import HostDownError, Line
from scripts.servers.sshd import Sshd
from tests.far import login, seen
from tests.namespaces import refusal
from tests.waiting import LIMIT, soon

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["here", "over ssh", "isolated"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    if request.param == "isolated" and not refusal():
        with Isolated(ThisHost(), tmp_path) as inside:
            yield inside
    else:
        yield ThisHost() if request.param != "over ssh" else request.getfixturevalue("far")


def a_mark() -> str:
    """A number of seconds that no other sleep on this machine sleeps."""
    return str(secrets.randbelow(10**9) + 10**9)


# -- the contract ------------------------------------------------------------------------------------


def test_what_a_program_writes_comes_byte_for_byte(host: Host, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000 + b"\r\n\0\xff"
    (tmp_path / "f").write_bytes(data)
    done = host.run(["cat", str(tmp_path / "f")])
    assert (done.code, done.stdout, done.stderr) == (0, data, b"")


@pytest.mark.parametrize("code", [0, 1, 3, 127, 255])
def test_the_exit_code_is_the_programs(host: Host, code: int) -> None:
    assert host.run(["sh", "-c", f"exit {code}"]).code == code


def test_a_program_that_a_signal_ended_has_not_ended_well(host: Host) -> None:
    assert host.run(["sh", "-c", "kill -KILL $$"]).code in (-9, 137)


def test_stderr_is_kept_apart(host: Host) -> None:
    done = host.run(["sh", "-c", "echo out; echo why >&2; exit 4"])
    assert (done.code, done.stdout, done.stderr, done.last_words) == (4, b"out\n", b"why\n", "why")


def test_arguments_come_as_they_are(host: Host) -> None:
    words = ["", " a  b ", "it's", '"', "$HOME `id`", "a\nb", "\\n", "*", "ü", "-n", "!x", "\udcff"]
    done = host.run(["printf", "[%s]", *words])
    assert done.stdout == b"".join(b"[" + os.fsencode(word) + b"]" for word in words)


def test_the_environment_comes_as_it_is(host: Host) -> None:
    every = "".join(chr(i) for i in range(1, 256) if chr(i) != "\n")
    env = {"PLAIN": "x", "EMPTY": "", "ODD": " a\\b'\"$HOME `id` = ", "EVERY": every, "RAW": "\udcff\udc81\udc88"}
    done = host.run(
        [sys.executable, "-c", "import os; print(ascii([os.environ[x] for x in " + str(list(env)) + "]))"], env=env
    )
    assert done.stdout.decode().strip() == ascii(list(env.values()))


def test_secrets_in_the_environment_are_on_no_command_line(host: Host) -> None:
    secret, shown = f"secret-{secrets.token_hex(8)}", a_mark()
    with host.start(["sleep", shown], env={"TOKEN": secret}) as process:
        assert soon(lambda: bool(seen(shown)))
        assert not seen(secret)
        process.kill()


def test_a_program_runs_in_the_directory_asked_for(host: Host, tmp_path: Path) -> None:
    place = tmp_path / "a dir\nit's"
    place.mkdir()
    assert host.run(["pwd", "-P"], cwd=str(place)).stdout.decode() == f"{place}\n"


def test_what_is_fed_comes_whole_and_ends(host: Host) -> None:
    data = os.urandom(3_000_001)
    assert host.run(["cat"], stdin=data).stdout == data
    assert host.run(["wc", "-c"], stdin=b"").stdout.strip() == b"0"
    with host.start(["sha256sum"], feed=True) as process:
        for block in (b"a", b"", b"end\n", data):
            process.write(block)
        process.end_input()
        process.end_input()
        assert process.read()[:64].decode() == hashlib.sha256(b"aend\n" + data).hexdigest()
        assert process.finish().code == 0


def test_nothing_comes_amid_what_is_fed_however_busy_the_host(far: SshHost) -> None:
    with subprocess.Popen(["sh", "-c", "for n in 1 2 3 4 5 6; do (while :; do :; done) & done; wait"]) as busy:
        try:
            with ThreadPoolExecutor(4) as pool:
                fed = [f"{number} fed\n".encode() * 50 for number in range(24)]
                back = list(pool.map(lambda data: far.run(["cat"], stdin=data).stdout, fed))
        finally:
            subprocess.run(["pkill", "-P", str(busy.pid)], check=False)
            busy.kill()
    assert back == fed


def test_without_feed_there_is_no_input(host: Host) -> None:
    assert host.run(["cat"]).stdout == b""


def test_a_program_that_reads_no_more_breaks_the_pipe(host: Host) -> None:
    with host.start(["true"], feed=True) as process:
        with pytest.raises(OSError):
            for _ in range(1000):
                process.write(bytes(1 << 20))


def test_a_program_that_takes_too_long_is_ended_with_its_children(host: Host) -> None:
    mark = a_mark()
    with pytest.raises(TimeoutExpiredError, match="did not end within 1 s"):
        host.run(["sh", "-c", f"sleep {mark} & sleep {mark}"], timeout=1)
    assert soon(lambda: not seen(mark))


def test_a_time_out_while_the_shell_there_starts_is_not_called_a_lost_connection(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", more=f"ForceCommand sleep {(mark := a_mark())}") as server:
        slow = SshHost(login(server))
        with pytest.raises(TimeoutExpiredError, match="did not end within 1 s"):
            slow.run(["true"], timeout=1)
        slow.close()
        subprocess.run(["pkill", "-f", f"sleep {mark}"], check=True)


@pytest.mark.parametrize("feed", [False, True])
def test_kill_ends_a_program_and_its_children(host: Host, feed: bool) -> None:
    mark = a_mark()
    with host.start(["sh", "-c", f"sleep {mark} & sleep {mark}"], feed=feed) as process:
        assert soon(lambda: len(seen(mark)) >= 2)
        assert not process.ended()
        process.kill()
        process.kill()
        assert process.finish().code == -9
        assert process.ended()
    assert soon(lambda: not seen(mark))


def test_a_program_that_is_left_is_ended(host: Host) -> None:
    mark = a_mark()
    with host.start(["sleep", mark]):
        assert soon(lambda: bool(seen(mark)))
    assert soon(lambda: not seen(mark))


def test_much_on_both_streams_does_not_get_stuck(host: Host) -> None:
    done = host.run(["sh", "-c", "yes | head -c 20000000 >&2; head -c 20000000 /dev/zero; echo last >&2"])
    assert (done.code, len(done.stdout), done.last_words) == (0, 20_000_000, "last")
    assert len(done.stderr) == 1 << 20


def test_a_missing_program_is_said_at_once(host: Host) -> None:
    with pytest.raises(ProgramMissingError, match="'no-such-program' is not on"):
        host.start(["no-such-program"])


def test_nothing_starts_after_a_stop_unless_it_must(host: Host) -> None:
    command.interrupt_all()
    with pytest.raises(InterruptedRunError):
        host.run(["true"])
    assert host.run(["echo", "put right"], regardless=True).stdout == b"put right\n"  # type: ignore[call-arg]


# -- over SSH ----------------------------------------------------------------------------------------


def test_a_read_does_not_outlast_a_stop(far: SshHost) -> None:
    mark = a_mark()
    with far.start(["sleep", mark]) as process:
        assert soon(lambda: bool(seen(mark)))
        threading.Timer(0.3, command.interrupt_all).start()
        with pytest.raises(InterruptedRunError):
            process.read()
    assert soon(lambda: not seen(mark))


def test_a_stop_ends_a_program_that_nobody_reads(far: SshHost) -> None:
    mark = a_mark()
    with far.start(["sleep", mark]) as process:
        assert soon(lambda: bool(seen(mark)))
        command.interrupt_all()
        assert soon(lambda: not seen(mark))
        with pytest.raises(InterruptedRunError):
            process.finish()


@pytest.mark.parametrize("env", [{"A": "x\ny-secret"}, {"A": "\0y-secret"}, {"A B": "y-secret"}, {"A;id": "y-secret"}])
def test_an_environment_that_cannot_be_sent_is_refused_without_being_told(far: SshHost, env: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        far.run(["true"], env=env)
    assert "y-secret" not in f"{caught.value}{caught.value.hint}"


def test_a_missing_directory_is_said(far: SshHost) -> None:
    with pytest.raises(DrError, match="has no directory /no/such"):
        far.start(["true"], cwd="/no/such")


def test_a_program_stuck_in_not_reading_is_ended_all_the_same(far: SshHost) -> None:
    mark = a_mark()
    with far.start(["sleep", mark], feed=True) as process:
        threading.Timer(0.5, process.kill).start()
        with pytest.raises(BrokenPipeError):
            process.write(bytes(60 << 20))
        assert process.finish().code == -9
    assert soon(lambda: not seen(mark))


def test_what_start_up_files_print_is_not_taken_for_output(tmp_path: Path) -> None:
    noise = 'ForceCommand echo Welcome; echo to the host >&2; printf "last\\n"; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
    with Sshd(tmp_path / "s", more=noise) as noisy:
        remote = SshHost(login(noisy))
        assert remote.run(["echo", "data"]).stdout == b"data\n"
        remote.close()


def test_a_host_that_runs_no_commands_is_said_so(tmp_path: Path) -> None:
    with Sshd(tmp_path / "s", more="ForceCommand echo this account is closed; exit 1") as closed:
        remote = SshHost(login(closed))
        with pytest.raises(DrError, match=r"does not run commands.*this account is closed"):
            remote.run(["true"])
        remote.close()


def test_that_is_said_too_when_it_has_ended_before_anything_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = Line.write

    def late(self: Line, data: bytes | memoryview) -> None:
        assert soon(lambda: self.channel.closed)
        at_once(self, data)

    with Sshd(tmp_path / "s", more="ForceCommand echo this account is closed; exit 1") as closed:
        remote = SshHost(login(closed))
        monkeypatch.setattr(Line, "write", late)
        with pytest.raises(DrError, match=r"does not run commands.*this account is closed"):
            remote.run(["true"])
        remote.close()


def test_a_forced_command_that_is_no_group_of_its_own_is_given_one(tmp_path: Path) -> None:
    mark = a_mark()
    with Sshd(tmp_path / "s", more='ForceCommand /bin/sh -c "$SSH_ORIGINAL_COMMAND"; true') as forced:
        remote = SshHost(login(forced))
        with remote.start(["sh", "-c", f"sleep {mark} & sleep {mark}"]) as process:
            assert soon(lambda: len(seen(mark)) >= 2)
            process.kill()
            process.finish()
        assert soon(lambda: not seen(mark))
        assert remote.run(["echo", "still there"]).stdout == b"still there\n"
        remote.close()


CHILD = """
import sys, time
from pathlib import Path
from dr.tools.ssh import Login, SshHost
host, user, port, known, key, mark, feed = sys.argv[1:]
remote = SshHost(Login(host=host, user=user, port=int(port), known_hosts=Path(known), key=Path(key)))
process = remote.start(["sh", "-c", f"sleep {mark} & sleep {mark}; touch {known}.end"], feed=feed == "feed")
print("started", flush=True)
if feed == "feed":
    process.write(bytes(60 << 20))
time.sleep(600)
"""


@pytest.mark.parametrize("feed", ["feed", "none"])
def test_kill_9_of_this_program_leaves_nothing_running_there(sshd: Sshd, feed: str) -> None:
    mark = a_mark()
    argv = [sys.executable, "-c", CHILD, sshd.host, sshd.user, str(sshd.port), str(sshd.known_hosts), str(sshd.key)]
    with subprocess.Popen(
        [*argv, mark, feed], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as us:
        assert us.stdout is not None and us.stdout.readline() == b"started\n"
        assert soon(lambda: len(seen(f"sleep {mark}")) >= 2)
        us.kill()
    assert soon(lambda: not seen(f"sleep {mark}"))


def test_a_feed_that_is_cut_short_is_never_taken_for_its_end(own: Sshd, tmp_path: Path) -> None:
    for cut in (True, False):  # uncut is the control: then the program does see the end, and says so
        had, told = tmp_path / f"had-{cut}", tmp_path / f"told-{cut}"
        remote = SshHost(login(own))
        process = remote.start(["sh", "-c", f"cat >{had}; echo all > {told}"], feed=True)
        process.write(b"half of it")
        assert soon(lambda had=had: had.exists() and had.read_bytes() == b"half of it")
        assert seen(str(told)), "it waits for more"
        if cut:
            own.signal_sessions(signal.SIGKILL)
        else:
            process.end_input()
        assert soon(lambda told=told: not seen(str(told))), "it has come to its end, one way or the other"
        assert told.exists() is not cut
        remote.close()


def test_a_connection_lost_in_mid_stream_is_no_end(own: Sshd) -> None:
    remote = SshHost(login(own))
    with remote.start(["sh", "-c", "while :; do head -c 100000 /dev/zero; sleep 0.05; done"]) as process:
        assert process.read()
        assert own.signal_sessions(signal.SIGKILL)
        with pytest.raises(HostDownError, match=r"the connection to .* was lost") as caught:
            while process.read():
                pass
        assert caught.value.retryable
        with pytest.raises(HostDownError):
            process.finish()
    own.restart()
    assert remote.run(["echo", "again"]).stdout == b"again\n"
    remote.close()


def test_a_session_ended_from_outside_has_no_exit_code(own: Sshd) -> None:
    remote = SshHost(login(own))
    with remote.start(["sh", "-c", "echo $PPID; exec sleep 60"]) as process:
        right = int(process.read())
        group = os.getpgid(right)
        os.killpg(group, signal.SIGKILL)
        with pytest.raises(HostDownError, match="without saying how it went"):
            process.finish()
    remote.close()


def test_a_peer_that_says_nothing_any_more_is_noticed(own: Sshd) -> None:
    remote = SshHost(login(own, keepalive=1.0))
    with remote.start(["sleep", "6000"]) as process:
        time.sleep(4)  # nothing is said for a while, and that alone is no loss
        assert not process.ended()
        own.signal_sessions(signal.SIGSTOP)
        with pytest.raises(HostDownError, match=r"was lost.*nothing was heard of it for 3 s"):
            process.read()
        own.signal_sessions(signal.SIGKILL)
    remote.close()


def test_the_keys_of_a_connection_can_be_changed_in_mid_stream(own: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sshd(own.home / "rekeys", more="RekeyLimit 3M") as theirs:
        for server, ours in ((theirs, 1 << 35), (own, 2_000_000)):
            monkeypatch.setattr(ssh_wire.Wire, "REKEY_BYTES", ours)
            remote = SshHost(login(server))
            done = remote.run(["sh", "-c", "head -c 30000000 /dev/zero | tr '\\0' x"])
            assert done.stdout == b"x" * 30_000_000
            remote.close()


@pytest.mark.parametrize("ciphers", ["aes128-gcm@openssh.com", "aes128-ctr"])
def test_what_ends_while_the_keys_are_changed_ends_as_ever(
    own: Sshd, monkeypatch: pytest.MonkeyPatch, ciphers: str
) -> None:
    with Sshd(own.home / "other", more=f"Ciphers {ciphers}") as server:
        remote = SshHost(login(server))
        remote.run(["true"])
        monkeypatch.setattr(ssh_wire.Wire, "REKEY_BYTES", 1)  # then nearly every packet asks for other keys
        for _ in range(5):
            done = remote.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
            assert (done.code, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
        remote.close()


def test_a_server_without_the_fast_cipher_serves_as_well(tmp_path: Path) -> None:
    with Sshd(tmp_path / "s", more="Ciphers aes256-ctr\nRekeyLimit 3M") as plain:
        remote = SshHost(login(plain))
        data = os.urandom(10_000_000)
        assert remote.run(["cat"], stdin=data).stdout == data
        remote.close()


def test_a_server_with_no_cipher_of_ours_is_said_so(tmp_path: Path) -> None:
    with Sshd(tmp_path / "s", more="Ciphers chacha20-poly1305@openssh.com") as other:
        with pytest.raises(DrError, match="no cipher or key type in common") as caught:
            SshHost(login(other)).run(["true"])
        assert not caught.value.retryable


def test_the_command_line_is_one_that_login_shells_take() -> None:
    line = ssh_shell.remote_command("mark", ["true"], None, feed=True)
    assert "\n" not in line and "!" not in line and len(line) < 4000
    for shell in ("sh", "dash", "bash"):
        with subprocess.Popen(
            [shell, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as running:
            assert running.stdin and running.stdout
            running.stdin.write(b"\nend\n")
            running.stdin.flush()
            assert running.wait(timeout=LIMIT) == 0, shell
            assert re.fullmatch(rb"mark ready \d+\n", running.stdout.read()), shell
