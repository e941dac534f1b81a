"""Workers find the modules of tests compiled."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests import compiled


def test_what_is_compiled_once_is_not_stale_until_it_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "test_one.py"
    module.write_text("def test_one():\n    assert True\n")
    os.utime(module, (1e9, 1e9))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    places = [str(tmp_path), f"{module}::test_one"]
    assert compiled.stale(places) == [module, module]
    compiled.compile_once(places)
    assert compiled.stale(places) == [module, module], "so few that workers do it"
    monkeypatch.setattr(compiled, "FEW", 1)
    compiled.compile_once(places)
    assert compiled.stale(places) == []
    os.utime(module)
    assert compiled.stale(places[1:]) == [module]
