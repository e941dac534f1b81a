"""Planted secrets, searched for wherever they could show."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site, plan_text
from tests.faults.planted import CommandLines, files_showing, forms
from tests.waiting import soon


@pytest.mark.long
def test_no_secret_is_in_any_argument_log_catalog_report_or_error(files_site: Site, s3: Any, bucket: str) -> None:
    site = files_site
    passphrase = "planted+passphrase/" + secrets.token_hex(8)
    keys, phrase = s3.write_keys(site.root / "keys"), site.root / "phrase"
    phrase.write_text(passphrase + "\n")
    phrase.chmod(0o600)
    site.target(
        "offsite",
        f"target: offsite\ns3: {{endpoint: '{s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}}}\n",
    )
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    dump = "dump: {command: {run: [sh, -c, 'seq 1 200000'], filename: out.txt}}"
    more = f"secrets: {{passphrase: {{file: {phrase}}}}}\n"
    site.plan("share", plan_text("share", source, dump, targets="[offsite, disk]", more=more))
    wanted = forms(passphrase, s3.secret_key)
    said = []
    with CommandLines() as seen:
        for arguments in (
            ("backup", "share", "-vv"), ("verify", "share", "--level", "3", "-vv"), ("drill", "share", "-vv"),
            ("status", "--json"), ("points", "--json"), ("validate", "--json"), ("doctor", "--json"),
            ("report", "-o", str(site.root / "report.html")), ("report", "--format", "md"), ("audit",),
        ):  # fmt: skip
            ran = site.dr(*arguments, code=None)
            said.append((arguments, (ran.out + ran.err).encode()))
        phrase.write_text(passphrase + "wrong\n")
        for arguments in (("backup", "share", "-vv"), ("verify", "share", "-vv"), ("drill", "share", "-vv")):
            ran = site.dr(*arguments, code=None)
            assert ran.code not in (0, None)
            said.append((arguments, (ran.out + ran.err).encode()))
    assert seen.showing([b"restic\0"]), "restic was seen at work"
    assert not seen.showing(wanted)
    for arguments, text in said:
        assert not [secret for secret in wanted if secret in text], arguments
    shown = files_showing(wanted, site.root, private={phrase, keys})
    assert not [path for path in shown if "cache" not in path.parts]


def test_a_secret_would_have_been_seen(tmp_path: Path) -> None:
    """The negative control."""
    import subprocess

    secret = secrets.token_hex(16)
    with CommandLines() as seen, subprocess.Popen(["sh", "-c", "read _", "restic", secret], stdin=subprocess.PIPE):
        assert soon(lambda: bool(seen.showing(forms(secret))))
    (tmp_path / "log").write_bytes(b"its passphrase is " + forms(secret)[1])
    assert files_showing(forms(secret), tmp_path, private=()) == [tmp_path / "log"]
