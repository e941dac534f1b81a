"""The passphrases that are made for escrow and rotation, searched for wherever they could show."""

from __future__ import annotations

import pytest

from dr.run.keys import escrow
from dr.run.keys.recipient import identity_here
from dr.tools import age
from dr.tools.state_dir import StateDir
from tests.conftest import Site, plan_text
from tests.faults.planted import CommandLines, files_showing, forms


@pytest.mark.long
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
        sealed = escrow.load_sealed(StateDir(state), "share", "disk") or b""
        return age.unseal(sealed, identity_here(StateDir(state)) or "").decode().strip()

    with CommandLines() as seen:
        for arguments in (
            ("backup", "share", "-vv"), ("keys", "rotate", "share", "-vv"),
            ("keys", "rotate", "share", "--escrow", "-vv", "--json"), ("keys", "list", "--json"), ("doctor", "--json"),
            ("status", "--json"), ("hold", "--list", "--json"), ("report", "--format", "json"), ("audit", "--json"),
        ):  # fmt: skip
            ran = site.dr(*arguments, code=None)
            said.append(ran.out + ran.err)
            wanted += [secret.read_text().strip(), escrowed()]
    wanted.append(identity_here(StateDir(state)) or "")
    assert len(set(wanted)) == 5, "two passphrases, two of escrow, and the identity"
    assert seen.showing([b"\0key\0add\0"]), "restic was seen adding a key"
    words = forms(*set(wanted))
    assert not seen.showing(words)
    assert not [text for text in said for word in words if word in text.encode()]
    assert not files_showing(words, site.root, private={secret, state / "escrow" / "identity"})
