"""Who is who over SSH: the host by `known_hosts`, as OpenSSH reads it; we by a key file or the agent's keys.

Nothing is ever learnt on the way: an unknown host is refused, and so is a changed one. No passwords.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

from dr.errors import RefusedError
from dr.late_dataclass import dataclass

#: What a host may sign with, by the type of its key in `known_hosts`.
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
_CERTIFICATE = "-cert-v01@openssh.com"


@dataclass(frozen=True)
class HostKey:
    """A host's public key."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -lf` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def line(self) -> str:
        """The key as files have it."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


class KnownHosts:
    """What a `known_hosts` file says of one host. Raises `RefusedError` when it cannot be read."""

    def __init__(self, path: Path, host: str, port: int) -> None:
        self._path, self._port, self._host = path, port, host
        self._name = host.lower() if port == 22 else f"[{host.lower()}]:{port}"
        entries = list(_entries(_text(path, self._name), self._name))
        self._revoked = {key.blob for marker, key in entries if marker == "@revoked"}
        self._known = [key for marker, key in entries if not marker]

    def algorithms(self, offered: Sequence[str]) -> tuple[str, ...]:
        """Return the host key algorithms in the order to ask for: those of known keys first.

        Otherwise a host that has keys of several types would show one that is not the one known.
        """
        known = [name for key in self._known for name in _ALGORITHMS.get(key.kind, (key.kind,))]
        return tuple(sorted(offered, key=lambda name: name not in known))

    def check(self, key: HostKey) -> None:
        """Raise `RefusedError` unless this is the host's key."""
        shown = f"its {key.kind} key is {key.fingerprint}"
        if key.blob in self._revoked:
            raise RefusedError(
                f"the host key is revoked: {shown}",
                self._name,
                f"{self._path} marks it @revoked",
                hint="do not connect: ask who runs the host which key replaced it, and why this one is still in use",
            )
        if any(known.blob == key.blob for known in self._known):
            return
        if self._known:
            raise self._changed(shown)
        raise RefusedError(
            f"the host is unknown: {shown}",
            self._name,
            f"{self._path} does not hold it",
            hint="compare the fingerprint with what `ssh-keygen -lf` prints on the host itself for its "
            "/etc/ssh/ssh_host_*_key.pub; if they are the same, "
            f"add this line to {self._path}: {self._name} {key.line}",
        )

    def _changed(self, shown: str) -> RefusedError:
        before = ", ".join(f"{key.kind} {key.fingerprint}" for key in self._known)
        return RefusedError(
            f"the host key has CHANGED: {shown}",
            self._name,
            f"{self._path} knows {before}",
            hint="somebody may have put a machine of theirs in between: do not go on before you know. Ask who runs the "
            "host, by another way than this network, whether it was reinstalled or given new keys, and for the new "
            f"fingerprint; only if it is the same remove the old one (ssh-keygen -R '{self._name}' -f {self._path}) "
            "and add the new",
        )


def _text(path: Path, where: str) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError as error:
        raise RefusedError(
            f"the file of known hosts {path} cannot be read",
            where,
            error.strerror or "",
            hint="make it, with a line for each host; `dr` trusts no host by itself",
        ) from error


def _entries(text: str, name: str) -> Iterator[tuple[str, HostKey]]:
    """Yield marker ("" for none) and key of each line about a host."""
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if len(fields) < 3 or not _about(fields[0], name):
            continue
        try:
            yield marker, HostKey(fields[1], base64.b64decode(fields[2], validate=True))
        except binascii.Error:
            continue  # no key that a host could have


def _about(patterns: str, name: str) -> bool:
    """Whether a line's hosts are this one: plain, hashed, with `*` and `?`, and `!` for what is left out."""
    if patterns.startswith("|1|"):
        return _hashed(patterns, name)
    found = False
    for pattern in patterns.lower().split(","):
        wild = re.escape(pattern.removeprefix("!")).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(wild, name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _hashed(pattern: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


@contextmanager
def own_keys(path: Path | None) -> Iterator[Sequence[paramiko.PKey]]:
    """The keys to log in with: the file's, or all of the agent's. Raises `RefusedError` when there is none.

    A key file that is encrypted is used through the agent, when the agent holds it.
    """
    if path:
        key = _key_in(path)
        if key:
            yield [key]
            return
    agent = _agent()
    try:
        yield _encrypted(path, agent.get_keys()) if path else _all_of(agent)
    finally:
        agent.close()


def _key_in(path: Path) -> paramiko.PKey | None:
    """Return the key in a file; None when it is encrypted."""
    try:
        status = path.stat()
        if status.st_mode & 0o077 and status.st_uid == os.geteuid():
            raise RefusedError(
                f"the key {path} is open to others (mode {status.st_mode & 0o777:04o})", hint=f"chmod 600 {path}"
            )
        return paramiko.PKey.from_path(path)
    except paramiko.PasswordRequiredException:
        return None
    except TypeError as error:
        if "encrypted" in str(error) or "assword" in str(error):
            return None
        raise _no_key(path, "") from error
    except OSError as error:
        raise _no_key(path, error.strerror or "") from error
    except (paramiko.SSHException, ValueError, UnknownKeyType) as error:
        raise _no_key(path, "") from error


def _no_key(path: Path, reason: str) -> RefusedError:
    return RefusedError(
        f"the key {path} cannot be used", cause=reason or "it is not a private key", hint="make one with ssh-keygen"
    )


def _agent() -> paramiko.Agent:
    try:
        return paramiko.Agent()
    except (paramiko.SSHException, OSError) as error:
        raise RefusedError("the SSH agent gives no keys", cause=str(error), hint="see `ssh-add -l`") from error


def _all_of(agent: paramiko.Agent) -> Sequence[paramiko.PKey]:
    keys = agent.get_keys()
    if not keys:
        reason = "it holds none" if os.environ.get("SSH_AUTH_SOCK") else "SSH_AUTH_SOCK is not set: no agent runs"
        raise RefusedError(
            "the SSH agent gives no keys", cause=reason, hint="add one with ssh-add, or name a key file in the plan"
        )
    return keys


def _encrypted(path: Path, held: Sequence[paramiko.PKey]) -> Sequence[paramiko.PKey]:
    """Return the agent's key that belongs to an encrypted file."""
    try:
        blob = base64.b64decode(Path(f"{path}.pub").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        blob = b""
    found = [key for key in held if key.asbytes() == blob]
    if not found:
        raise RefusedError(
            f"the key {path} is protected by a passphrase, and nobody is asked for one here",
            cause=f"the SSH agent does not hold it, by {path}.pub",
            hint=f"add it with `ssh-add {path}`, or make a key of its own for backups, without a passphrase",
        )
    return found
