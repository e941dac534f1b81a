"""Who is let in, and who is believed to be the host; and how a host is reached at all."""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dr.errors import DrError, RefusedError
from dr.tools.ssh import Address, Login, SshHost
from dr.tools.ssh_keys import HostKey
from dr.tools.ssh_line import HostDownError
from scripts.servers.sshd import Sshd, make_key
from tests.far import login
from tests.waiting import soon

ROOT = Path(__file__).parents[2]


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
        "locked": "protected by a passphrase", "open": "open to others", "nonsense": "not a private key", "none": "No such file",
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
            "import socket,time; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); c=s.accept(); time.sleep(6000)",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert listener.stdout is not None
        port = int(listener.stdout.readline())
        assert "does not greet" in str(down(key=own.key, port=port))
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
    for limit in (2, 16):  # with room for all, all meet: so the test can fail
        remote, most = SshHost(login(sshd, at_once=limit)), []
        here = tmp_path / str(limit)
        stays = "sleep 0.4" if limit == 2 else f"until [ $(ls {here} | wc -l) -ge 6 ]; do sleep 0.05; done"
        script = f"mkdir -p {here}/$$; ls {here} | wc -l; {stays}; [ {limit} -gt 2 ] || rmdir {here}/$$"

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
