"""Faults are provoked with restic as it is, also where a key takes its time."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def restic_program(plain_restic: str) -> str:
    """The plain restic."""
    return plain_restic
