"""What a daemon keeps of the declarations: read again when a file was touched, and after a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dr.plan.declarations import Declarations
from dr.plan.unchanged import AGAIN, Unchanged, stamp_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for folder in ("plans", "targets"):
        (tmp_path / folder).mkdir()
    (tmp_path / "plans" / "sis.yaml").write_text("system: sis\n")
    return tmp_path


def _touch(config: Path, act: str) -> None:
    plan = config / "plans" / "sis.yaml"
    match act:
        case "edited":
            plan.write_text("system: sos\n")
        case "replaced by one that looks the same":
            new = config / "plans" / "new"
            new.write_text(plan.read_text())
            new.replace(plan)
        case "another came":
            (config / "targets" / "disk.yml").write_text("target: disk\n")
        case "one went":
            plan.unlink()
        case "a link into nowhere came":
            (config / "plans" / "odd.yaml").symlink_to(config / "nowhere")


@pytest.mark.parametrize(
    "act", ["edited", "replaced by one that looks the same", "another came", "one went", "a link into nowhere came"]
)
def test_declarations_are_read_again_when_a_file_was_touched(config: Path, act: str) -> None:
    kept, found = Unchanged(), Declarations(config, {}, {}, ())
    kept.keep(found, stamp_of(config), now=NOON)
    assert kept.same(stamp_of(config), now=NOON + timedelta(minutes=1)) is found
    _touch(config, act)
    assert kept.same(stamp_of(config), now=NOON + timedelta(minutes=1)) is None


def test_declarations_are_read_again_after_a_while_and_when_the_clock_jumps(config: Path) -> None:
    kept, found = Unchanged(), Declarations(config, {}, {}, ())
    assert kept.same(stamp_of(config), now=NOON) is None
    kept.keep(found, stamp_of(config), now=NOON)
    assert kept.same(stamp_of(config), now=NOON + AGAIN) is None
    assert kept.same(stamp_of(config), now=NOON - AGAIN) is None


def test_a_directory_that_cannot_be_looked_at_is_never_taken_for_unchanged(config: Path) -> None:
    kept = Unchanged()
    (config / "targets").rmdir()
    assert stamp_of(config) == ()
    kept.keep(Declarations(config, {}, {}, ()), stamp_of(config), now=NOON)
    assert kept.same(stamp_of(config), now=NOON) is None
