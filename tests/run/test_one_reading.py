"""A secret and a place are what plain restic makes of them too, or are refused at the door."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dr.errors import RefusedError
from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.run.workspace.open_toolbox import open_place
from dr.run.workspace.toolbox import Place
from dr.targets.s3.bucket import read_keys
from dr.tools.state_dir import StateDir
from scripts.servers.s3 import S3Server

PLAN = {
    "system": "sis", "objectives": {"rto": "1h", "rpo": "1d"}, "targets": ["t"],
    "sources": {"docs": {"files": {"paths": ["/srv"]}}},
}  # fmt: skip

Opener = Callable[..., Place]


@pytest.fixture
def opened(tmp_path: Path, restic_program: str) -> Opener:
    """Open the plan's place on a target, with the passphrase that the plan names."""

    def open_it(target: dict[str, object], secret: dict[str, object] | None = None) -> Place:
        plan = Plan.model_validate({**PLAN, "secrets": {"passphrase": secret}} if secret else PLAN)
        declared = Target.model_validate({"target": "t", **target})
        return open_place(plan, declared, state=StateDir(tmp_path / "state"), restic=restic_program)

    return open_it


def plainly(program: str, location: str, **env: str) -> int:
    """What restic itself ends with, as docs/recover.md types it."""
    whole = {"PATH": os.environ["PATH"], "RESTIC_REPOSITORY": location, **env}
    return subprocess.run([program, "snapshots", "--no-cache"], env=whole, capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    "content",
    [
        b"wombat", b"wombat\n", b"wombat\r\n", b"\n\n  wombat \t\r\n", b"two words\n", "wömbat\n".encode(),
        b"wombat\xc2\xa0\n", b"\xef\xbb\xbfwombat\n", "wombat\n".encode("utf-16"), b"wombat\nsecond line\n",
        b"wombat\rmore\n", b"\n", b"", b" \xc2\x85", b"w\xe4mbat\n", b"wom\x00bat\n", b"wombat\x1c\n",
    ],
)  # fmt: skip
def test_restic_reads_the_passphrase_file_as_we_do_or_it_is_refused(
    opened: Opener, tmp_path: Path, restic_program: str, content: bytes
) -> None:
    file = tmp_path / "phrase"
    file.write_bytes(content)
    try:
        place = opened({"local": {"path": str(tmp_path / "disk")}}, {"file": str(file)})
    except RefusedError as error:
        assert str(file) in str(error) and error.hint and "wom" not in str(error)
        return
    place.repository.init()
    assert plainly(restic_program, place.repository.location, RESTIC_PASSWORD_FILE=str(file)) == 0
    (tmp_path / "other").write_text("another phrase\n")
    assert plainly(restic_program, place.repository.location, RESTIC_PASSWORD_FILE=str(tmp_path / "other")) == 12


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ({"env": "DR_PHRASE"}, "the environment variable DR_PHRASE"),
        ({"command": ["printf", r"\357\273\277phrase\n"]}, "what the command for the secret prints begins with"),
        ({"command": ["printf", r"\n"]}, "what the command for the secret prints is empty"),
    ],
)
@pytest.mark.parametrize("value", ["\n", "\ufeffphrase", "phrase\nsecond"])
def test_what_no_file_could_hold_is_refused_from_elsewhere_too(
    opened: Opener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    secret: dict[str, object],
    expected: str,
    value: str,
) -> None:
    monkeypatch.setenv("DR_PHRASE", value)
    with pytest.raises(RefusedError) as caught:
        opened({"local": {"path": str(tmp_path / "disk")}}, secret)
    assert expected in str(caught.value) and caught.value.hint


def test_of_a_command_the_first_line_is_the_secret(opened: Opener, tmp_path: Path) -> None:
    place = opened({"local": {"path": str(tmp_path)}}, {"command": ["printf", r"\r\nphrase\r\nlogin: x\n"]})
    assert place.repository.env["RESTIC_PASSWORD"] == "phrase"


def test_a_passphrase_file_of_ours_that_was_spoiled_is_refused(opened: Opener, tmp_path: Path) -> None:
    opened({"local": {"path": str(tmp_path / "disk")}})
    (kept,) = (tmp_path / "state" / "secrets").iterdir()
    kept.write_bytes(b"\xef\xbb\xbf" + kept.read_bytes())
    with pytest.raises(RefusedError, match="byte order mark"):
        opened({"local": {"path": str(tmp_path / "disk")}})


@pytest.mark.parametrize("prefix", ["", "/", "/a/", "a b/c", "ünï", ".a", "a+b&c='(x)'"])
def test_a_prefix_is_one_place_for_restic_for_us_and_for_the_service(
    opened: Opener, s3: S3Server, bucket: str, restic_program: str, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    place = opened({"s3": {"endpoint": f"{s3.endpoint}/", "bucket": bucket, "prefix": prefix}})
    place.repository.init()
    assert place.store.exists("config") and len(list(place.store.list("keys/"))) == 1
    listed = {item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket)["Contents"]}
    assert "/".join(part for part in (prefix.strip("/"), "sis", "config") if part) in listed
    parts = [s3.endpoint, bucket, *([prefix.strip("/")] if prefix.strip("/") else []), "sis"]
    env = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    file = place.repository.env["RESTIC_PASSWORD_FILE"]
    assert plainly(restic_program, "s3:" + "/".join(parts), RESTIC_PASSWORD_FILE=file, **env) == 0


def test_passing_credentials_bring_their_token(monkeypatch: pytest.MonkeyPatch, opened: Opener) -> None:
    for name, value in (("ID", "one"), ("KEY", "two"), ("TOKEN", "three")):
        monkeypatch.setenv(f"DR_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    assert read_keys(None).session_token == ""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "three")
    assert read_keys(None).session_token == "three"
    named = {"access_key_id": "DR_ID", "secret_access_key": "DR_KEY"}
    for more, token in (({}, None), ({"session_token": "DR_TOKEN"}, "three")):
        place = opened({"s3": {"bucket": "copies", "credentials": {"env": {**named, **more}}}})
        assert place.repository.env.get("AWS_SESSION_TOKEN") == token
