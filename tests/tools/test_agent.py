"""restic on another host: never another program than ours, no secret where it does not belong, no half snapshots."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from dr.errors import DrError, RefusedError, TargetDownError
from dr.tools import agent as module
from dr.tools import retry
from dr.tools.agent import PLACE, Agent
from dr.tools.command import TimeoutExpiredError
from dr.tools.restic import Repository
from dr.tools.ssh import SshHost
from dr.tools.ssh_line import HostDownError
from tests.far import Far, command_lines, reached
from tests.waiting import soon

TAGS = {"run": "r", "source": "s"}
PASSPHRASE, KEY = "correct-horse-battery-19", "s3-key-that-nobody-sees-7"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with Far(tmp_path_factory.mktemp("far")) as server:
        yield server


@pytest.fixture(scope="module")
def host(far: Far) -> Iterator[SshHost]:
    with reached(far) as host:
        yield host


@pytest.fixture(autouse=True)
def _plain(far: Far) -> Iterator[None]:
    yield
    far.plain()


@pytest.fixture
def agent(host: SshHost, restic_program: str) -> Agent:
    return Agent(host, restic_program)


@pytest.fixture
def repository(tmp_path: Path, restic_program: str) -> Repository:
    """A repository in a directory: the other host is this machine, so it reaches that."""
    secret = tmp_path / "passphrase"
    secret.write_text(f"{PASSPHRASE}\n")
    made = Repository(
        program=restic_program, location=str(tmp_path / "repo"), where="sis on offsite", host="sis",
        env={"RESTIC_PASSWORD_FILE": str(secret), "AWS_SECRET_ACCESS_KEY": KEY}, cache=tmp_path / "cache",
    )  # fmt: skip
    made.init()
    return made


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- the program -------------------------------------------------------------------------------------


def test_restic_is_placed_once_for_its_owner_alone(agent: Agent, far: Far, restic_program: str) -> None:
    placed = agent.placed()
    there = Path(placed.program)
    assert there.is_relative_to(far.user_home / PLACE)
    assert sha256(there) == sha256(Path(restic_program))
    assert stat.S_IMODE(there.stat().st_mode) == 0o700
    assert stat.S_IMODE(there.parent.stat().st_mode) == 0o700
    before = there.stat()
    assert agent.placed().program == placed.program
    assert (there.stat().st_ino, there.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [path.name for path in there.parent.iterdir() if ".new-" in path.name] == []


def test_a_tampered_restic_is_replaced_and_never_run(agent: Agent, repository: Repository, tmp_path: Path) -> None:
    there, ran = Path(agent.placed().program), tmp_path / "it ran"
    there.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    agent.backup_command(repository, ["echo", "hello"], filename="f", tags=TAGS)
    assert not ran.exists()
    there.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    subprocess.run([there], check=True)
    assert ran.exists()  # the control: it would have been seen


def test_what_does_not_come_whole_is_never_called_restic(agent: Agent, far: Far) -> None:
    for path in (far.user_home / PLACE).glob("restic-*"):
        path.unlink()
    far.program("sha256sum", "echo 0000  -")
    with pytest.raises(DrError, match="another one") as caught:
        agent.placed()
    assert caught.value.hint
    assert list((far.user_home / PLACE).glob("restic-*")) == []


def test_another_kind_of_machine_is_refused_in_plain_words(agent: Agent, far: Far) -> None:
    far.program("uname", 'case "$1" in -m) echo riscv64;; *) exec /usr/bin/uname "$@";; esac')
    with pytest.raises(DrError, match="riscv64") as caught:
        agent.placed()
    assert platform.machine() in str(caught.value)
    assert "install restic 0.18.0" in caught.value.hint


@pytest.mark.parametrize(("version", "taken"), [("0.18.0", True), ("0.20.1", True), ("0.17.3", False)])
def test_another_kind_of_machine_uses_its_own_restic_when_new_enough(
    agent: Agent, far: Far, version: str, taken: bool
) -> None:
    far.program("uname", 'case "$1" in -m) echo riscv64;; *) exec /usr/bin/uname "$@";; esac')
    far.program("restic", f"echo restic {version} compiled with go on linux/riscv64")
    if taken:
        assert agent.placed().program == "restic"
        return
    with pytest.raises(DrError, match=version):
        agent.placed()


# -- secrets -----------------------------------------------------------------------------------------


def test_no_secret_is_on_a_command_line_or_in_a_file_there_or_known_to_the_command(
    agent: Agent, repository: Repository, far: Far
) -> None:
    seen: list[str] = []
    go = far.user_home / "go"
    waiting = ["sh", "-c", f"env; touch '{go}'; while test -e '{go}'; do sleep 0.1; done"]

    def watch() -> None:
        while not go.exists():
            time.sleep(0.02)
        seen.append(command_lines())
        seen.append("".join(text for text in map(environment, pids()) if repository.location in text))
        go.unlink()

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = agent.backup_command(repository, waiting, filename="f", tags=TAGS)
    watcher.join()
    assert "--stdin-from-command" in seen[0]  # the control: it was looked at while it ran
    assert PASSPHRASE in seen[1]  # and restic had the secret
    for secret in (PASSPHRASE, KEY):
        assert secret not in seen[0]
        assert not any(secret.encode() in path.read_bytes() for path in far.user_home.rglob("*") if path.is_file())
    stored = repository.dump(done.stored.snapshot_id, "/f").decode()
    assert PASSPHRASE not in stored and KEY not in stored and "RESTIC_" not in stored
    assert "LEFT_ALONE=yes" in stored  # its own environment it has


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def test_no_path_of_this_machine_is_told_to_that_host(repository: Repository) -> None:
    env = module._secrets_of(repository, "/home/there")
    assert env["RESTIC_PASSWORD"] == PASSPHRASE and env["RESTIC_PASSWORD_FILE"] == ""
    assert env["RESTIC_CACHE_DIR"].startswith("/home/there/")
    assert not any(str(repository.cache) in value for value in env.values())


def test_a_passphrase_file_that_cannot_be_read_is_told_without_its_words(repository: Repository) -> None:
    Path(repository.env["RESTIC_PASSWORD_FILE"]).write_bytes(b"\xff\xfe" + PASSPHRASE.encode())
    with pytest.raises(RefusedError) as caught:
        module._secrets_of(repository, "/home/there")
    assert PASSPHRASE not in repr(caught.value)


# -- commands ----------------------------------------------------------------------------------------


def test_a_command_is_hashed_and_counted_beside_restic(agent: Agent, repository: Repository) -> None:
    argv = ["sh", "-c", "head -c 3000000 /dev/urandom | tee \"$HOME/copy\"; echo 'a word' >&2"]
    done = agent.backup_command(repository, argv, filename="out.bin", tags=TAGS)
    data = repository.dump(done.stored.snapshot_id, "/out.bin")
    assert (done.sha256, done.bytes) == (hashlib.sha256(data).hexdigest(), 3_000_000)
    (snapshot,) = repository.snapshots()
    assert (snapshot.hostname, snapshot.tags["source"], snapshot.paths) == ("sis", "s", ("/out.bin",))


@pytest.mark.parametrize(
    ("script", "words", "cause"),
    [
        ("echo half; echo 'the server went away' >&2; exit 7", "exit code 7", "the server went away"),
        ("echo half; kill -KILL $$", "exit code 137", ""),
        ("true", "wrote nothing", ""),
        ("exec no-such-program", "exit code 127", "not found"),
        ("head -c 2000000 /dev/zero; exit 1", "exit code 1", ""),
    ],
)
def test_a_command_that_fails_leaves_no_snapshot(
    agent: Agent, repository: Repository, script: str, words: str, cause: str
) -> None:
    with pytest.raises(DrError, match=words) as caught:
        agent.backup_command(repository, ["sh", "-c", script], filename="f", tags=TAGS)
    assert cause in caught.value.cause and not caught.value.retryable
    assert repository.snapshots() == []


def test_a_command_that_takes_too_long_is_ended_and_leaves_no_snapshot(agent: Agent, repository: Repository) -> None:
    with pytest.raises(TimeoutExpiredError, match="the command did not end within 2 s"):
        agent.backup_command(repository, ["sh", "-c", "echo half; sleep 987654"], filename="f", tags=TAGS, timeout=2)
    assert repository.snapshots() == []
    assert "sleep 987654" not in command_lines()


# -- targets and connections -------------------------------------------------------------------------


def test_a_wrong_passphrase_is_refused_there_as_here(agent: Agent, repository: Repository) -> None:
    Path(repository.env["RESTIC_PASSWORD_FILE"]).write_text("another one")
    with pytest.raises(RefusedError, match="passphrase") as caught:
        agent.backup_tree(repository, ["/etc/hostname"], tags=TAGS)
    assert f"from {agent.host.name}" in caught.value.where


def test_a_target_that_the_host_does_not_reach_is_told_soon(
    agent: Agent, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REACH_SECONDS", 2.0)
    keys = {**repository.env, "AWS_ACCESS_KEY_ID": "somebody"}
    away = replace(repository, location="s3:http://127.0.0.1:9/nothing-here/sis", env=keys)
    with pytest.raises(TargetDownError, match="does not answer that host"):
        agent.backup_tree(away, ["/etc/hostname"], tags=TAGS)


_TRYING = """#!/bin/sh
case " $* " in *" {verb} "*) echo 'Save(<data/1>) returned error, retrying after 1s: {why}' >&2; exec sleep 900;; esac
exec {restic} "$@"
"""
UNTRUSTED = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
RESET = "read: connection reset by peer"


@pytest.mark.parametrize(
    ("verb", "why", "said"),
    [("unlock", UNTRUSTED, "not trusted"), ("backup", UNTRUSTED, "not trusted"), ("backup", RESET, "does not answer")],
)
def test_the_one_budget_holds_for_restic_there(
    host: SshHost,
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    why: str,
    said: str,
) -> None:
    trying = tmp_path / "restic"
    trying.write_text(_TRYING.format(verb=verb, why=why, restic=repository.program))
    trying.chmod(0o755)
    # What another try may help is given up when the budget is spent, as here.
    monkeypatch.setattr(retry.Patience, "is_spent", lambda self, doing, wait: True)
    with pytest.raises(TargetDownError, match=said) as caught:
        Agent(host, str(trying)).backup_tree(repository, ["/etc/hostname"], tags=TAGS)
    assert why in (caught.value.cause or "") and not caught.value.retryable
    assert repository.snapshots() == []
    Agent(host, repository.program).backup_tree(repository, ["/etc/hostname"], tags=TAGS)
    assert len(repository.snapshots()) == 1, "the control"


def test_a_lost_connection_leaves_no_snapshot_and_the_next_use_no_lock(
    tmp_path: Path, repository: Repository, restic_program: str, adopting: None
) -> None:
    with Far(tmp_path / "far") as far, reached(far) as host:
        agent, begun = Agent(host, restic_program), tmp_path / "begun"
        argv = ["sh", "-c", f"while echo more; do touch '{begun}'; sleep 0.1; done"]

        def cut() -> None:
            while not begun.exists():
                time.sleep(0.02)
            time.sleep(0.5)
            far.signal_sessions(signal.SIGKILL)

        cutter = threading.Thread(target=cut)
        cutter.start()
        with pytest.raises(HostDownError) as caught:
            agent.backup_command(repository, argv, filename="f", tags=TAGS)
        cutter.join()
        assert caught.value.retryable
        assert gone(repository.location), "restic went on there"
        assert repository.snapshots() == []
        (lock,) = Path(repository.location, "locks").iterdir()  # the control: it was killed amid its work
        reap(repository, lock.name)
        agent.backup_command(repository, ["echo", "whole"], filename="f", tags=TAGS)
    assert len(repository.snapshots()) == 1
    assert list(Path(repository.location, "locks").iterdir()) == []


@pytest.fixture
def adopting() -> Iterator[None]:
    """Orphans become our children: a machine's first process may leave the dead unburied, and so their number in use."""
    prctl, be_subreaper = ctypes.CDLL(None).prctl, 36
    prctl(be_subreaper, 1, 0, 0, 0)
    yield
    prctl(be_subreaper, 0, 0, 0, 0)


def reap(repository: Repository, lock: str) -> None:
    argv = [*repository.argv("cat", "lock", lock, "--no-lock")]
    done = subprocess.run(argv, env=repository.environment(), capture_output=True, check=True)
    with suppress(ChildProcessError):
        os.waitpid(json.loads(done.stdout)["pid"], 0)


def gone(words: str) -> bool:
    return soon(lambda: not any(words in environment(pid) for pid in pids() if pid != os.getpid()))


def test_trees_are_stored_with_what_was_left_out_and_skipped(
    agent: Agent, repository: Repository, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "keep").write_text("kept")
    (tree / "leave.tmp").write_text("left")
    stored = agent.backup_tree(
        repository, [str(tree), str(tmp_path / "nowhere")], tags=TAGS, excludes=["*.tmp"], one_filesystem=True
    )
    assert stored.files == 1
    assert str(tmp_path / "nowhere") in " ".join((*stored.skipped, *stored.unreadable))
    names = {node["path"] for node in repository.ls(stored.snapshot_id)}
    assert str(tree / "keep") in names and str(tree / "leave.tmp") not in names
