"""A database that could not be brought back since its server's disk is full: seen at the disk, whatever is said.

A server that finds no room for its log ends, and all that is heard of it is that the connection was closed.
"""

from __future__ import annotations

import errno
from contextlib import suppress

from dr.errors import DrError, SourceError
from dr.plan.units import format_bytes
from dr.run.recovery.place.restore_host import HERE
from dr.run.recovery.place.space import LARGER, Disk, disk_on
from dr.run.recovery.state import Recovery

#: With less room, in bytes, a server cannot go on: PostgreSQL takes 16 MiB for each piece of its log.
_LEAST = 32 << 20


def named(recovery: Recovery, error: DrError) -> DrError:
    """Return an error of a source with the disk that has no room left; as it is, where there is none."""
    if not isinstance(error, SourceError) or recovery.step is None:
        return error
    told = f"{error.what}: {error.cause}" if error.cause else error.what
    full = [disk for disk in _disks(recovery) if disk.free < _LEAST]
    return _full(recovery, full[0], told, where=error.where) if full else error


def of_this_host(recovery: Recovery, error: OSError) -> DrError | None:
    """Return what a fault of reading or writing here means where a disk is full; None where it says something else."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    disks = [*_disks(recovery), *filter(None, [disk_on(HERE.host, recovery.root)])]
    return _full(recovery, min(disks, key=lambda disk: disk.free), error.strerror or "") if disks else None


def _full(recovery: Recovery, disk: Disk, told: str, *, where: str = "") -> DrError:
    what = f"the disk is full: {format_bytes(disk.free)} left at {disk.where}"
    hint = LARGER if recovery.request.in_sandbox else "free some space there, then try again"
    return SourceError(what, where, told, hint)


def _disks(recovery: Recovery) -> list[Disk]:
    """Return the disks that servers write to, as far as they can be seen."""
    site, found = recovery.site, list[Disk | None]()
    with suppress(DrError, OSError):
        if recovery.request.in_sandbox:
            found.append(disk_on(site.land.host, site.servers))
        for place in [instance.data_place() for instance in recovery.instances.values() if recovery.request.real]:
            found.append(disk_on(*place) if place else None)
    return [disk for disk in found if disk]
