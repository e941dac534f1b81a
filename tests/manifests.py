"""Manifests of made-up entries, with their lines in order as captures write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dr.evidence import manifest
from dr.evidence.manifest import Entry


def write_sorted(path: Path, header: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """Write a manifest with its entries in the order of their lines, which its header says."""
    manifest.write_lines(path, {**header, manifest.SORTED: True}, sorted(map(manifest.line_of, entries)))
