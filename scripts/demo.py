"""The demo: a small school district, made now; backed up, drilled, struck by a disaster, and recovered.

Real parts only: restic, an S3 server on loopback, a SQLite database under a live writer. Nothing is left
running; the report is kept in demo-report/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s3_server import S3Server
from stage import PROJECT, Stage, perform, write_config

BUCKET = "district-offsite"
STUDENTS, PHOTOS, NEW_PHOTOS = 4200, 150, 10


def make_district(root: Path, server: S3Server) -> int:
    """Make the data (about 200 MB), the plans and the keys; return how many bytes of data."""
    maker = random.Random(1871)  # made-up data, the same each time
    photos, share = root / "sis" / "uploads" / "photos", root / "share"
    photos.mkdir(parents=True)
    for number in range(PHOTOS):
        (photos / f"{number:04d}.jpg").write_bytes(maker.randbytes(300_000))
    for number in range(400):
        folder = share / f"department {number % 8}" / f"year {2020 + number % 6}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"document {number}.docx").write_bytes(maker.randbytes(200_000 + 1000 * (number % 200)))
    with sqlite3.connect(root / "sis" / "sis.db") as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table students (id integer primary key, grade integer)")
        database.execute("create table attendance (id integer primary key, student integer, seen text, note blob)")
        database.executemany("insert into students (grade) values (?)", [(number % 13,) for number in range(STUDENTS)])
        rows = [(number % 4200 + 1, "2026-01-05T13:00:00Z", maker.randbytes(90)) for number in range(100_000)]
        database.executemany("insert into attendance (student, seen, note) values (?, ?, ?)", rows)
    database.close()
    (root / "finance-export.py").write_text(
        "for n in range(60000):\n    print(f'{n},2026-01-{n % 28 + 1:02d},{n * 37 % 9973}.00')\nprint('TOTAL,60000')\n"
    )
    moved = {"/srv/district": str(root), "http://127.0.0.1:8333": server.endpoint, "[python3,": f"[{sys.executable},"}
    write_config(root, ("sis", "fileshare", "finance"), moved, (server.access_key, server.secret_key))
    return sum(path.stat().st_size for place in ("sis", "share") for path in (root / place).rglob("*"))


@contextmanager
def attendance_taken(path: Path) -> Iterator[None]:
    """Write to the database all the time, as a school does."""
    done = threading.Event()

    def write() -> None:
        database = sqlite3.connect(path, timeout=30)
        while not done.wait(0.02):
            with database:
                seen = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
                database.execute(f"insert into attendance (student, seen, note) values (1, {seen}, null)")
        database.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Demo(Stage):
    """The story of a small district."""

    def play(self) -> Path:
        """Play the whole story; return the report."""
        root = self.root
        with attendance_taken(root / "sis" / "sis.db"):
            self.step("Plans say what must come back, how soon and how fresh; their faults are said at once.")
            self.dr("validate")
            self.step("First recovery points: all three systems side by side, the database while it is written to.")
            self.dr("backup", "--all")
            self.step("A school day passes: new photos, changed documents; the next backup stores only what changed.")
            self._school_day()
            self.dr("backup", "--all")
        self.step("Proof without restoring: structure, every stored byte (no passphrase needed), a decrypted sample.")
        self.dr("verify", "--all")
        self.step("Drills: each system restored into a sandbox, checked, timed against its objectives, destroyed.")
        self.dr("drill", "--all")
        self.step("Negative control: one byte of a stored object is flipped. It must be found, and named.")
        self._flip_a_byte()
        self.dr("verify", "fileshare", "--level", "2", expect=1)
        self.step("Disaster: ransomware takes the student information system. Recovery into a clean place, for real.")
        shutil.rmtree(root / "sis")
        self.dr("recover", "sis", "--to", str(root / "recovered"), "--yes")
        self._see_what_is_back()
        self.step("The board: objectives against facts. The damaged copy is a problem it does not hide.")
        self.dr("status")
        self.step("The evidence: every run and drill, chained; and the same records beside each repository.")
        self.dr("audit")
        self.step("The report a superintendent reads and an auditor works from.")
        self.dr("report", "-o", str(root / "report.html"))
        drill = json.loads(self.dr("report", "--system", "sis", "--format", "json", show=False))["drills"][-1][
            "drill_id"
        ]
        self.dr("report", "--drill", drill, "-o", str(root / "sis-drill.html"))
        return self.keep("report.html", "sis-drill.html")

    def _school_day(self) -> None:
        for number in range(NEW_PHOTOS):
            (self.root / "sis" / "uploads" / "photos" / f"new-{number}.jpg").write_bytes(os.urandom(200_000))
        for path in sorted((self.root / "share").rglob("*.docx"))[:10]:
            path.write_bytes(path.read_bytes() + b"edited")

    def _see_what_is_back(self) -> None:
        """Look for ourselves, with nothing of the program that recovered."""
        recovered = self.root / "recovered"
        photos = sum(1 for _ in recovered.rglob("*.jpg"))
        with contextlib.closing(sqlite3.connect(next(recovered.rglob("sis.db"), ":memory:"))) as database:
            health = database.execute("pragma integrity_check").fetchone()[0]
            tables = {name for (name,) in database.execute("select name from sqlite_master")}
            students = database.execute("select count(*) from students").fetchone()[0] if "students" in tables else 0
        if (photos, students, health) != (PHOTOS + NEW_PHOTOS, STUDENTS, "ok"):
            raise SystemExit(f"demo: not all came back: {photos} photos, {students} students, database {health}")
        print(f"      counted by hand: {photos} photos, {students} students, the database is sound")

    def _flip_a_byte(self) -> None:
        stored = max((self.root / "disk" / "fileshare" / "data").rglob("*"), key=lambda path: path.stat().st_size)
        stored.chmod(0o600)
        with stored.open("r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))


def main() -> None:
    """Play the demo."""
    parser = argparse.ArgumentParser(description="Play a school district's disaster and recovery.")
    parser.add_argument("--report", type=Path, default=PROJECT / "demo-report", help="where the reports are kept")
    kept = parser.parse_args().report.resolve()
    servers: list[S3Server] = []

    def play(root: Path) -> Path:
        servers.append(S3Server(root / "s3"))
        with servers[0] as server:
            server.client().create_bucket(Bucket=BUCKET)
            size = make_district(root, server)
            print(f"A small school district, made now: {size / 1e6:.0f} MB; an S3 server on {server.endpoint}.")
            return Demo(root, kept).play()

    def kill() -> None:
        for server in servers:  # also when it was still starting, where leaving `with` does not end it
            server.kill()

    perform(play, clear=kill)


if __name__ == "__main__":
    main()
