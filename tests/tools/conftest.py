"""A server that is this machine over SSH, and one that a test may break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.tools.ssh import SshHost
from scripts.servers.sshd import Sshd
from tests.far import login


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
