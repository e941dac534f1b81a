"""A restic that waits for ever on a full disk is ended; one that goes on, or has room, is left alone."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from dr.errors import DrError
from dr.tools import restic_room
from dr.tools.restic import Repository
from tests.faults.test_full_disk import small_disk

STATUS = '{"message_type":"status","seconds_elapsed":%s,"percent_done":0.1,"total_files":7,"files_done":%s}'
#: What it says where it is not to count first.
STATUS_UNCOUNTED = STATUS.replace('"total_files":7,', "").replace("0.1", "0")
SUMMARY = '{"message_type":"summary","snapshot_id":"a","files_restored":1,"bytes_restored":1}'


def repository(tmp_path: Path, script: str) -> Repository:
    program = tmp_path / "restic"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    cache = tmp_path / "disk" / "cache"
    return Repository(program=str(program), location="/x", where="x on y", host="x", env={}, cache=cache)


WAITING = f"n=0; while :; do n=$((n+1)); printf '{STATUS}\\n' $n 3; sleep 0.05; done"
#: For longer than the patience, a fifteenth of it between two steps: a busy machine may hold up any of them.
GOING_ON = f"for n in $(seq 20); do printf '{STATUS}\\n' $n $n; sleep 0.1; done; echo '{SUMMARY}'"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_who_waits_on_a_full_disk_is_ended_and_who_goes_on_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic_room, "PATIENCE_SECONDS", 1.5)
    with small_disk(tmp_path / "disk", "512k"):
        (tmp_path / "disk" / "cache").mkdir()
        with pytest.raises(DrError, match="the disk of its cache is full"):
            repository(tmp_path, WAITING).restore("a", tmp_path / "out")
        for going_on in (GOING_ON, GOING_ON.replace(STATUS, STATUS_UNCOUNTED)):
            assert repository(tmp_path, going_on).restore("a", tmp_path / "out").files == 1
        elsewhere = repository(tmp_path, WAITING)
        elsewhere = replace(elsewhere, cache=tmp_path, location=str(tmp_path / "disk"))
        with pytest.raises(DrError, match="the disk of the target is full"):
            elsewhere.restore("a", tmp_path / "out")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
        with pytest.raises(DrError, match="the disk of its temporary files is full"):
            replace(elsewhere, location="/x").restore("a", tmp_path / "out")
        stream = repository(tmp_path, "exec sleep 1000").backup_stream("dump", tags={}, work=tmp_path)
        with pytest.raises(DrError, match="the disk of its cache is full"):
            stream.write(b"a row")


def test_who_takes_his_time_where_there_is_room_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restic_room, "PATIENCE_SECONDS", 0.0)
    (tmp_path / "disk" / "cache").mkdir(parents=True)
    slow = f"for n in 1 2 3; do printf '{STATUS}\\n' $n 3; sleep 0.2; done; echo '{SUMMARY}'"
    assert repository(tmp_path, slow).restore("a", tmp_path / "out").files == 1
