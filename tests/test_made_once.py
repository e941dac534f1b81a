"""Whoever asks again for a server's directory has what the real program makes, and else the real program is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.servers.owned import own_folder
from scripts.servers.postgres import PostgresServer
from tests.made_once import make, postgres_programs

#: Makes a directory with what it was told, as `initdb` and `mariadb-install-db` are told it; refuses what is there.
_REAL = """#!/bin/sh
for each; do
  case $each in --datadir=*) into=${each#*=} ;; --bad) echo "no such option" >&2; exit 3 ;; esac
  [ "$last" = -D ] && into=$each; last=$each
done
mkdir -m 700 "$into" || exit 1
mkdir -m 750 "$into/base" && echo "$@" >"$into/told" && ln -s told "$into/link" && truncate -s 10M "$into/log"
echo made
"""


@pytest.fixture
def place() -> Iterator[Path]:
    made = own_folder("made-")
    real = made / "real-maker"
    real.write_text(_REAL)
    real.chmod(0o755)
    make(made, real)
    yield made
    shutil.rmtree(made)


def asked(place: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [str(place / "bin" / "real-maker"), *arguments]
    return subprocess.run(
        argv, cwd=place, env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=False
    )


def tree(made: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, owner and size of each file and folder."""
    found = {str(each.relative_to(made)): each.lstat() for each in (made, *made.rglob("*"))}
    return {
        name: (stat.st_mode, stat.st_uid, 0 if stat.st_mode & 0o40000 else stat.st_size) for name, stat in found.items()
    }


@pytest.mark.parametrize("named", [("-D", "{}"), ("--datadir={}", "--tmpdir=/tmp/{}")])
def test_the_second_is_a_copy_like_the_first_and_other_arguments_are_not_answered_by_it(
    place: Path, named: tuple[str, ...]
) -> None:
    for name, more in (("first", ()), ("second", ()), ("other", ("-U", "another"))):
        done = asked(place, "-A", "trust", *(each.format(name) for each in named), *more)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ("" if name == "second" else "made\n"), "the real one tells of its work"
    first, second, other = (place / name for name in ("first", "second", "other"))
    assert tree(first) == tree(second) and len(tree(first)) == 5
    assert (second / "told").read_text() == (first / "told").read_text() != (other / "told").read_text()
    assert (second / "log").stat().st_blocks == 0
    assert asked(place, "-A", "trust", *(each.format("zone") for each in named), TZ="Asia/Tokyo").stdout == "made\n"
    assert len(list((place / "kept").iterdir())) == 3


def test_what_the_real_one_refuses_is_refused_and_nothing_is_kept_of_it(place: Path) -> None:
    (place / "full").mkdir()
    refused = [asked(place, "-D", "full"), asked(place, "-D", "new", "--bad"), asked(place, "--bad")]
    assert [done.returncode for done in refused] == [1, 3, 3], refused
    assert "File exists" in refused[0].stderr and refused[1].stderr == "no such option\n"
    assert not list((place / "kept").iterdir()) and not (place / "new").exists()


def test_a_cluster_that_was_copied_is_as_the_first_was_made(postgres: PostgresServer) -> None:
    with PostgresServer() as other:
        kept = next((postgres_programs().parent / "kept").glob("initdb-*"))
        made = {name: found for name, found in tree(kept).items() if name.startswith("base/") or name.endswith(".conf")}
        assert made.items() <= tree(other.data).items() and len(made) > 700
        assert other.psql("select 1") == postgres.psql("select 1") == "1"
