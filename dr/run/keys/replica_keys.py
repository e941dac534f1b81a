"""Keys at the replicas: copied there before the passphrase is switched, and taken away there with the old one.

A replica is the primary's repository, object for object, and opens with the passphrase in use. Copying brings new
keys with the next replication; a rotation cannot wait so long, and a copy alone would never lose its old key.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dr.errors import DrError, InterruptedRunError
from dr.run.points.presence import refuse_exchanged
from dr.run.workspace.toolbox import Place

log = logging.getLogger("dr.keys")


def hand_on(primary: Place, replicas: Sequence[Place], key: str) -> list[str]:
    """Copy a key to the replicas; return the names of those that do not have it then. May be called any time.

    One that holds nothing lacks it too: it may be the empty mount point of a disk that needs the old passphrase.
    """
    lacking = []
    for replica in replicas:
        try:
            replica.reach()
            refuse_exchanged(replica)
            if not replica.store.exists("config") or not _brought(primary, replica, f"keys/{key}", key):
                lacking.append(replica.name)
        except InterruptedRunError:
            raise
        except DrError as error:
            log.warning("%s: the new key is not there yet: %s", replica.repository.where, error)
            lacking.append(replica.name)
    return lacking


def _brought(primary: Place, replica: Place, name: str, sha256: str) -> bool:
    """Whether it is there now: what is damaged at the primary is not copied."""
    return replica.store.exists(name) or replica.store.take(name, primary.store, sha256=sha256)


def take_back(replicas: Sequence[Place], key: str) -> list[str]:
    """Remove a key from the replicas; return the names of those where it is still there."""
    left = []
    for replica in replicas:
        try:
            refuse_exchanged(replica)
            if replica.store.exists(f"keys/{key}"):
                replica.store.remove(f"keys/{key}")
        except InterruptedRunError:
            raise
        except DrError as error:
            log.warning("%s: the old key is still there: %s", replica.repository.where, error)
            left.append(replica.name)
    return left
