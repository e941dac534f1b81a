"""The passphrases that are made for escrow and rotation, searched for wherever they could show."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dr.run.custody import escrow
from dr.tools import age
from tests.conftest import Site, plan_text
from tests.faults.test_secrets import _forms


class Recorder:
    """Keeps the command line of every process it sees: which secrets to look for is known only afterwards."""

    def __init__(self) -> None:
        self._ended, self.lines = threading.Event(), set[bytes]()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            for name in filter(str.isdecimal, os.listdir("/proc")):
                try:
                    self.lines.add(Path("/proc", name, "cmdline").read_bytes())
                except OSError:
                    continue


@pytest.mark.slow
def test_no_passphrase_of_a_key_is_in_any_argument_log_document_or_state_file(files_site: Site) -> None:
    site, state = files_site, files_site.root / "state"
    site.escrow(True)
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, targets="[disk]"))
    secret = state / "secrets" / "share@disk.passphrase"
    said: list[str] = []
    wanted: list[str] = []

    def escrowed() -> str:
        sealed = escrow.load_sealed(state, "share", "disk") or b""
        return age.unseal(sealed, escrow.identity_here(state) or "").decode().strip()

    with Recorder() as recorder:
        for arguments in (
            ("backup", "share", "-vv"), ("keys", "rotate", "share", "-vv"),
            ("keys", "rotate", "share", "--escrow", "-vv", "--json"), ("keys", "list", "--json"), ("doctor", "--json"),
            ("status", "--json"), ("hold", "--list", "--json"), ("report", "--format", "json"), ("audit", "--json"),
        ):  # fmt: skip
            ran = site.dr(*arguments, code=None)
            said.append(ran.out + ran.err)
            wanted += [secret.read_text().strip(), escrowed()]
    wanted.append(escrow.identity_here(state) or "")
    assert len(set(wanted)) == 5, "two passphrases, two of escrow, and the identity"
    assert any(b"\0key\0add\0" in line for line in recorder.lines), "restic was seen adding a key"
    private = {secret, state / "escrow" / "identity"}
    for phrase in set(wanted):
        forms = _forms(phrase)
        assert not [line for line in recorder.lines for form in forms if form in line]
        assert not [text for text in said for form in forms if form in text.encode()]
        for path in site.root.rglob("*"):
            if path.is_file() and path not in private:
                assert not [form for form in forms if form in path.read_bytes()], path
