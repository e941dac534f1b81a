"""The demo: a small school district, made now; backed up, drilled, attacked, and recovered.

Real parts only: restic, an S3 server on loopback that enforces Object Lock, a SQLite database under a live writer.
Nothing is left running; the report is kept in demo-report/.
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

from district import PHOTOS, STUDENTS, content, encrypt, make_file_share, make_student_system
from servers.s3 import S3Server
from stage import PROJECT, Stage, perform, write_config

BUCKET, PRACTICE = "district-offsite", "district-practice"
BACKUP_USER = "arn:aws:iam::000000000000:user/writer"
CUSTODIANS = ("Superintendent", "Business manager", "Director of technology")
NEW_PHOTOS = 10


def make_district(root: Path, server: S3Server) -> int:
    """Make the data (about 75 MB), the plans and the keys; return how many bytes of data."""
    maker = random.Random(1871)  # made-up data, the same each time
    make_student_system(root / "sis", maker)
    make_file_share(root / "share", maker)
    (root / "cellar").mkdir(mode=0o700)
    (root / "finance-export.py").write_text(
        "for n in range(60000):\n    print(f'{n},2026-01-{n % 28 + 1:02d},{n * 37 % 9973}.00')\nprint('TOTAL,60000')\n"
    )
    server.make_versioned(PRACTICE)
    moved = {"/srv/district": str(root), "[python3,": f"[{sys.executable},"}
    write_config(root, ("sis", "fileshare", "finance"), moved, server)
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

    def __init__(self, root: Path, report: Path, server: S3Server) -> None:
        super().__init__(root, report)
        self.server = server

    def play(self) -> Path:
        """Play the whole story; return the report."""
        self._prepare()
        self._back_up()
        self._prove()
        self._rehearse()
        self._strike()
        return self._tell()

    def _prepare(self) -> None:
        self.step("Plans say what must come back, how soon and how fresh; their faults are said at once.")
        self.dr("validate")
        self.step("A bucket that an attacker cannot empty: the administrator makes it, once, from what is declared.")
        admin = ("--credentials", str(self.root / "admin-keys"))
        self.dr("target", "create", "offsite", *admin, "--append-only", BACKUP_USER, "--yes")
        self.step("Believe nothing: with the backup keys, try to delete, to overwrite, and to shorten a lock.")
        self.dr("target", "check", "offsite")

    def _back_up(self) -> None:
        with attendance_taken(self.root / "sis" / "sis.db"):
            self.step("First recovery points: all three systems side by side, the database while it is written to.")
            self.dr("backup", "--all")
            self.step("A school day passes: new photos, changed documents; the next backup stores only what changed.")
            self._school_day()
            self.dr("backup", "--all")
        self.step("A replica on a disk that is then taken to another building: copied object by object, each checked.")
        self.dr("target", "adopt", "cellar")
        self.dr("replicate", "sis")

    def _prove(self) -> None:
        self.step("Proof without restoring: structure, every stored byte (no passphrase needed), a decrypted sample.")
        self.dr("verify", "--all")
        self.step("Negative control: one byte of a stored object is flipped. It must be found, and named.")
        self._flip_a_byte()
        self.dr("verify", "fileshare", "--level", "2", expect=1)

    def _rehearse(self) -> None:
        self.step("Drills: each system restored into a sandbox, checked, timed against its objectives, destroyed.")
        self.dr("drill", "--all")
        self.step("A ransomware drill: a copy is overwritten and deleted with its own keys, and recovered from before.")
        self.dr("drill", "sis", "--scenario", "ransomware")
        self.step("A recovery kit: what opens every copy is split among three custodians, and leaves this host.")
        named = [word for role in CUSTODIANS for word in ("--custodian", role)]
        self.dr("kit", "-o", str(self.root / "kit"), "--threshold", "2", *named)
        self.step("This host is gone: a drill that begins with nothing but the kit and two of the three shares.")
        shares = [word for n in (1, 3) for word in ("--share", str(self.root / f"kit/shares/share-{n}-of-3.txt"))]
        self.dr("drill", "sis", "--scenario", "control-loss", "--kit", str(self.root / "kit" / "kit"), *shares)

    def _strike(self) -> None:
        self.step(
            "Disaster, the first night: ransomware encrypts the file share. The next backup takes it in: suspect."
        )
        encrypt(self.root / "share")
        self.dr("backup", "fileshare", expect=3)
        self.step("The second night: the student system is wiped, and its copies overwritten with stolen backup keys.")
        shutil.rmtree(self.root / "sis")
        print(f"      {self._attack('sis')}")
        self.step("When was all still well? Read from the bucket itself; what is on top now is never trusted.")
        told = self.dr("target", "history", "sis", expect=3)
        at = ("--at", told.partition("before it")[2].split()[0])
        self.step("Recovery into a clean place, for real, from the bucket as it was then.")
        self.dr("recover", "sis", "--target", "offsite", *at, "--to", str(self.root / "recovered"), "--yes")
        self._see_what_is_back()
        self.step("And the bucket itself is put back, with keys that can delete nothing.")
        self.dr("target", "rewind", "offsite", "--system", "sis", *at, "--yes")

    def _tell(self) -> Path:
        self.step(
            "The board: objectives against facts. It hides neither the damaged copy nor the suspect point, nor that "
            "this demo's S3 server runs on this very machine: no copy is offsite."
        )
        self.dr("status")
        self.step("The evidence: every run, drill and act, chained; and the same records beside each repository.")
        self.dr("audit", "--targets")
        self.step("The report a superintendent reads and an auditor works from.")
        self.dr("report", "-o", str(self.root / "report.html"))
        drills = json.loads(self.dr("report", "--system", "sis", "--format", "json", show=False))["drills"]
        drill = next(each["drill_id"] for each in drills if each["scenario"] == "ransomware")
        self.dr("report", "--drill", drill, "-o", str(self.root / "ransomware-drill.html"))
        return self.keep("report.html", "ransomware-drill.html")

    def _school_day(self) -> None:
        for number in range(NEW_PHOTOS):
            photo = content("jpg", random.Random(number), 200_000)
            (self.root / "sis" / "uploads" / "photos" / f"new-{number}.jpg").write_bytes(photo)
        for path in sorted((self.root / "share").rglob("*.docx"))[:10]:
            path.write_bytes(path.read_bytes() + b"edited")

    def _attack(self, system: str) -> str:
        """Destroy what the stolen keys can of a system's copies offsite; return what they could and could not."""
        stolen, done, refused = self.server.client("writer"), 0, 0
        listed = stolen.list_object_versions(Bucket=BUCKET, Prefix=f"district/{system}/")["Versions"]
        for each in listed:
            one = {"Bucket": BUCKET, "Key": each["Key"]}
            stolen.put_object(**one, Body=b"your files are encrypted " + os.urandom(32))
            done += 1
            try:
                stolen.delete_object(**one, VersionId=each["VersionId"])
            except stolen.exceptions.ClientError:
                refused += 1
        kept = f"{refused} of {len(listed)} deletions of what lies below were refused"
        return f"with the stolen keys: {done} objects overwritten; {kept}"

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
            size = make_district(root, server)
            print(f"A small school district, made now: {size / 1e6:.0f} MB; an S3 server on {server.endpoint}.")
            return Demo(root, kept, server).play()

    def kill() -> None:
        for server in servers:  # also when it was still starting, where leaving `with` does not end it
            server.kill()

    perform(play, clear=kill)


if __name__ == "__main__":
    main()
