"""What lies beside the plans and is not read is said by every command; what cannot be read fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dr.catalog.store import Catalog
from dr.errors import Fault
from dr.plan.load import load
from dr.tools.state_dir import StateDir
from tests.conftest import Site

SAMPLES = Path(__file__).parents[1] / "samples"
ENV = {"DR_KEY_ID": "x", "DR_KEY": "y", "DR_SIS_PASSPHRASE": "z"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration without a fault."""
    return Path(shutil.copytree(SAMPLES / "good", tmp_path / "config"))


def unread(config: Path) -> dict[str, Fault]:
    found = load(config, env=ENV)
    assert [fault for fault in found.faults if fault.fails] == []
    return {str(Path(fault.where).relative_to(config)): fault for fault in found.unread}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("plans/PAYROLL.YAML", "name it PAYROLL.yaml, or move it elsewhere"),
        ("plans/payroll.Yml", "name it payroll.yaml, or move it elsewhere"),
        ("plans/sis.yaml.bak", "move it elsewhere, since sis.yaml is there"),
        ("plans/sis.yaml~", "move it elsewhere, since sis.yaml is there"),
        ("plans/.payroll.yaml", "name it payroll.yaml, or move it elsewhere"),
        ("plans/.sis.yaml.swp", "move it elsewhere, since sis.yaml is there"),
        ("plans/payroll", "name it payroll.yaml, or move it elsewhere"),
        ("plans/payroll.yaml.disabled", "name it payroll.yaml, or move it elsewhere"),
        ("plans/payroll.json", "name it payroll.yaml, or move it elsewhere"),
        ("plans/sis", "move it elsewhere, since sis.yaml is there"),
        ("targets/tape.txt", "name it tape.yaml, or move it elsewhere"),
        ("kit.yml", "move it elsewhere"),
    ],
)
def test_a_file_that_is_not_read_is_said(name: str, hint: str, config: Path) -> None:
    (config / name).write_text("system: payroll\n")
    assert {where: fault.hint for where, fault in unread(config).items()} == {name: hint}


def test_a_directory_and_a_dangling_link_are_said_too(config: Path) -> None:
    (config / "plans" / "old").mkdir()
    (config / "plans" / "old" / "payroll.yaml").write_text("system: payroll\n")
    (config / "plans" / "payroll").symlink_to("nowhere")
    (config / "Plans").mkdir()
    assert unread(config).keys() == {"plans/old", "plans/payroll", "Plans"}


def test_a_pipe_is_said_and_holds_nobody_up(config: Path) -> None:
    os.mkfifo(config / "plans" / "sis")
    assert unread(config).keys() == {"plans/sis"}


def test_readmes_and_the_programs_that_a_plan_names_are_not_said(config: Path) -> None:
    for name in ("README", "README.md", "readme.txt", ".gitignore", "count-them"):
        (config / "plans" / name).write_text("")
    (config / "plans" / "probes").mkdir()
    (config / "plans" / "probes" / "alive").write_text("")
    plan = config / "plans" / "directory.yaml"
    assert unread(config).keys() == {"plans/count-them", "plans/probes"}
    hooks = "hooks: {capture: {before: [./count-them, probes/alive]}}\n"
    plan.write_text(plan.read_text() + hooks)
    assert unread(config) == {}
    with Catalog.open(StateDir(config)) as kept:  # the same of a plan that is known from before
        load(config, cache=kept, env=ENV)
        assert load(config, cache=kept, env=ENV).unread == ()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "this is a pipe"),
        (os.mkdir, "this is a directory"),
        (lambda path: Path(path).symlink_to("/dev/zero"), "this is a device"),
        (lambda path: Path(path).symlink_to("nowhere"), "the file cannot be read"),
        (lambda path: Path(path).symlink_to(path), "the file cannot be read"),
        (lambda path: Path(path).write_bytes(b"system: \xff\n"), "the file is not UTF-8 text"),
    ],
)
def test_what_bears_a_plans_name_and_cannot_be_read_fails(
    make: Callable[[Path], object], said: str, config: Path
) -> None:
    make(config / "plans" / "payroll.yaml")
    found = [fault.what for fault in load(config, env=ENV).faults if fault.severity == "refused"]
    assert len(found) == 1
    assert found[0].startswith(said)


def test_plans_that_are_not_a_directory_fail(config: Path) -> None:
    shutil.rmtree(config / "plans")
    (config / "plans").write_text("")
    assert any("cannot be read" in fault.what for fault in load(config, env=ENV).faults)


def test_two_files_for_one_system_stop_it_also_when_both_are_known_from_before(config: Path) -> None:
    shutil.copy(config / "plans" / "sis.yaml", config / "plans" / "sis2.yaml")
    with Catalog.open(StateDir(config)) as kept:
        for _ in range(2):
            found = load(config, cache=kept, env=ENV)
            assert [Path(fault.file).name for fault in found.stopping(["sis"])] == ["sis2.yaml"]
            assert found.stopping(["library"]) == ()


@pytest.mark.parametrize(
    "command", ["validate", "backup --all", "run", "status", "points", "verify --all", "daemon --once"]
)
def test_every_command_that_reads_plans_says_what_it_does_not_read_once(command: str, files_site: Site) -> None:
    (files_site.root / "config" / "plans" / "SIS.YAML").write_text("system: sis\n")
    ran = files_site.dr(*command.split(), code=None)
    assert ran.err.count("SIS.YAML") == 1
    assert "SIS.YAML: this file is not read: its name does not end in .yaml or .yml. Name it SIS.yaml" in ran.err
    assert ran.code == (1 if command.startswith("verify") else 0)


def test_the_document_has_it_and_doctor_degrades(files_site: Site) -> None:
    (files_site.root / "config" / "plans" / "SIS.YAML").write_text("system: sis\n")
    [warning] = files_site.dr("--json", "status").document["warnings"]
    assert warning["where"].endswith("SIS.YAML")
    ran = files_site.dr("--json", "doctor", code=None)
    outcomes = {found["outcome"] for found in ran.document["findings"] if found["what"].endswith("SIS.YAML")}
    assert outcomes == {"degraded"}
