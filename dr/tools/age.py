"""age: sealing small secrets for who holds an identity elsewhere. Sole user of pyrage.

The format is that of https://age-encryption.org/v1, so that the program `age` alone opens what is sealed here.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyrage  # type: ignore[import-untyped]

from dr.errors import DrError, RefusedError

_NO_IDENTITY = "put in an age identity: one line that begins with AGE-SECRET-KEY-1"


def new_identity() -> tuple[str, str]:
    """Return a new X25519 pair: the identity, which opens and is secret, and the recipient, which seals."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def recipient_of(identity: str) -> str:
    """Return the recipient whose sealings an identity opens; `RefusedError` when it is none."""
    try:
        return str(pyrage.x25519.Identity.from_str(identity.strip()).to_public())
    except pyrage.IdentityError:
        raise RefusedError("this is not an age identity", hint=_NO_IDENTITY) from None


def seal(data: bytes, recipients: Sequence[str]) -> bytes:
    """Return data that any of the recipients' identities opens, and nothing else; `DrError` for a faulty one."""
    try:
        whom = [pyrage.x25519.Recipient.from_str(each.strip()) for each in recipients]
        return bytes(pyrage.encrypt(data, whom))
    except (pyrage.RecipientError, pyrage.EncryptError):
        raise DrError(
            "sealing failed: a recipient is not one of age",
            ", ".join(recipients),
            hint="a recipient is one line that begins with age1",
        ) from None


def unseal(data: bytes, identity: str) -> bytes:
    """Return what was sealed. `RefusedError` when the identity is none, is another's, or the data is damaged."""
    try:
        whose = pyrage.x25519.Identity.from_str(identity.strip())
    except pyrage.IdentityError:
        raise RefusedError("this is not an age identity", hint=_NO_IDENTITY) from None
    try:
        return bytes(pyrage.decrypt(data, [whose]))
    except pyrage.DecryptError:
        raise RefusedError(
            "the identity does not open what was sealed: it was sealed for another, or it is damaged",
            hint="use the identity of the newest kit, and compare what was sealed with its copy beside the repository",
        ) from None
