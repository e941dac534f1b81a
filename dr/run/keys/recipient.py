"""For whom escrow passphrases are sealed, and whether this host still holds the secret."""

from __future__ import annotations

import logging
from pathlib import Path

from dr.errors import RefusedError
from dr.tools.secrets import write_private
from dr.tools.state_dir import StateDir

log = logging.getLogger("dr.escrow")

#: In the place of a recipient: no escrow is wanted.
OFF = "none"


def recipient_of(state: StateDir, *, make: bool = True) -> str | None:
    """Return for whom escrow passphrases are sealed; None when escrow is switched off.

    On first use a pair is made, unless `make` is False; its identity stays in the state until a kit has taken it.
    Safe to call at once twice.
    """
    path = state.escrow / "recipient"
    if (named := _line(path)) is not None:
        return None if named == OFF else named
    from dr.tools import age

    secret = identity_here(state)
    if secret is None and not make:
        return None
    if secret is None:
        try:
            write_private(path.with_name("identity"), age.new_identity()[0].encode() + b"\n", replace=False)
        except FileExistsError:
            log.info("another run has made the identity")
        secret = identity_here(state)
    recipient = age.recipient_of(secret or "")
    write_private(path, recipient.encode() + b"\n")
    return recipient


def identity_here(state: StateDir) -> str | None:
    """Return the secret identity while it still lies in the state; None once a kit has taken it."""
    return _line(state.escrow / "identity")


def _line(path: Path) -> str | None:
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise RefusedError("a file of the escrow cannot be read", str(path), reason, hint="see its rights") from error
    return text or None
