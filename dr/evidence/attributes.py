"""ACLs and extended attributes of one file as a digest: who may read it is not told by owner and mode alone. Pure.

POSIX ACLs are compared by meaning, everything else by its bytes. What belongs to one machine or one file system
(SELinux labels, checksums of the kernel, overlays) is left out: no restore is to bring it back.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

_ACLS = frozenset({"system.posix_acl_access", "system.posix_acl_default"})
_SECURITY = frozenset({"security.capability", "security.NTACL"})
_NOT_DATA = ("trusted.overlay.",)
#: An ACL's version and one entry: tag, permissions, id (Linux, `posix_acl_xattr.h`).
_VERSION, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_NAMED = (0x02, 0x08)  # the tags of an entry for one user, or one group
_OF_THE_MODE = frozenset({0x01, 0x04, 0x20})


def covers(name: str) -> bool:
    """Whether an attribute is one that a restore is to bring back."""
    if name in _ACLS or name in _SECURITY:
        return True
    return name.startswith(("user.", "trusted.")) and not name.startswith(_NOT_DATA)


def digest_of(found: Mapping[str, bytes]) -> str | None:
    """Return one digest of a file's attributes, by name; None when it has none that count."""
    kept = [(name, _canonical(name, value)) for name, value in sorted(found.items()) if covers(name)]
    whole = [(name.encode("utf-8", "surrogateescape"), value) for name, value in kept if value is not None]
    if not whole:
        return None
    digest = hashlib.sha256()
    for name, value in whole:
        digest.update(b"%d:%b%d:%b" % (len(name), name, len(value), value))
    return digest.hexdigest()[:32]


def _canonical(name: str, value: bytes) -> bytes | None:
    """Return an ACL with its entries in order, and what it does not mean left out; None when the mode says it all."""
    if name not in _ACLS or (len(value) - _VERSION.size) % _ENTRY.size:
        return value
    entries = sorted(
        (tag, allowed, who if tag in _NAMED else 0) for tag, allowed, who in _ENTRY.iter_unpack(value[_VERSION.size :])
    )
    if name == "system.posix_acl_access" and {tag for tag, _, _ in entries} <= _OF_THE_MODE:
        return None
    return b"".join(_ENTRY.pack(*entry) for entry in entries)
