"""Databases that a recovery put beside others: under names of its own, which no person gives."""

from __future__ import annotations

import re

#: NAME_before_RECOVERY, NAME_dr_RECOVERY: with the id of the recovery, or its end.
_OURS = re.compile(r"_(?:before|dr|try)_[\w-]{0,16}\d{8}T\d{6}Z[_-][0-9a-f]{6}$")


def is_kept(database: str) -> bool:
    """Whether a database is one that a recovery replaced and kept, or had not put in its place."""
    return _OURS.search(database) is not None
