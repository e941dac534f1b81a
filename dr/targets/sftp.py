"""The target kind `sftp`: a directory of another host, for restic by `ssh` and for us by our own SFTP."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dr.errors import UsageError
from dr.evidence.posture import Finding, Probe
from dr.plan.host import SshHost, split_address
from dr.sources.hosts import open_host
from dr.targets.driver import ByHand, Opened, TargetDriver, access
from dr.targets.plain_probe import probe_plain
from dr.tools.erase import Eraser, StoreEraser
from dr.tools.sftp_store import FileHost, SftpSession, SftpStore
from dr.tools.store import ObjectStore

if TYPE_CHECKING:
    from dr.plan.target_plain import SftpPlace

#: Seconds of silence after which ssh asks whether the host still answers; it gives up after three.
_ALIVE = 15


class SftpDriver(TargetDriver):
    """A directory of another host."""

    can_probe = True

    @property
    def _declared(self) -> SftpPlace:
        return cast("SftpPlace", self.target.declared)

    @property
    def _key(self) -> Path | None:
        carried = self._state.carried_keys(self.name) if self._state else None
        return carried if carried and carried.is_file() else self._declared.login_key

    @property
    def _known_hosts(self) -> Path:
        carried = self._state.carried_authorities(self.name) if self._state else None
        return carried if carried and carried.is_file() else self._declared.hosts_file

    def open(self, *, seen: bool = False) -> Opened:
        """See `TargetDriver`."""
        user, host, port = split_address(self._declared.ssh)
        name = f"{user or ''}{'@' if user else ''}{host}" + (f":{port}" if port != 22 else "")
        store = SftpStore(SftpSession(self._host, self.meter), name, self._declared.path)
        env = {"SSH_AUTH_SOCK": agent} if not self._key and (agent := os.environ.get("SSH_AUTH_SOCK")) else {}
        options = self._options(str(self._key) if self._key else "", str(self._known_hosts))
        return Opened(store=store, location=self._location, env=env, options=options)

    def _host(self) -> FileHost:
        declared = self._declared
        login = SshHost(
            ssh=declared.ssh,
            known_hosts=self._known_hosts,
            key=self._key,
            connect_timeout=declared.connect_timeout,
        )
        host = open_host(login)
        if not hasattr(host, "files"):
            raise UsageError("the host is this one", declared.ssh, hint="use a local target")
        return cast("FileHost", host)

    @property
    def _location(self) -> str:
        user, host, port = split_address(self._declared.ssh)
        named = f"[{host}]" if ":" in host else host
        return f"sftp://{f'{user}@' if user else ''}{named}:{port}/{self._declared.path}"

    def _options(self, key: str, known_hosts: str) -> tuple[str, ...]:
        """Return how restic calls ssh: with that key, for that host, and nothing of the user's own configuration."""
        settings = {
            "UserKnownHostsFile": f'"{known_hosts}"' if " " in known_hosts else known_hosts,
            "GlobalKnownHostsFile": "none",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": str(self._declared.connect_timeout),
            "ServerAliveInterval": str(_ALIVE),
        }
        own = ["-i", key, "-o", "IdentitiesOnly=yes"] if key else []
        argv = ["-F", "none", *own, *(part for pair in settings.items() for part in ("-o", "=".join(pair)))]
        return (_one_field(f"sftp.args={shlex.join(argv)}"),)

    def look(self, now: datetime, below: str) -> Iterator[Finding]:
        """See `TargetDriver`."""
        posture = self.open().store.preflight()
        if shutil.which("ssh") is None:
            hint = "install openssh-client on this host"
            yield Finding(what="ssh", severity="high", observed="not found here, and restic calls it", hint=hint)
        yield Finding(what="login", severity="ok", observed=f"by key, at a host that {self._known_hosts} knows")
        hint = f"let nobody but its owner in: chmod 700 {self._declared.path} on that host"
        closed = "its owner, and perhaps a group"
        yield access(posture, others="other users of that host may look in", closed=closed, hint=hint)
        hint = "keep another copy in a bucket with Object Lock, or on a disk that is taken offline"
        observed = "none that SFTP could tell of: see the probe for what this login may delete"
        yield Finding(what="locks", severity="low", observed=observed, hint=hint)

    def carry(self, env: Mapping[str, str], left_out: list[str]) -> dict[str, bytes]:
        """See `TargetDriver`. The private key goes along, and the file that knows the host."""
        contents: dict[str, bytes] = {}
        for name, path in ((f"keys/{self.name}", self._key), (f"authorities/{self.name}", self._known_hosts)):
            if path is None:
                left_out.append(f"the SSH key of {self.name}: it is in an agent, and no file")
                continue
            try:
                contents[name] = path.read_bytes()
            except OSError as error:
                left_out.append(f"{path} of {self.name}: {error.strerror}")
        return contents

    def by_hand(self) -> ByHand:
        """See `TargetDriver`."""
        key = f"keys/{self.name}" if self._declared.login_key else ""
        return ByHand(location=self._location, options=self._options(key, f"authorities/{self.name}"))

    def tidy(self, store: ObjectStore) -> int:
        """See `TargetDriver`."""
        return store.tidy() if isinstance(store, SftpStore) else 0

    def eraser(self, store: ObjectStore) -> Eraser:
        """See `TargetDriver`."""
        return StoreEraser(store)

    def probe(self, now: datetime) -> Probe | None:
        """See `TargetDriver`."""
        return probe_plain(self.open().store, now, hint="keep another copy that this login cannot reach")


def _one_field(option: str) -> str:
    """Return an option as restic takes it for one: it reads them as a line of CSV."""
    return '"' + option.replace('"', '""') + '"' if set(option) & set(',"') else option
