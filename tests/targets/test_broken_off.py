"""An object whose body breaks off amid it is read again; half of it is never taken for all of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from dr.errors import TargetDownError
from dr.plan.target import Target
from dr.targets.kinds import driver_of
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


def test_a_recovery_whose_line_breaks_says_so_and_calls_nothing_damaged_or_empty(files_site: Site, sshd: Sshd) -> None:
    proxy = Proxy(sshd.port)
    (files_site.root / "source" / "large.bin").write_bytes(DATA)
    with proxy:
        old, new = str(sshd.port), str(proxy.port)
        known = files_site.root / "known"
        known.write_text(sshd.known_hosts.read_text().replace(old, new))
        place = {"ssh": sshd.address.replace(old, new), "path": str(files_site.root / "far")}
        declared = {**place, "known_hosts": str(known), "key": str(sshd.key)}
        files_site.target("far", json.dumps({"target": "far", "offsite": False, "sftp": declared}))
        source = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
        files_site.plan("share", plan_text("share", source, targets="[far]"))
        files_site.dr("backup", "share")
        proxy.drop_after = 1_000_000
        ran = files_site.dr("recover", "share", "--yes", "--to", str(files_site.root / "to"), code=1)
        assert proxy.drop_after is None, "it was dropped"
        assert "the connection to the target broke" in ran.err and "check the network" in ran.err.lower()
        assert "holds nothing" not in ran.err and "damaged" not in ran.err
        files_site.dr("recover", "share", "--yes", "--to", str(files_site.root / "again"))
