"""Hashes of files on an agent's host, taken there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dr.evidence.attributes import digest_of
from dr.evidence.manifest import Entry
from dr.sources.attributes import Attributes, attributes_there
from dr.sources.files import entry_of
from dr.sources.last_hashes import LastHashes
from dr.sources.listing import hash_files
from dr.sources.sorted_lines import status_of

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko

#: So many files are hashed, and asked for their attributes, at a time.
_BATCH = 10_000


class Hashing:
    """Hashes files there, so many at a time, but for those whose hash is known; and asks for their attributes.

    `told`: whether that host's programs told of attributes.
    """

    def __init__(self, host: SshHost, cores: int, reuse: Path | None) -> None:
        self._host, self._last, self.told = host, LastHashes(reuse), True
        self._at_once = min(cores, host.login.at_once)

    def passing(self, found: Iterator[Entry]) -> Iterator[Entry]:
        """Yield what was found, in its order, with what is known of it now."""
        while batch := list(islice(found, _BATCH)):
            entries = self._known(batch)
            todo = [entry.path for entry in entries if entry.kind == "file" and entry.sha256 is None]
            digests = hash_files(self._host, todo, at_once=self._at_once)
            for entry in entries:
                yield entry._replace(sha256=digests[entry.path]) if entry.path in digests else entry

    def _known(self, batch: list[Entry]) -> list[Entry]:
        marked = attributes_there(self._host, [entry.path for entry in batch]) if self.told else None
        self.told = marked is not None
        digests = _digests(marked)
        links = {each.path: each.link_target for each in batch}
        return [
            entry_of(each.path, status_of(each), self._last, read_link=links.get, attributes=digests) for each in batch
        ]


def _digests(marked: Mapping[bytes, Attributes] | None) -> Callable[[bytes], str | None]:
    known = {path: digest_of(found) for path, found in (marked or {}).items()}
    return known.get
