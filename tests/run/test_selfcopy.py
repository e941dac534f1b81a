"""Self-copies: whole, ours, and the newest; whatever else lies beside them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dr.errors import DamageError, DrError, RefusedError
from dr.run.kit import self_backup as selfcopy
from dr.tools import age
from dr.tools.disk import DiskStore

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CONTENTS = {"control.json": b"{}", "config/plans/sis.yaml": b"system: sis\n", "catalog.sqlite": bytes(range(256)) * 40}


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    return age.new_identity()


def copy_at(pair: tuple[str, str], hours: int, *, key: bytes = KEY, **more: bytes) -> tuple[str, bytes]:
    made = NOON + timedelta(hours=hours)
    return selfcopy.pack({**CONTENTS, **more}, made=made, key=key, recipients=[pair[1]])


def newest(root: Path, identity: str, said: list[str] | None = None) -> selfcopy.SelfCopy | None:
    found = selfcopy.newest({"disk": DiskStore(root)}, identity=identity, key=KEY, say=said if said is not None else [])
    return found[1] if found else None


def test_what_is_packed_comes_out_again(pair: tuple[str, str]) -> None:
    name, sealed = copy_at(pair, 0)
    copy = selfcopy.unpack(sealed, identity=pair[0], key=KEY, name=name)
    assert dict(copy.contents) == CONTENTS and copy.genuine and copy.made == NOON == selfcopy.when(name)
    assert b"system" not in sealed
    assert selfcopy.unpack(sealed, identity=pair[0], key=None, name=name).genuine is None


def test_another_identity_opens_nothing_and_a_flipped_bit_is_seen(pair: tuple[str, str]) -> None:
    name, sealed = copy_at(pair, 0)
    with pytest.raises(RefusedError):
        selfcopy.unpack(sealed, identity=age.new_identity()[0], key=KEY, name=name)
    for place in (10, len(sealed) // 2, len(sealed) - 1):
        broken = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(DrError):
            selfcopy.unpack(broken, identity=pair[0], key=KEY, name=name)


def test_what_anybody_can_seal_is_not_taken_for_ours(tmp_path: Path, pair: tuple[str, str]) -> None:
    """A recipient is public. What opens, is newer and carries a plan of an attacker's is passed over, and said."""
    ours, theirs = copy_at(pair, 0), copy_at(pair, 5, key=OTHER_KEY, **{"config/plans/evil.yaml": b"run: evil"})
    for name, sealed in (ours, theirs):
        selfcopy.put(DiskStore(tmp_path), name, sealed, tidy=False)
    said: list[str] = []
    found = newest(tmp_path, pair[0], said)
    assert found and found.name == ours[0]
    assert len(said) == 1 and "was not put there by the host" in said[0]


def test_an_old_copy_under_a_new_name_is_no_new_copy(tmp_path: Path, pair: tuple[str, str]) -> None:
    old, new = copy_at(pair, 0), copy_at(pair, 1)
    later = copy_at(pair, 9)[0]
    for name, sealed in (new, (later, old[1])):
        selfcopy.put(DiskStore(tmp_path), name, sealed, tidy=False)
    found = newest(tmp_path, pair[0])
    assert found and found.name == new[0]


def test_junk_and_what_does_not_open_are_passed_over(tmp_path: Path, pair: tuple[str, str]) -> None:
    name, sealed = copy_at(pair, 0)
    store = DiskStore(tmp_path)
    selfcopy.put(store, name, sealed, tidy=False)
    stranger = copy_at(age.new_identity(), 3)
    selfcopy.put(store, *stranger, tidy=False)
    for junk in ("readme.txt", "20991231T235959000000Z-000000000000.age", "20991231T235959Z-0.age"):
        store.child(selfcopy.PLACE).put(junk, b"junk")
    said: list[str] = []
    found = newest(tmp_path, pair[0], said)
    assert found and found.name == name and len(said) == 2


def test_a_target_that_is_down_leaves_the_other(tmp_path: Path, pair: tuple[str, str]) -> None:
    name, sealed = copy_at(pair, 0)
    selfcopy.put(DiskStore(tmp_path / "up"), name, sealed, tidy=False)
    said: list[str] = []
    roots = {"down": DiskStore(tmp_path / "no" / "such"), "up": DiskStore(tmp_path / "up")}
    found = selfcopy.newest(roots, identity=pair[0], key=KEY, say=said)
    assert found and found[0] == "up" and "target down cannot be used" in said[0]
    assert selfcopy.newest({"down": roots["down"]}, identity=pair[0], key=KEY, say=[]) is None


def test_only_so_many_are_kept_and_the_newest_of_them(tmp_path: Path, pair: tuple[str, str]) -> None:
    store = DiskStore(tmp_path)
    _name, sealed = copy_at(pair, 0)
    for number in range(selfcopy.KEPT + 5):
        made = NOON + timedelta(minutes=number)
        selfcopy.put(store, f"{made:%Y%m%dT%H%M%S%f}Z-000000000000.age", sealed, tidy=number > selfcopy.KEPT)
    assert len(selfcopy.names(store)) == selfcopy.KEPT
    assert selfcopy.names(store)[0].startswith("20261124T1234")


def test_where_nothing_may_be_removed_all_stay(tmp_path: Path, pair: tuple[str, str]) -> None:
    class AppendOnly(DiskStore):
        def child(self, prefix: str) -> AppendOnly:
            return AppendOnly(self.root / prefix)

        def remove(self, name: str) -> None:
            raise RefusedError("no", hint="as it should be")

    store = AppendOnly(tmp_path)
    for number in range(selfcopy.KEPT + 3):
        made = NOON + timedelta(minutes=number)
        selfcopy.put(store, f"{made:%Y%m%dT%H%M%S%f}Z-000000000000.age", b"x", tidy=True)
    assert len(selfcopy.names(store)) == selfcopy.KEPT + 3


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_no_name_leads_out_of_the_copy(pair: tuple[str, str], name: str) -> None:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    head = json.dumps({"made": NOON.isoformat(), "code": ""}).encode()
    sealed = age.seal(head + b"\n" + gzip.compress(body.getvalue()), [pair[1]])
    with pytest.raises(DamageError):
        selfcopy.unpack(sealed, identity=pair[0], key=KEY, name="x")


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"{}\n", b'{"made": 5}\nx', b"\xff\n\xff", b'{"made":"2026","code":""}\nx']
)
def test_sealed_nonsense_is_damage_and_no_crash(pair: tuple[str, str], text: bytes) -> None:
    with pytest.raises(DamageError):
        selfcopy.unpack(age.seal(text, [pair[1]]), identity=pair[0], key=KEY, name="x")
