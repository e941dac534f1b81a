"""One budget: what no other try can mend ends at once, all else when the budget is spent, and each try is said."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from dr.errors import DamageError, DrError, InterruptedRunError, TargetDownError
from dr.tools import command
from dr.tools.restic import Repository
from dr.tools.restic_events import Events, error_for
from dr.tools.restic_tries import Tries, try_of
from dr.tools.retry import BUDGET_SECONDS, Patience
from scripts.servers.s3 import S3Server
from tests.faults.test_full_disk import small_disk
from tests.tls import Authority, Front

LINE = "Save(<lock/27fa3d1eed>) returned error, retrying after {wait}: {why}"
RESET = "read tcp 10.0.0.1:5->10.0.0.2:443: read: connection reset by peer"


@pytest.mark.parametrize(
    ("wait", "seconds"), [("598.909046ms", 0.598909046), ("1.188s", 1.188), ("1m2.5s", 62.5), ("1h0m0s", 3600)]
)
def test_what_restic_says_of_a_try_is_understood(wait: str, seconds: float) -> None:
    found = try_of("\x1b[2K" + LINE.format(wait=wait, why=RESET))
    assert found and (found.doing, found.why) == ("Save(<lock/27fa3d1eed>)", RESET)
    assert found.wait == pytest.approx(seconds)
    assert try_of('{"message_type":"error"}') is None


@pytest.mark.parametrize(
    "why",
    [
        "open /mnt/x/locks/27-tmp-1: read-only file system",
        'Get "https://x/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
        'Get "https://x/": http: server gave HTTP response to HTTPS client',
        "write /mnt/x: no space left on device",
        "The AWS Access Key Id you provided does not exist in our records.",
    ],
)
def test_what_no_other_try_can_mend_ends_at_the_first(why: str) -> None:
    assert Tries("sis on vault")(LINE.format(wait="1s", why=why))


def test_all_else_is_tried_within_the_budget_and_each_try_is_said(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    patience = Patience(clock=lambda: now[0])
    assert not patience.is_spent("Load(x)", 1.0)
    now[0] = BUDGET_SECONDS - 2
    assert not patience.is_spent("Load(x)", 1.0) and not patience.is_spent("Load(y)", 60.0)
    assert patience.is_spent("Load(x)", 3.0)
    patience.worked("Load(x)")
    assert not patience.is_spent("Load(x)", 3.0)
    with caplog.at_level(logging.WARNING, "dr.retry"):
        assert not Tries("sis on vault")(LINE.format(wait="1.2s", why=RESET))
    assert f"sis on vault: Save(<lock/27fa3d1eed>): {RESET}; trying again in 1 s" in caplog.text


def test_why_it_was_given_up_is_the_cause_and_not_that_it_was_interrupted() -> None:
    events = Events()
    events.feed_all(f"{LINE.format(wait='1s', why=RESET)}\n".encode())
    error = error_for(130, events, where="sis on vault", doing="the backup")
    assert isinstance(error, TargetDownError) and not error.retryable and RESET in error.cause
    events.feed("Save(<lock/27fa3d1eed>) operation successful after 1 retries")
    assert isinstance(error_for(130, events, where="sis on vault", doing="the backup"), InterruptedRunError)


def test_a_program_that_is_given_up_is_ended_even_if_it_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_GRACE_SECONDS", 0.2)
    deaf = "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('no', file=sys.stderr, flush=True); time.sleep(900)"
    heard: list[str] = []
    done = command.run([sys.executable, "-c", deaf], heed=lambda line: bool(heard.append(line) or True))
    assert done.code == -9 and heard == ["no"]


def test_an_emptied_config_is_damage_and_not_the_lines_of_a_program(tmp_path: Path, restic_program: str) -> None:
    vault = repository(str(tmp_path / "sis"), restic_program, tmp_path / "cache")
    vault.init()
    (tmp_path / "sis" / "config").chmod(0o600)
    (tmp_path / "sis" / "config").write_bytes(b"")
    with pytest.raises(DamageError, match="`config` is damaged") as caught:
        vault.snapshots()
    assert "config file has zero size" in caught.value.cause and "main." not in caught.value.cause
    assert "dr target rewind" in caught.value.hint


def repository(location: str, program: str, cache: Path, **env: str) -> Repository:
    return Repository(
        program=program, location=location, where="sis on vault", host="sis", cache=cache, env={"RESTIC_PASSWORD": "x", **env}
    )  # fmt: skip


def test_a_disk_that_is_read_only_is_named_and_not_waited_for(tmp_path: Path, restic_program: str) -> None:
    (tmp_path / "source").mkdir()
    with small_disk(tmp_path / "disk", "20m"):
        vault = repository(str(tmp_path / "disk" / "sis"), restic_program, tmp_path / "cache")
        vault.init()
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / "disk"], check=True)
        with pytest.raises(DrError, match="the target's disk is read-only") as caught:
            vault.backup_tree((str(tmp_path / "source"),), cwd=tmp_path, tags={"run": "r"})
        assert "mount it for writing" in caught.value.hint and not caught.value.retryable
        stream = vault.backup_stream("x", tags={}, work=tmp_path)
        with pytest.raises(DrError, match="the target's disk is read-only"):
            while True:
                stream.write(b"0" * 65536)


def test_a_certificate_that_restic_alone_refuses_is_named(
    tmp_path: Path, restic_program: str, s3: S3Server, bucket: str
) -> None:
    with Front(s3.port, tls=Authority(tmp_path).issue("127.0.0.1")) as front:
        keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        far = repository(f"s3:https://127.0.0.1:{front.port}/{bucket}/sis", restic_program, tmp_path / "cache", **keys)
        with pytest.raises(TargetDownError, match="certificate is not trusted") as caught:
            far.snapshots()
    assert "x509" in caught.value.cause and "ca_file" in caught.value.hint


def test_what_rclone_says_is_the_cause_where_restic_hears_no_more_than_500(caplog: pytest.LogCaptureFixture) -> None:
    """As rclone 1.75 and restic 0.18.0 say it."""
    again = "Save(<data/7d4db5c8b6>) returned error, retrying after 1.46s: unexpected HTTP response (500): 500 Internal"
    name = f"data/7d/{'7d' * 32}"
    full = f"rclone: 2026/11/28 22:37:59 ERROR : {name}: Post request put error: write {name}: no space left on device"
    odd = f"rclone: 2026/11/28 22:37:59 ERROR : {name}: Post request put error: Method Not Allowed"
    lock = "Remove(<lock/4d7d535c6a>) returned error, retrying after 1.33s: client.Do: Delete: unexpected EOF"
    for said, ends in ((full, True), (odd, False)):
        tries, events = Tries("share on far"), Events()
        assert not tries(said) and tries(again) is ends
        for line in (said, again, lock):
            events.feed(line)
        error = error_for(130, events, where="share on far", doing="the backup")
        assert ("the disk is full" in error.what) is ends and "Post request put error" in error.cause, error
    assert "Method Not Allowed; trying again in 1 s" in caplog.text and "ERROR" not in caplog.text


def test_what_was_given_up_since_it_lies_in_an_archive_is_told_so() -> None:
    events = Events(given_up=True)
    why = "The operation is not valid for the object's storage class"
    events.feed(f"Load(<index/0123456789>, 0, 0) returned error, retrying after 1s: {why}")
    error = error_for(-2, events, where="sis on vault", doing="listing the snapshots")
    assert isinstance(error, TargetDownError) and "in an archive" in error.what and "RestoreObject" in error.hint


def test_keys_that_could_not_be_listed_are_no_wrong_passphrase() -> None:
    """restic ends with its code for that when it is ended amid such a listing."""
    events = Events(given_up=True)
    events.feed("List(key) returned error, retrying after 45s: unexpected EOF")
    events.feed('{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}')
    error = error_for(12, events, where="sis on vault", doing="the restore")
    assert isinstance(error, TargetDownError) and error.cause == "unexpected EOF" and not error.retryable
