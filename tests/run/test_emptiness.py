"""Whether what was brought back holds nothing is told by the data alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from dr.run.recovery.checks.context import Restored
from dr.run.recovery.emptiness import of_restored
from dr.run.recovery.place.restore_host import HERE


@pytest.mark.parametrize("dump", [b"", b"\n", b"-- a dump\n", b"create table t (id int);\n"])
def test_accounts_beside_a_dump_never_change_whether_it_holds_nothing(tmp_path: Path, dump: bytes) -> None:
    (tmp_path / "all.sql").write_bytes(dump)
    item = Restored(name="db", kind="postgres", root=tmp_path, instance=Mock(), files=1, listed=1, bytes=len(dump))
    alone = of_restored(item, HERE)
    assert bool(alone) == (b"table" not in dump)
    (tmp_path / "globals.sql").write_text("create role reader;\n")
    assert of_restored(replace(item, beside=frozenset({"globals.sql"})), HERE) == alone
