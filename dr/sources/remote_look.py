"""A look at the declared paths on another host: what is there, what is mounted, what a backup would leave out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dr.errors import SourceError
from dr.evidence.record import Omission
from dr.plan.source_kinds import FilesSource
from dr.sources import mounts
from dr.sources.files import RemoteSourceHost, cleaned, foreseen, look
from dr.sources.mounts import Mounted
from dr.sources.walk import Excluded
from dr.tools.sftp import Sftp, Status

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko


def foreseen_there(name: str, declared: FilesSource, host: SshHost, mounted: Mounted) -> tuple[Omission, ...]:
    """Return what a capture of another host's files would not take; see `dr.sources.files.foreseen`."""
    with host.files() as session:
        there = RemoteSourceHost(host.name, lambda path: session.lstat(path).mode, session.readlink)
        return foreseen(name, declared, mounted, declared.exclude, host=there)


def mounted_there(name: str, declared: FilesSource, host: SshHost, session: Sftp) -> Mounted:
    """Return what is mounted there. Raises `SourceError` where nobody can say and the plan must know."""
    try:
        with session.open(os.fsencode(mounts.TABLE)) as opened:
            table = b"".join(opened.blocks(0))
    except OSError:
        table = b""
    if not table and declared.one_filesystem:
        raise SourceError(
            f"{host.name} does not say what is mounted there ({mounts.TABLE}), as `one_filesystem` needs",
            name,
            hint="take `one_filesystem` out of the plan, and exclude what is mounted below",
        )
    return mounts.mounted(table, map(os.fsencode, cleaned(declared.paths)))


def look_there(
    name: str, declared: FilesSource, host: SshHost, session: Sftp, excluded: Excluded
) -> tuple[list[tuple[bytes, Status]], list[str]]:
    """Split the declared paths as `dr.sources.files.look` does; of those to capture, return what the host says too."""
    seen: dict[bytes, Status] = {}

    def mode(path: bytes) -> int:
        seen[path] = session.lstat(path)
        return seen[path].mode

    there, missing = look(name, declared.paths, excluded, RemoteSourceHost(host.name, mode, session.readlink))
    return [(path, seen[path]) for path in map(os.fsencode, there)], missing
