"""Planted secrets, searched for wherever they could show."""

from __future__ import annotations

import base64
import os
import secrets
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.conftest import Site, plan_text


def _forms(secret: str) -> list[bytes]:
    return [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"="), quote(secret, safe="").encode()]


class Watcher:
    """Reads the command line of every process, again and again, in a thread."""

    def __init__(self, wanted: list[bytes]) -> None:
        self._wanted, self._ended = wanted, threading.Event()
        self.found: set[bytes] = set()
        self.seen: set[bytes] = set()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        own = str(os.getpid())
        while not self._ended.is_set():
            for name in os.listdir("/proc"):
                if not name.isdecimal() or name == own:
                    continue
                try:
                    line = Path("/proc", name, "cmdline").read_bytes()
                except OSError:
                    continue
                if b"restic" in line:
                    self.seen.add(line.split(b"\0", 1)[0])
                self.found |= {line for secret in self._wanted if secret in line}


def test_no_secret_is_in_any_argument_log_catalog_report_or_error(files_site: Site, s3: Any, bucket: str) -> None:
    site = files_site
    passphrase = "planted+passphrase/" + secrets.token_hex(8)
    keys, phrase = site.root / "keys", site.root / "phrase"
    keys.write_text(f"[default]\naws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret_key}\n")
    phrase.write_text(passphrase + "\n")
    for path in (keys, phrase):
        path.chmod(0o600)
    site.target(
        "offsite",
        f"target: offsite\ns3: {{endpoint: '{s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}}}\n",
    )
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    dump = "dump: {command: {run: [sh, -c, 'seq 1 200000'], filename: out.txt}}"
    more = f"secrets: {{passphrase: {{file: {phrase}}}}}\n"
    site.plan("share", plan_text("share", source, dump, targets="[offsite, disk]", more=more))
    wanted = _forms(passphrase) + _forms(s3.secret_key)
    said = []
    with Watcher(wanted) as watcher:
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
    assert watcher.seen, "restic was seen at work"
    assert not watcher.found
    for arguments, text in said:
        assert not [secret for secret in wanted if secret in text], arguments
    private = {phrase, keys}
    for path in site.root.rglob("*"):
        if path.is_file() and path not in private and "cache" not in path.parts:
            data = path.read_bytes()
            assert not [secret for secret in wanted if secret in data], path


def test_the_watcher_would_have_seen_it(tmp_path: Path) -> None:
    """The negative control."""
    import subprocess

    secret = secrets.token_hex(16)
    with Watcher(_forms(secret)) as watcher:
        subprocess.run(["sh", "-c", "sleep 1", "restic", secret], check=True)
    assert watcher.found
