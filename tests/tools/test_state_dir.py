"""The state directory: its drawers are for its owner alone, and its locks hold between processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dr.errors import DrError, LockedError
from dr.tools.state_dir import StateDir


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "far" / "below")
    state.make()
    made = [state.path, state.secrets, state.cache, state.work, state.sandboxes, state.details, state.escrow]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700] * len(made)
    (state.secrets / "kept").write_text("x")
    state.make()
    assert (state.secrets / "kept").read_text() == "x", "what is there stays"


def test_a_file_in_its_place_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DrError, match="the state directory cannot be made") as caught:
        StateDir(tmp_path / "file" / "state").make()
    assert "move it away" in caught.value.hint and "--state" in caught.value.hint


def test_it_is_a_path_to_who_asks_for_one_and_equal_by_it(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert os.fspath(state) == str(state) == str(tmp_path) and str(tmp_path) in repr(state)
    assert (
        state == StateDir(Path(str(tmp_path))) != StateDir(tmp_path / "other") and len({state, StateDir(tmp_path)}) == 1
    )


def test_a_lock_is_held_once_and_freed(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with state.hold("sis", what="sis is in use"):
        assert state.is_held("sis") and not state.is_held("other")
        with pytest.raises(LockedError, match=r"in use.*process"), state.hold("sis", what="sis is in use"):
            pass
    assert not state.is_held("sis")
