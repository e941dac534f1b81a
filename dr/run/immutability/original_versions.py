"""The original version of each stored object: the one whose SHA-256 is its name, whatever came over it since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dr.tools.s3_versions import S3Versions
from dr.tools.store import Version
from dr.tools.view import by_name, hash_in

#: Set behind the name of an object of which a second version is kept.
OLDEST = "?oldest"


def originals(bucket: S3Versions, versions: Iterable[Version]) -> Mapping[str, Version]:
    """Return by name the version to keep: the oldest, as restic writes each object once.

    Where versions of one name differ, they are read, oldest first, until one has the hash that is its name. `config`
    bears no hash, and one may be of a repository that was begun anew: its newest version is kept, and the oldest too.
    """
    grouped = by_name(version for version in versions if not version.marker)
    kept = {name: _original(bucket, name, several) for name, several in grouped.items()}
    if len(several := grouped.get("config", [])) > 1:
        kept["config" + OLDEST] = kept["config"]
        kept["config"] = max(reversed(several), key=lambda version: (version.latest, version.modified))
    return kept


def object_name(key: str) -> str:
    """Return the name of the object that a key of `originals` stands for."""
    return key.removesuffix(OLDEST)


def _original(bucket: S3Versions, name: str, oldest_first: Sequence[Version]) -> Version:
    promised = hash_in(name)
    if promised and len({(version.size, version.etag) for version in oldest_first}) > 1:
        for version in oldest_first:
            if bucket.sha256_of(version) == promised:
                return version
    return oldest_first[0]
