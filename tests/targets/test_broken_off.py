"""An object whose body breaks off amid it is read again; half of it is never taken for all of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dr.errors import TargetDownError
from dr.plan.target import Target
from dr.session import Session
from dr.targets.kinds import driver_of
from dr.tools import retry
from dr.tools.restic import Repository
from dr.tools.state_dir import StateDir
from dr.tools.store import ObjectStore
from scripts.servers.rclone import RcloneServer, rclone_program
from scripts.servers.rest import RestServer
from scripts.servers.s3 import S3Server
from scripts.servers.sshd import Sshd
from tests.conftest import Site, plan_text
from tests.proxy import Proxy

DATA = os.urandom(3_000_000)
NAME = f"data/{hashlib.sha256(DATA).hexdigest()[:2]}/{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture(params=["rest", "rclone", "s3"])
def cut(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Proxy, ObjectStore]:
    """A store with one object, and the wire to it."""
    name = f"{request.param}_server" if request.param != "s3" else "s3"
    server: RestServer | RcloneServer | S3Server = request.getfixturevalue(name)
    proxy = Proxy(server.port)
    request.addfinalizer(proxy.cut)
    proxy.__enter__()
    if isinstance(server, RestServer):
        declared = {"rest": {"url": server.url.replace(str(server.port), str(proxy.port)), **server.login}}
    elif isinstance(server, RcloneServer):
        monkeypatch.setenv("PATH", f"{Path(rclone_program()).parent}:{os.environ['PATH']}")
        config = tmp_path / "rclone.conf"
        config.write_text(server.section("far", proxy.port, server.password))
        config.chmod(0o600)
        declared = {"rclone": {"remote": "far:", "config": str(config)}}
    else:
        keys = server.write_keys(tmp_path / "keys")
        place = {"endpoint": proxy.endpoint, "bucket": request.getfixturevalue("bucket")}
        declared = {"s3": {**place, "credentials": {"file": str(keys)}}}
    store = driver_of(Target.model_validate({"target": "far", **declared})).open().store.child("broken-off/")
    store.put(NAME, DATA)
    return proxy, store


def test_what_broke_off_once_is_read_again_and_half_is_never_taken_for_all(cut: tuple[Proxy, ObjectStore]) -> None:
    proxy, store = cut
    proxy.drop_after = 1_000_000
    assert store.sha256(NAME) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert proxy.drop_after is None, "it was dropped"
    proxy.drop_after = 1_000_000
    with pytest.raises(TargetDownError) as caught:
        for _ in store.blocks(NAME):
            pass
    assert caught.value.retryable and caught.value.hint


@pytest.fixture
def behind(files_site: Site, sshd: Sshd) -> Iterator[Proxy]:
    """The wire to a target of kind `sftp`, which holds a point of files and of a command's output."""
    (files_site.root / "source" / "large.bin").write_bytes(DATA)
    with Proxy(sshd.port) as proxy:
        old, new = str(sshd.port), str(proxy.port)
        known = files_site.root / "known"
        known.write_text(sshd.known_hosts.read_text().replace(old, new))
        place = {"ssh": sshd.address.replace(old, new), "path": str(files_site.root / "far")}
        declared = {**place, "known_hosts": str(known), "key": str(sshd.key)}
        files_site.target("far", json.dumps({"target": "far", "offsite": False, "sftp": declared}))
        source = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
        files_site.plan("share", plan_text("share", source, targets="[far]"))
        files_site.dr("backup", "share")
        yield proxy


def test_a_recovery_whose_line_breaks_goes_on_once_it_is_there_again(files_site: Site, behind: Proxy) -> None:
    behind.drop_after = 1_000_000
    ran = files_site.dr("recover", "share", "--yes", "--to", str(files_site.root / "to"))
    assert behind.drop_after is None, "it was dropped"
    assert "the connection to the target broke" in ran.err and "trying again (1 of 3)" in ran.err
    assert "holds nothing" not in ran.err and "damaged" not in ran.err


def test_a_recovery_whose_line_stays_broken_says_so_and_calls_nothing_damaged_or_empty(
    files_site: Site, behind: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _repository(files_site) as repository:
        monkeypatch.setattr(retry.time, "sleep", lambda seconds: setattr(behind, "down", True))
        (snapshot,) = [each for each in repository.snapshots() if each.tags["part"] == "data"]
        behind.drop_after = 1_000_000
        with pytest.raises(TargetDownError) as caught:
            repository.restore(snapshot.id, files_site.root / "to")
        assert behind.down and "damaged" not in str(caught.value) and "network" in caught.value.hint


def test_a_stored_stream_that_broke_off_is_read_on_from_there(
    files_site: Site, behind: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)
    with _repository(files_site) as repository:
        (snapshot,) = [each for each in repository.snapshots() if each.tags["part"] == "data"]
        with repository.reading(snapshot.id, "/") as chunks:
            whole = b"".join(chunks)
        behind.drop_after = 1_000_000
        with repository.reading(snapshot.id, "/") as chunks:
            assert b"".join(chunks) == whole and DATA in whole
        assert behind.drop_after is None and "trying again (1 of 3)" in caplog.text
        behind.drop_after = 1_000_000
        with repository.reading(snapshot.id, "/") as chunks, pytest.raises(TargetDownError):
            for _ in chunks:
                behind.down = True


@contextmanager
def _repository(site: Site) -> Iterator[Repository]:
    """Lend the repository of the system, as a run has it."""
    session = Session(site.root / "config", StateDir(site.root / "state"))
    with closing(session):
        (place,) = session.toolbox(session.chosen(["share"])[0]).everywhere
        yield place.repository
