"""What holds nothing is known by its bytes; whatever might hold something is taken to."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from dr.evidence.hollow import LARGEST, hollow


def made(script: str) -> bytes:
    return subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout


def judged(content: bytes) -> str:
    return hollow(content, len(content))


NOTHING = {
    "true | gzip": "gzip of nothing",
    "(true | gzip; true | gzip; head -c 512 /dev/zero)": "gzip of nothing",
    "true | bzip2": "bzip2 of nothing",
    "true | xz": "xz of nothing",
    "tar -cf - -T /dev/null": "a tar archive of nothing",
    "tar -czf - -T /dev/null": "a tar archive of nothing, compressed",
    "tar -cJf - -T /dev/null": "a tar archive of nothing, compressed",
    "head -c 22 <(printf 'PK\\005\\006'; cat /dev/zero)": "a zip archive of nothing",
    "echo": "nothing but blanks",
    "head -c 300 /dev/zero": "nothing but zeros",
    "echo | gzip": "nothing but blanks, compressed",
    "sqlite3 :memory: .dump": "a dump without a table",
    "sqlite3 :memory: .dump | gzip": "a dump without a table, compressed",
    "printf '\\x28\\xb5\\x2f\\xfd\\x24\\x00\\x01\\x00\\x00\\x99\\xe9\\xd8\\x51'": "zstd of nothing",
    "printf '\\x28\\xb5\\x2f\\xfd\\x20\\x00\\x01\\x00\\x00'": "zstd of nothing",
    "printf '\\x04\\x22\\x4d\\x18\\x64\\x40\\xa7\\x00\\x00\\x00\\x00\\x05\\x5d\\xcc\\x02'": "lz4 of nothing",
    "printf '%s' 070701 && head -c 90 /dev/zero | tr '\\0' 0 && printf 'TRAILER!!!'": "a cpio archive of nothing",
}


@pytest.mark.parametrize("script", NOTHING, ids=str)
def test_what_programs_make_of_nothing_is_known(script: str) -> None:
    assert judged(made(script)) == NOTHING[script]


SOMETHING = [
    "echo hello", "echo hello | gzip", "echo hello | bzip2", "echo hello | xz", "head -c 40 /dev/urandom", "echo '{}'",
    "sqlite3 :memory: 'create table a(b)' .dump", "(echo a; head -c 1023 /dev/zero)", "true | gzip | head -c 12",
    "tar -cf - /etc/hostname", "(true | gzip; echo more)", "echo '-- a comment'; echo 'create role teacher;'",
    "echo '/*!50001 CREATE VIEW v AS select 1 */;'",
]  # fmt: skip


@pytest.mark.parametrize("script", SOMETHING, ids=str)
def test_the_control_what_holds_something_is_never_called_empty(script: str) -> None:
    assert judged(made(script)) == ""


POSTGRES = b"""--
-- PostgreSQL database dump
--

\\restrict iPCOdk8Ir3KgAGMd6XWSr2patYkmQwdJgxoWNiubuZHwmGOQgWnlPqH9I3nKvxM

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

\\unrestrict iPCOdk8Ir3KgAGMd6XWSr2patYkmQwdJgxoWNiubuZHwmGOQgWnlPqH9I3nKvxM
"""
MARIADB = b"""/*M!999999\\- enable the sandbox mode */
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
CREATE DATABASE /*!32312 IF NOT EXISTS*/ `nothing` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;

USE `nothing`;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;
-- Dump completed on 2026-11-28  6:49:04
"""


@pytest.mark.parametrize("dump", [POSTGRES, MARIADB], ids=["postgres", "mariadb"])
def test_a_dump_of_a_database_without_a_table_is_known(dump: bytes) -> None:
    assert judged(dump) == "a dump without a table"
    assert judged(dump + b"CREATE TABLE t (a int);\n") == "", "the control"


def test_an_sqlite_database_without_a_table_is_known_whatever_its_size(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        database.execute("create table a (b)")
        database.executemany("insert into a values (?)", [("x" * 1000,)] * 200)
        database.commit()
        assert hollow((tmp_path / "db").read_bytes()[: LARGEST + 1], (tmp_path / "db").stat().st_size) == ""
        database.execute("drop table a")
        database.commit()
    size = (tmp_path / "db").stat().st_size
    assert size > LARGEST
    assert hollow((tmp_path / "db").read_bytes()[: LARGEST + 1], size) == "an SQLite database without a table"


def test_what_is_large_is_not_looked_into() -> None:
    assert hollow(b"\0" * (LARGEST + 1), LARGEST + 1) == ""
    assert shutil.which("xz") and hollow(b"", 0) == "0 bytes"
