"""Another host over SSH: one contract for both hosts, and all that can go wrong between two."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dr.errors import DrError, InterruptedRunError, RefusedError, UsageError
from dr.tools import command, ssh_shell, ssh_wire
from dr.tools.command import ProgramMissingError, TimeoutExpiredError
from dr.tools.host import Host, ThisHost
from dr.tools.ssh import Address, Login, SshHost
from dr.tools.ssh_keys import HostKey
from dr.tools.ssh_line import HostDownError
from scripts.servers.sshd import Sshd, make_key

ROOT = Path(__file__).parents[2]


def login(server: Sshd, **more: object) -> Login:
    base = Login(host=server.host, user=server.user, port=server.port, known_hosts=server.known_hosts, key=server.key)
    return replace(base, **more)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd") / "s") as server:
        yield server


@pytest.fixture(scope="module")
def far(sshd: Sshd) -> Iterator[SshHost]:
    host = SshHost(login(sshd, at_once=16))
    yield host
    host.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Sshd]:
    """A server that a test may break."""
    with Sshd(tmp_path / "own") as server:
        yield server


@pytest.fixture(params=["here", "over ssh"])
def host(request: pytest.FixtureRequest) -> Host:
    return ThisHost() if request.param == "here" else request.getfixturevalue("far")


def seen(mark: str) -> list[str]:
    """The command lines on this machine, which is both hosts, with the mark in them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if mark in line:
                found.append(line)
    return found


def soon(condition: Callable[[], bool], seconds: float = 6.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


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
        began = time.monotonic()
        with pytest.raises(InterruptedRunError):
            process.read()
        assert time.monotonic() - began < 2
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
        time.sleep(0.5)
        assert len(seen(f"sleep {mark}")) >= 2
        us.kill()
    assert soon(lambda: not seen(f"sleep {mark}"))


def test_a_feed_that_is_cut_short_is_never_taken_for_its_end(own: Sshd, tmp_path: Path) -> None:
    told = tmp_path / "told"
    for cut in (True, False):  # uncut is the control: then the program does see the end, and says so
        remote = SshHost(login(own))
        process = remote.start(["sh", "-c", f"cat >/dev/null; echo all > {told}"], feed=True)
        process.write(b"half of it")
        time.sleep(0.3)
        if cut:
            own.signal_sessions(signal.SIGKILL)
        else:
            process.end_input()
        assert soon(told.exists, 2.5) is not cut
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
    remote = SshHost(login(own, keepalive=0.5))
    with remote.start(["sleep", "60"]) as process:
        time.sleep(2.5)  # nothing is said for a while, and that alone is no loss
        assert not process.ended()
        own.signal_sessions(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(HostDownError, match=r"was lost.*nothing was heard of it for 1\.5 s"):
            process.read()
        assert 1 < time.monotonic() - began < 4
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


# -- who is who --------------------------------------------------------------------------------------


def refused(server: Sshd, **more: object) -> RefusedError:
    remote = SshHost(login(server, **more))
    with pytest.raises(RefusedError) as caught:
        remote.run(["true"])
    assert caught.value.exit_code == 12 and not caught.value.retryable
    return caught.value


def fingerprint(server: Sshd) -> str:
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(server.home / "host_key.pub")], capture_output=True, text=True, check=True
    )
    return shown.stdout.split()[1]


def lets_in(server: Sshd, known: Path) -> bool:
    remote = SshHost(login(server, known_hosts=known))
    try:
        return remote.run(["true"]).code == 0
    finally:
        remote.close()


def test_an_unknown_host_is_refused_with_all_it_takes_to_compare(sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text("")
    error = refused(sshd, known_hosts=known)
    for part in ("unknown", "ssh-ed25519", fingerprint(sshd), f"[{sshd.host}]:{sshd.port}"):
        assert part in f"{error}"
    line = error.hint.partition(f"add this line to {known}: ")[2]
    known.write_text(line + "\n")  # the hint is followed, and helps
    assert lets_in(sshd, known)


def test_a_changed_host_key_is_refused_as_a_possible_attack(own: Sshd) -> None:
    before = fingerprint(own)
    assert lets_in(own, own.known_hosts)
    own.change_host_key()
    error = refused(own)
    assert "CHANGED" in str(error) and before in str(error) and fingerprint(own) in str(error)
    assert "in between" in error.hint and "ssh-keygen -R" in error.hint


def test_known_hosts_is_read_as_openssh_reads_it(sshd: Sshd, tmp_path: Path) -> None:
    known, key = tmp_path / "known", sshd.known_line().split(" ", 1)[1]
    name, salt = f"[{sshd.host}]:{sshd.port}", os.urandom(20)
    digest = base64.b64encode(hmac.digest(salt, name.encode(), "sha1")).decode()
    other = tmp_path / "other"
    make_key(other)
    wrong = " ".join(Path(f"{other}.pub").read_text().split()[:2])
    good = {
        "hashed": f"|1|{base64.b64encode(salt).decode()}|{digest} {key}",
        "a list": f"elsewhere,{name} {key}",
        "a pattern": f"[127.0.0.?]:* {key}",
        "other hosts beside": f"elsewhere {wrong}\n# a comment\n\nnonsense\n{name} ssh-rsa %%%\n{name} {key}",
        "two keys": f"{name} {wrong}\n{name} {key}",
        "a revoked key of others": f"@revoked {name} {wrong}\n{name} {key}",
    }
    bad = {
        "another port": f"{sshd.host} {key}",
        "left out": f"[127.0.0.?]:*,!{name} {key}",
        "revoked": f"@revoked * {key}{name} {key}",
        "an authority": f"@cert-authority {name} {key}",
        "hashed for another": f"|1|{base64.b64encode(os.urandom(20)).decode()}|{digest} {key}",
    }
    for what, text in good.items():
        known.write_text(text)
        assert lets_in(sshd, known), what
    for what, text in bad.items():
        known.write_text(text)
        assert ("revoked" in str(refused(sshd, known_hosts=known))) == (what == "revoked"), what


def test_a_host_with_several_keys_is_asked_for_the_one_that_is_known(tmp_path: Path) -> None:
    make_key(tmp_path / "rsa", kind="rsa")
    with Sshd(tmp_path / "s", more=f"HostKey {tmp_path}/rsa") as server:
        known = tmp_path / "known"
        known.write_text(f"[{server.host}]:{server.port} " + (tmp_path / "rsa.pub").read_text())
        assert lets_in(server, known)


def test_a_missing_file_of_known_hosts_lets_nobody_in(sshd: Sshd, tmp_path: Path) -> None:
    assert "known hosts" in str(refused(sshd, known_hosts=tmp_path / "none"))


def test_the_fingerprint_is_that_of_ssh_keygen(sshd: Sshd) -> None:
    kind, blob = sshd.known_line().split()[1:3]
    assert HostKey(kind, base64.b64decode(blob)).fingerprint == fingerprint(sshd)


def test_a_key_that_the_host_does_not_accept_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    error = refused(sshd, key=tmp_path / "key")
    assert "does not let" in str(error)
    assert (tmp_path / "key.pub").read_text().split()[1] in error.hint  # what to add there


def test_keys_that_cannot_be_used_are_said_so(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    make_key(tmp_path / "locked", passphrase="not for us")
    make_key(tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "nonsense").write_text("no key")
    (tmp_path / "nonsense").chmod(0o600)
    for name, words in {
        "locked": "protected by a passphrase", "open": "open to others", "nonsense": "no private key", "none": "No such file",
    }.items():  # fmt: skip
        assert words in str(refused(sshd, key=tmp_path / name)), name
    assert "no agent runs" in str(refused(sshd, key=None))


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    sock = f"/tmp/dr-agent-{secrets.token_hex(6)}"
    with subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL) as running:
        assert soon(lambda: Path(sock).exists())
        monkeypatch.setenv("SSH_AUTH_SOCK", sock)
        yield
        running.terminate()
    Path(sock).unlink(missing_ok=True)


def test_the_agents_keys_are_used(sshd: Sshd, agent: None, tmp_path: Path) -> None:
    assert "it holds none" in str(refused(sshd, key=None))
    make_key(tmp_path / "other")
    subprocess.run(["ssh-add", "-q", str(tmp_path / "other"), str(sshd.key)], check=True)
    remote = SshHost(login(sshd, key=None))
    assert remote.run(["true"]).code == 0
    remote.close()


def test_an_encrypted_key_works_through_the_agent(own: Sshd, agent: None, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    subprocess.run(["ssh-add", "-q", str(tmp_path / "key")], check=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-N", "locked", "-f", str(tmp_path / "key")], check=True, stdout=subprocess.DEVNULL
    )
    (own.home / "authorized_keys").write_bytes((tmp_path / "key.pub").read_bytes())
    remote = SshHost(login(own, key=tmp_path / "key"))
    assert remote.run(["true"]).code == 0
    remote.close()


# -- reaching it -------------------------------------------------------------------------------------


def down(**more: object) -> DrError:
    base = Login(host="127.0.0.1", port=1, known_hosts=Path("/dev/null"), key=None, connect_timeout=1)
    with pytest.raises(HostDownError) as caught:
        SshHost(replace(base, **more)).run(["true"])
    assert caught.value.retryable and caught.value.hint
    return caught.value


def test_a_host_that_cannot_be_reached_may_be_tried_again(own: Sshd) -> None:
    assert "refused" in str(down(key=own.key)).lower()
    assert "there is no host no-such-host.invalid" in str(down(key=own.key, host="no-such-host.invalid"))


def test_a_host_that_never_answers_is_given_up(own: Sshd) -> None:
    listener = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import socket,time; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); c=s.accept(); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert listener.stdout is not None
        port = int(listener.stdout.readline())
        began = time.monotonic()
        assert "does not greet" in str(down(key=own.key, port=port))
        assert time.monotonic() - began < 4
    finally:
        listener.kill()
        listener.communicate()


def test_a_host_behind_another_is_reached_through_it(sshd: Sshd, own: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(sshd.known_line() + own.known_line())
    (own.home / "authorized_keys").write_bytes((sshd.home / "authorized_keys").read_bytes())
    jump = Address(host=sshd.host, user=sshd.user, port=sshd.port)
    remote = SshHost(login(own, known_hosts=known, key=sshd.key, jumps=(jump,)))
    assert remote.run(["sh", "-c", "echo $SSH_CONNECTION"]).stdout.split()[3] == str(own.port).encode()
    assert len(remote.run(["head", "-c", "9000000", "/dev/zero"]).stdout) == 9_000_000
    remote.close()
    known.write_text(own.known_line())  # the host on the way is no less to be known
    assert f"[{sshd.host}]:{sshd.port}" in str(refused(own, known_hosts=known, key=sshd.key, jumps=(jump,)))
    own.kill()
    known.write_text(sshd.known_line() + own.known_line())
    with pytest.raises(HostDownError, match="through the jump host"):
        remote.run(["true"])


def test_no_more_run_at_once_than_may(sshd: Sshd, tmp_path: Path) -> None:
    for limit in (2, 16):  # with room for all, more than two are seen: so the test can fail
        remote, most = SshHost(login(sshd, at_once=limit)), []
        script = f"echo x >> {tmp_path}/{limit}; wc -l < {tmp_path}/{limit}; sleep 0.4; sed -i 1d {tmp_path}/{limit}"

        def one(remote: SshHost = remote, most: list[int] = most, script: str = script) -> None:
            most.append(int(remote.run(["sh", "-c", script]).stdout))

        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(most) == 6 and (max(most) <= 2) == (limit == 2)
        remote.close()


def test_who_holds_a_program_may_start_another(sshd: Sshd) -> None:
    remote = SshHost(login(sshd, at_once=1))
    with remote.start(["sleep", "60"]):
        assert remote.run(["echo", "beside"]).stdout == b"beside\n"
    remote.close()


def test_a_server_that_opens_no_further_channel_is_said_so(tmp_path: Path) -> None:
    with Sshd(tmp_path / "s") as server:
        config = server.home / "sshd_config"
        config.write_text(re.sub("MaxSessions.*", "MaxSessions 1", config.read_text()))
        server.restart()
        remote = SshHost(login(server))
        with remote.start(["sleep", "60"]), pytest.raises(HostDownError, match="no further channel") as caught:
            remote.run(["true"])
        assert "MaxSessions" in caught.value.hint
        remote.close()


# -- files -------------------------------------------------------------------------------------------


def test_files_go_there_and_come_back(far: SshHost, tmp_path: Path) -> None:
    top, data = os.fsencode(tmp_path / "t"), os.urandom(3_000_003)
    with far.files() as session:
        session.mkdir(top)
        session.put(top + b"/part", data, 0o640)
        session.put(top + b"/\xff name", b"")
        session.rename(top + b"/part", top + b"/whole")
        session.put(top + b"/other", b"x")
        session.rename(top + b"/other", top + b"/\xff name")
        assert {name: status.size for name, status in session.listdir(top)} == {b"whole": len(data), b"\xff name": 1}
        with session.open(top + b"/whole") as file:
            assert file.status().mode & 0o777 == 0o640
            for expected in (len(data), 0, 1, len(data) * 2):  # however wrong the expectation is
                assert b"".join(file.blocks(expected)) == data
        for wrong in (session.lstat, session.listdir, session.remove, session.open):
            with pytest.raises(FileNotFoundError):
                wrong(top + b"/none")  # type: ignore[operator]
        session.remove(top + b"/whole")
        session.remove(top + b"/\xff name")
        session.rmdir(top)
    assert not (tmp_path / "t").exists()


def test_a_file_session_that_breaks_says_so_to_all_who_wait(own: Sshd) -> None:
    remote = SshHost(login(own))
    with remote.files() as session:
        with session.open(b"/dev/zero") as file:
            blocks = file.blocks(1 << 40)
            next(blocks)
            own.kill()
            with pytest.raises(DrError) as caught:
                while True:
                    next(blocks)
        assert caught.value.retryable
        with pytest.raises(DrError):
            session.lstat(b"/")
    remote.close()


def test_a_host_without_sftp_is_said_so(tmp_path: Path) -> None:
    with Sshd(tmp_path / "s") as server:
        config = server.home / "sshd_config"
        config.write_text(re.sub("Subsystem.*", "", config.read_text()))
        server.restart()
        remote = SshHost(login(server))
        with pytest.raises(DrError, match="offers no SFTP"), remote.files():
            pass
        remote.close()


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
            assert running.wait(10) == 0, shell
            assert re.fullmatch(rb"mark ready \d+\n", running.stdout.read()), shell
