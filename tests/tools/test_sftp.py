"""Files that go to another host and come back."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dr.errors import DrError
from dr.tools.ssh import SshHost
from scripts.servers.sshd import Sshd
from tests.far import login


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
