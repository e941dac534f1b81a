"""One contract for every store, run by a directory and by a bucket."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.tools.disk import DiskStore
from dr.tools.s3 import S3Store
from dr.tools.secrets import S3Keys, generated_passphrase, read_aws_file
from dr.tools.store import ObjectStore


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "disk":
        return DiskStore(tmp_path / "store").child("a/b")
    s3, bucket = request.getfixturevalue("s3"), request.getfixturevalue("bucket")
    keys = S3Keys(s3.access_key, s3.secret_key)
    return S3Store(endpoint=s3.endpoint, bucket=bucket, prefix="a", keys=keys).child("b")


def test_what_is_put_is_there(store: ObjectStore) -> None:
    store.reachable()
    assert list(store.list()) == [] and not store.exists("x/y")
    data = b"bytes" * 500_000
    store.put("x/y", data)
    store.put("z", b"")
    assert store.get("x/y") == data and store.exists("x/y")
    assert store.sha256("x/y") == (hashlib.sha256(data).hexdigest(), len(data))
    assert sorted((item.name, item.size) for item in store.list()) == [("x/y", len(data)), ("z", 0)]
    assert [item.name for item in store.list("x/")] == ["x/y"]
    store.put("z", b"again")
    assert store.get("z") == b"again"
    assert store.child("x").get("y") == data
    assert store.preflight().in_words()


def test_what_is_not_there_is_said(store: ObjectStore) -> None:
    store.reachable()
    for act in (store.get, store.sha256):
        with pytest.raises(DamageError, match="not there"):
            act("none")


def test_a_bucket_that_is_gone_a_key_that_is_wrong_a_host_that_is_down(s3, bucket: str) -> None:
    keys = S3Keys(s3.access_key, s3.secret_key)
    none = S3Store(endpoint=s3.endpoint, bucket="none-such", keys=keys)
    for seen, said in ((False, f"there is no bucket none-such at {s3.endpoint}"), (True, "bucket none-such is gone")):
        none.seen = seen
        with pytest.raises(TargetDownError, match=said) as absent:
            none.child("below").exists("config")
        assert "`dr target create`" in absent.value.hint
    wrong = S3Keys(s3.access_key, "planted-secret")
    with pytest.raises(RefusedError) as caught:
        S3Store(endpoint=s3.endpoint, bucket=bucket, keys=wrong).preflight()
    assert "planted" not in str(caught.value) + repr(caught.value) + repr(wrong)
    down = S3Store(endpoint="http://127.0.0.1:9", bucket=bucket, keys=keys)
    for act in (down.reachable, down.preflight):
        with pytest.raises(TargetDownError) as gone:
            act()
        assert gone.value.retryable


def test_a_directory_whose_mount_is_missing_is_down(tmp_path: Path) -> None:
    with pytest.raises(TargetDownError, match="not there"):
        DiskStore(tmp_path / "mount" / "point" / "x").reachable()
    (tmp_path / "file").write_text("")
    with pytest.raises(DrError, match="no directory"):
        DiskStore(tmp_path / "file").reachable()


def test_a_generated_passphrase_is_private_and_stays(tmp_path: Path) -> None:
    path = generated_passphrase(tmp_path / "secrets" / "sis@disk")
    first = path.read_text()
    assert len(first.strip()) >= 40 and path.stat().st_mode & 0o777 == 0o600
    assert generated_passphrase(path).read_text() == first
    assert [p.name for p in path.parent.iterdir()] == ["sis@disk"]
    path.chmod(0o644)
    with pytest.raises(RefusedError, match="open to others"):
        generated_passphrase(path)
    path.write_text("")
    path.chmod(0o600)
    with pytest.raises(RefusedError, match="empty"):
        generated_passphrase(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[other]\n", "no profile"),
        ("[default]\naws_access_key_id = x\n", "lacks a key"),
        ("planted-secret = 3", "format"),
        (None, "cannot be read"),
    ],
)
def test_a_credentials_file_that_cannot_be_used_is_said_without_its_contents(
    tmp_path: Path, text: str | None, words: str
) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RefusedError, match=words) as caught:
        read_aws_file(path, "default")
    assert "planted" not in str(caught.value)
