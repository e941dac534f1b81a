"""What several of these stories begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.forgetful import Story, copy_of, make_five
from tests.forked import Forker


@pytest.fixture(scope="session")
def _five(tmp_path_factory: pytest.TempPathFactory, restic_program: str, forker: Forker) -> Story:
    return make_five(tmp_path_factory.mktemp("forget"), restic_program, forker)


@pytest.fixture
def expired(_five: Story, tmp_path: Path) -> Story:
    """A replica that holds two points which its primary has dropped; see `make_five`."""
    return copy_of(_five, tmp_path)
