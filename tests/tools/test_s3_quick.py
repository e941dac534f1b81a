"""The quick way brings what boto3 would bring; where it brings nothing, boto3 is asked and says why."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.errors import DamageError, RefusedError, TargetDownError
from dr.tools import s3_quick
from dr.tools.meter import Meter
from dr.tools.network import Way
from dr.tools.s3 import S3Store
from dr.tools.s3_quick import quick
from dr.tools.secrets import S3Keys
from scripts.servers.s3 import S3Server
from tests.targets.places import some_bytes
from tests.tls import Authority, Front

SIZES = (0, 1, 2048, 3 << 20)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nobody remembers the quick way of another test."""
    quick.cache_clear()
    yield
    quick.cache_clear()


def store(s3: S3Server, bucket: str, endpoint: str = "", **how: object) -> S3Store:
    keys = S3Keys(s3.access_key, str(how.pop("secret", s3.secret_key)))
    return S3Store(endpoint=endpoint or s3.endpoint, bucket=bucket, prefix="sis", keys=keys, **how)  # type: ignore[arg-type]


def test_it_brings_the_same_bytes_and_boto3_is_not_asked(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store(s3, bucket)
    contents = [some_bytes(size) for size in SIZES]
    for data in contents:
        place.put(f"data/{len(data)}", data)
    monkeypatch.setattr(S3Store, "blocks", lambda *_: pytest.fail("boto3 was asked"))
    for data in contents:
        assert place.sha256(f"data/{len(data)}") == (hashlib.sha256(data).hexdigest(), len(data))


def test_what_is_missing_or_refused_is_said_as_boto3_has_it(s3: S3Server, bucket: str) -> None:
    place = store(s3, bucket)
    with pytest.raises(DamageError, match="not there"):
        place.sha256("data/none")
    assert place._quick and place._quick.usable, "one that is gone is no error of the service"
    stranger = store(s3, bucket, secret="planted-secret")
    with pytest.raises(RefusedError) as refused:
        stranger.sha256("data/none")
    assert "planted" not in repr(refused.value) and stranger._quick and not stranger._quick.usable


def test_what_is_there_is_found_without_boto3_and_of_all_else_boto3_says_why(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store(s3, bucket)
    place.put("config", b"of a repository")
    assert not place.exists("none"), "the bucket is there, the object is not"
    with pytest.raises(RefusedError):
        store(s3, bucket, secret="another").exists("config")
    with pytest.raises(TargetDownError, match="there is no bucket none-of-this-name"):
        store(s3, "none-of-this-name").exists("config")
    monkeypatch.setattr(S3Store, "_look_for", lambda *_: pytest.fail("boto3 was asked"))
    meter = Meter()
    assert store(s3, bucket, meter=meter).exists("config") and meter.take().read == 1


def test_the_names_of_a_few_are_had_without_boto3_and_those_of_many_by_a_listing(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store(s3, bucket)
    for name in ("snapshots/a", "snapshots/b", "snapshot-of-another", "config"):
        place.put(name, b"of a repository")
    place.put("snapshots/", b"")  # a console marks a folder so
    seen = place.names("snapshots/")
    assert seen == {"a", "b"} == {item.name.rpartition("/")[2] for item in place.list("snapshots/")}
    assert place.names("index/") is None, "of nothing boto3 is asked: a web page reads as a list of nothing"
    assert store(s3, bucket, secret="another").names("snapshots/") is None
    meter = Meter()
    assert store(s3, bucket, meter=meter).names("snapshots/") and meter.take().list == 1
    monkeypatch.setattr(s3_quick, "_PAGE", 2)
    assert place.names("snapshots/") is None, "there may be more"


def test_after_an_error_boto3_alone_is_asked(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = store(s3, bucket)
    place.put("letter", b"a letter")
    assert place._quick
    monkeypatch.setattr(place._quick, "_store", object())  # it has nothing that reads
    monkeypatch.setattr(place._quick, "_not_before", float("inf"))
    assert place.sha256("letter")[1] == 8


def test_it_believes_whom_the_system_believes_and_leaves_an_own_authority_to_boto3(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    with Front(s3.port, tls=authority.issue("127.0.0.1")) as front:
        endpoint = f"https://127.0.0.1:{front.port}"
        named = store(s3, bucket, endpoint, way=Way(ca_file=authority.file))
        named.put("letter", b"a letter")
        assert named._quick is None and named.sha256("letter")[1] == 8
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        trusted = store(s3, bucket, endpoint)
        assert trusted.sha256("letter")[1] == 8 and trusted._quick and trusted._quick.usable
        other = tmp_path / "other"
        other.mkdir()
        monkeypatch.setenv("SSL_CERT_FILE", str(Authority(other).file))
        quick.cache_clear()
        stranger = store(s3, bucket, endpoint)
        assert stranger._quick and stranger._quick.sha256("sis/letter", Meter()) is None, "it trusts nobody else"


def test_a_proxy_that_our_rules_do_not_take_is_not_taken(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    place = store(s3, bucket)
    place.put("letter", b"a letter")
    assert place._quick is None and place.sha256("letter")[1] == 8


#: A library whose part is there before what that part calls, while a thread is still about to load the rest.
_HALF_LOADED = {
    "__init__.py": "from . import store\nimport gate\ngate.reached.set()\ngate.ended.wait(0.5)\ndef get(*_): return 'got'\n",
    "store.py": "import obstore\nclass S3Store:\n    def __init__(self, *_, **__): pass\n"
    "    def get(self, key): return obstore.get(key)\n",
}
_TWO_AT_ONCE = """
import threading, gate
from dr.tools.network import Way
from dr.tools.s3_quick import quick
from dr.tools.secrets import S3Keys

threading.Thread(target=lambda: __import__("obstore")).start()
gate.reached.wait()
try:
    found = quick("http://127.0.0.1:9", "b", S3Keys("a", "b"), region="x", way=Way(addressing="path"))
    print(found._store.get("key"))
finally:
    gate.ended.set()
"""


def test_two_threads_that_come_at_once_both_find_the_whole_library(tmp_path: Path) -> None:
    (tmp_path / "obstore").mkdir()
    for name, text in _HALF_LOADED.items():
        (tmp_path / "obstore" / name).write_text(text)
    (tmp_path / "gate.py").write_text("import threading\nreached, ended = threading.Event(), threading.Event()\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    done = subprocess.run([sys.executable, "-c", _TWO_AT_ONCE], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("got\n", "")
