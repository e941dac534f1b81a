"""The original version of each stored object: the one whose SHA-256 is its name, whatever came over it since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from dr.tools.s3_versions import S3Versions
from dr.tools.store import Version
from dr.tools.view import by_name, hash_in

#: Set behind the name of an object of which a second version is kept.
OLDEST = "?oldest"
#: A name, the version of it to keep, and whether a reader is given some version of it now.
Original = tuple[str, Version, bool]


def originals(bucket: S3Versions, versions: Iterable[Version]) -> Iterator[Original]:
    """Yield of each name the version to keep: the oldest, as restic writes each object once.

    The versions of one name must come one behind the other. Where they differ, they are read, oldest first, until one
    has the hash that is its name. `config` bears no hash, and one may be of a repository that was begun anew: its
    newest version is kept, and the oldest too.
    """
    data = (version for version in versions if not version.marker)
    for name, group in groupby(data, key=lambda version: version.name):
        several = by_name(group)[name]
        oldest, on_top = _original(bucket, name, several), any(version.latest for version in several)
        if name == "config" and len(several) > 1:
            newest = max(reversed(several), key=lambda version: (version.latest, version.modified))
            yield name, newest, on_top
            yield name + OLDEST, oldest, False
        else:
            yield name, oldest, on_top


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
