"""Objects taken away or spoilt: nobody says more than plain restic can restore, and nobody says less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.taken_away import Case, World, hold, make_world

#: Of 144 combinations; `python -m tests.faults.taken_away` goes through all.
SOME = (
    Case("disk", "snapshot", False, "missing", False),
    Case("versions", "snapshot", True, "missing", True),
    Case("disk", "tree", True, "missing", True),
    Case("bucket", "data", False, "missing", False),
    Case("disk", "data", False, "corrupt", True),
    Case("disk", "index", False, "missing", True),
    Case("disk", "key", True, "missing", False),
    Case("disk", "key", False, "corrupt", True),
    Case("disk", "config", False, "corrupt", True),
    Case("bucket", "config", True, "missing", True),
)


@pytest.fixture(scope="session")
def worlds(restic_program: str, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, World]:
    """One that was proven, and one that was not."""
    return {proven: make_world(tmp_path_factory.mktemp("world"), proven=proven) for proven in (False, True)}


@pytest.mark.slow
@pytest.mark.parametrize("case", SOME, ids=str)
def test_no_verb_says_more_or_less_than_plain_restic_can_restore(
    worlds: dict[bool, World], case: Case, tmp_path: Path, s3: Any
) -> None:
    hold(worlds[case.proven], case, tmp_path / "trial", s3)
