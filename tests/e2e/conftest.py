"""What several of these stories begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.expiring import Expiring, another, make_expiring
from tests.e2e.forgetful import Story, copy_of, make_five
from tests.forked import Forker


@pytest.fixture(scope="session")
def _five(tmp_path_factory: pytest.TempPathFactory, restic_program: str, forker: Forker) -> Story:
    return make_five(tmp_path_factory.mktemp("forget"), restic_program, forker)


@pytest.fixture
def expired(_five: Story, tmp_path: Path) -> Story:
    """A replica that holds two points which its primary has dropped; see `make_five`."""
    return copy_of(_five, tmp_path)


@pytest.fixture(scope="session")
def _expiring(tmp_path_factory: pytest.TempPathFactory, restic_program: str, forker: Forker) -> Expiring:
    return make_expiring(tmp_path_factory.mktemp("expiring"), restic_program, forker)


@pytest.fixture
def five(_expiring: Expiring, tmp_path: Path) -> Expiring:
    """Five points, a day apart, all proven, of which retention keeps two; see `make_expiring`."""
    return another(_expiring, tmp_path)
