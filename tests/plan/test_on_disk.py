"""What is said of a file that a declaration names: what it is, and not that it is not there when it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from dr.plan.load import load
from dr.plan.on_disk import why_no_directory, why_no_file, why_not_found
from tests.sources.nobody import as_nobody

PLAN = """system: sis
owner: {{role: Data manager}}
objectives: {{rto: 1h, rpo: 24h}}
host: {{ssh: backup@sis.district.example, known_hosts: {root}/known, key: {root}/key}}
sources:
  docs: {{files: {{paths: [{root}/docs]}}}}
  here: {{host: null, postgres: {{database: sis, passfile: {root}/passfile, newest: "select 1"}}}}
targets: [offsite]
drill: {{kit: {root}/kit, shares: [{{file: {root}/share}}]}}
secrets: {{passphrase: {{file: {root}/phrase}}}}
"""
TARGET = """target: offsite
s3:
  endpoint: https://s3.district.example
  bucket: sis
  ca_file: {root}/ca
  credentials: {{file: {root}/aws}}
  immutability: {{credentials: {{file: {root}/locks}}}}
"""


@pytest.mark.parametrize("name", ["known", "key", "share", "phrase", "ca", "aws", "locks"])
def test_a_directory_in_the_place_of_a_file_is_called_one(tmp_path: Path, name: str) -> None:
    for folder in ("plans", "targets"):
        (tmp_path / folder).mkdir()
    (tmp_path / "plans" / "sis.yaml").write_text(PLAN.format(root=tmp_path))
    (tmp_path / "targets" / "offsite.yaml").write_text(TARGET.format(root=tmp_path))
    before = [fault.what for fault in load(tmp_path).faults if f"{tmp_path}/{name} " in fault.what]
    assert before and all(what.endswith("is not there") for what in before), load(tmp_path).faults
    (tmp_path / name).mkdir()
    (fault,) = {(f.what, f.hint) for f in load(tmp_path).faults if f"{tmp_path}/{name} " in f.what}
    assert fault[0].endswith("is a directory, not a file") and fault[1] == "name the file in it"


def test_a_server_on_this_machine_and_a_kit_are_told_alike(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    text = PLAN.format(root=tmp_path).replace("host: {ssh", "# host: {ssh").replace("host: null, ", "")
    (tmp_path / "plans" / "sis.yaml").write_text(text)
    (tmp_path / "passfile").mkdir()
    (tmp_path / "kit").write_text("")
    told = "\n".join(fault.what for fault in load(tmp_path).faults)
    assert f"{tmp_path}/passfile is a directory" in told and f"{tmp_path}/kit is a file" in told


def test_what_is_out_of_reach_is_not_called_absent() -> None:
    open_path = Path(tempfile.mkdtemp(prefix="dr-test-", dir="/tmp"))  # others may not go into pytest's own
    open_path.chmod(0o755)
    try:
        out_of_reach(open_path)
    finally:
        shutil.rmtree(open_path)


def out_of_reach(open_path: Path) -> None:
    shut, link = open_path / "shut", open_path / "link"
    shut.mkdir(mode=0o700)
    (shut / "key").write_text("x")
    (shut / "key").chmod(0o600)
    link.symlink_to(open_path / "nowhere")
    assert why_no_file(shut / "key", "make it") == ("", "")
    assert why_no_file(link, "make it") == (f"is a link to {open_path}/nowhere, which is not there", "make it")
    assert why_no_file(shut / "key" / "x", "make it")[0].endswith(f"{shut / 'key'} is a file, not a directory")
    os.mkfifo(open_path / "pipe")
    assert why_no_file(open_path / "pipe", "make it")[0] == "is not a regular file"
    with as_nobody():
        for asked in (why_no_file, why_not_found):
            assert "is out of reach for this user" in asked(shut / "key", "make it")[0]
        assert why_no_directory(shut, "make it")[0] == "may not be read by this user"
        shut_file = open_path / "closed"
    shut_file.write_text("x")
    shut_file.chmod(0o600)
    with as_nobody():
        assert why_no_file(shut_file, "make it")[0] == "may not be read by this user"
