"""A service that went away and came back is used again by who was using it; one that stays away is down."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.errors import TargetDownError
from dr.plan.target import Target
from dr.targets.kinds import driver_of
from dr.tools import retry
from dr.tools.store import ObjectStore
from scripts.servers.rest import RestServer
from scripts.servers.sshd import Sshd

pytestmark = pytest.mark.slow


def store_on(server: Sshd | RestServer, home: Path) -> ObjectStore:
    """What is used through a server."""
    if isinstance(server, RestServer):
        declared = {"rest": {"url": server.url, **server.login}}
    else:
        whole = {"ssh": server.address, "path": str(home / "far"), "known_hosts": str(server.known_hosts)}
        declared = {"sftp": {**whole, "key": str(server.key)}}
    return driver_of(Target.model_validate({"target": "far", **declared})).open().store


@pytest.mark.parametrize("kind", [Sshd, RestServer])
def test_what_broke_is_made_again_and_what_stays_away_is_said(
    kind: type[Sshd | RestServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kind(tmp_path / "server") as server:
        store = store_on(server, tmp_path)
        store.reachable()
        place = store.child("_evidence")
        place.put("one", b"one")
        server.kill()
        server.start()
        assert place.get("one") == b"one"
        place.put("two", b"two")
        server.kill()
        monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)
        with pytest.raises(TargetDownError) as raised:
            place.get("two")
        assert raised.value.hint
        server.start()
        assert sorted(item.name for item in place.list()) == ["one", "two"]
