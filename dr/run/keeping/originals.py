"""The original version of each stored object: the one whose SHA-256 is its name, whatever came over it since."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from dr.errors import DamageError
from dr.tools.s3_bucket import S3Bucket, Version

_HASH = re.compile(r"(?:.*/)?([0-9a-f]{64})")
#: Set behind the name of an object of which a second version is kept.
OLDEST = "?oldest"


def originals(bucket: S3Bucket, versions: Iterable[Version]) -> Mapping[str, Version]:
    """Return by name the version to keep: the oldest, as restic writes each object once.

    Where versions of one name differ, they are read, oldest first, until one has the hash that is its name. `config`
    bears no hash, and one may be of a repository that was begun anew: its newest version is kept, and the oldest too.
    """
    grouped: dict[str, list[Version]] = {}
    for version in versions:
        if not version.marker:
            grouped.setdefault(version.name, []).append(version)
    kept = {name: _original(bucket, name, several) for name, several in grouped.items()}
    if len(several := grouped.get("config", [])) > 1:
        kept["config" + OLDEST] = kept["config"]
        kept["config"] = max(several, key=lambda version: (version.current, version.modified))
    return kept


def object_name(key: str) -> str:
    """Return the name of the object that a key of `originals` stands for."""
    return key.removesuffix(OLDEST)


def _original(bucket: S3Bucket, name: str, several: Sequence[Version]) -> Version:
    oldest_first = list(several)[::-1]  # lists give the newest first; sorting keeps the order of equal seconds
    oldest_first.sort(key=lambda version: version.modified)
    named = _HASH.fullmatch(name)
    if named and len({(version.size, version.etag) for version in several}) > 1:
        for version in oldest_first:
            if _is_named(bucket, version, named[1]):
                return version
    return oldest_first[0]


def _is_named(bucket: S3Bucket, version: Version, digest: str) -> bool:
    try:
        data = bucket.get_version(version.name, version.version_id)
    except DamageError:
        return False
    return hashlib.sha256(data).hexdigest() == digest
