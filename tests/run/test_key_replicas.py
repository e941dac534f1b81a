"""A key at the replicas: who lacks the new one, and where the old one still is, is known of every one of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dr.errors import InterruptedRunError, RefusedError
from dr.plan.target import Target
from dr.run.keys.replica_keys import hand_on, take_back
from dr.run.workspace.open_toolbox import open_place
from dr.run.workspace.toolbox import Place
from dr.tools.disk import DiskStore
from dr.tools.state_dir import StateDir
from tests.run.keyed import plan_of

DATA = b"the master key, wrapped"
KEY = hashlib.sha256(DATA).hexdigest()


def place(root: Path, name: str, *keys: bytes, there: bool = True) -> Place:
    """Return a place that holds a repository of these keys; without any directory unless it is there."""
    target = Target.model_validate({"target": name, "local": {"path": str(root / name)}})
    made = open_place(plan_of("share"), target, state=StateDir(root / "state"), restic="restic", key_of="disk")
    if there:
        made.store.put("config", b"c")
        for data in keys:
            made.store.put(f"keys/{hashlib.sha256(data).hexdigest()}", data)
    return made


def test_the_new_key_comes_to_every_replica_and_who_lacks_it_is_named(tmp_path: Path) -> None:
    primary, lacks, has = place(tmp_path, "disk", DATA), place(tmp_path, "lacks"), place(tmp_path, "has", DATA)
    empty, away = place(tmp_path, "empty", there=False), place(tmp_path, "away", there=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "away").write_text("no directory")
    replicas = [away, empty, lacks, has]
    for _ in range(2):
        assert hand_on(primary, replicas, KEY) == ["away", "empty"]
    assert lacks.store.get(f"keys/{KEY}") == has.store.get(f"keys/{KEY}") == DATA
    assert not empty.store.exists(f"keys/{KEY}"), "it may be an empty mount point"


def test_a_key_that_is_damaged_at_the_primary_is_not_handed_on_as_if_it_were_there(tmp_path: Path) -> None:
    primary, replica = place(tmp_path, "disk"), place(tmp_path, "replica")
    primary.store.put(f"keys/{KEY}", b"other bytes")
    assert hand_on(primary, [replica], KEY) == ["replica"] and not replica.store.exists(f"keys/{KEY}")


def test_the_old_key_goes_everywhere_and_where_it_is_left_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas = [place(tmp_path, "one", DATA), place(tmp_path, "two", DATA)]
    real = DiskStore.remove

    def refusing(self: DiskStore, name: str) -> None:
        if "one" in self.where:
            raise RefusedError("the keys may not delete")
        real(self, name)

    monkeypatch.setattr(DiskStore, "remove", refusing)
    assert take_back(replicas, KEY) == ["one"]
    assert [each.store.exists(f"keys/{KEY}") for each in replicas] == [True, False]
    monkeypatch.undo()
    assert take_back(replicas, KEY) == [] == take_back(replicas, KEY)


@pytest.mark.parametrize("act", ["exists", "reachable"])
def test_a_stop_is_no_replica_that_lacks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    primary, replica = place(tmp_path, "disk", DATA), place(tmp_path, "replica", DATA)

    def stopped(*_: object) -> bool:
        raise InterruptedRunError("stopped")

    monkeypatch.setattr(DiskStore, act, stopped)
    with pytest.raises(InterruptedRunError):
        hand_on(primary, [replica], KEY)
    if act == "exists":
        with pytest.raises(InterruptedRunError):
            take_back([replica], KEY)
