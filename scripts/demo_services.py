"""The second demo: services. A student information system on PostgreSQL; a library on MariaDB, on another host.

Real parts only: PostgreSQL, MariaDB, an SSH server on a high port of this machine as the other host, an S3
server, restic. Nothing is left running; the report is kept in demo-report/.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from district import content
from servers.mariadb import MariadbServer
from servers.postgres import PostgresServer
from servers.s3 import S3Server
from servers.sshd import Sshd
from stage import PROJECT, Stage, perform, write_config

BUCKET = "district-offsite"
STUDENTS, BOOKS = 20_000, 30_000

STUDENTS_SQL = f"""
create table students (id serial primary key, grade int not null, homeroom text collate "C");
insert into students (grade, homeroom) select n % 13, 'room ' || n % 40 from generate_series(1, {STUDENTS}) n;
create table attendance (student int references students, seen timestamptz not null);
insert into attendance select n % {STUDENTS} + 1, now() - n * interval '1 second' from generate_series(1, 200000) n;
create index attendance_by_day on attendance (seen);
create table meals (student int references students, balance numeric(8, 2) check (balance > -100));
insert into meals select n, (n % 9000) / 100.0 from generate_series(1, {STUDENTS}) n;
create view owing as select student from meals where balance < 1;
"""
LIBRARY_SQL = f"""
create table books (id int primary key auto_increment, title varchar(80) character set utf8mb4) engine=innodb;
insert into books (title) select concat('Title ', seq, ' – ', md5(seq)) from seq_1_to_{BOOKS};
create table loans (book int, updated datetime not null, foreign key (book) references books (id)) engine=innodb;
insert into loans select seq, utc_timestamp() from seq_1_to_5000;
create view lent as select book from loans;
create trigger no_past before insert on loans for each row set new.updated = coalesce(new.updated, utc_timestamp());
"""


class Server(Protocol):
    """What can be ended."""

    def kill(self) -> None:
        """End it at once. May be called twice."""


class Servers:
    """All that the story needs, started; ended together."""

    def __init__(self, root: Path) -> None:
        (root / "mariadb").mkdir()
        self.offsite = S3Server(root / "s3")
        self.postgres = PostgresServer()
        self.mariadb = MariadbServer(root / "mariadb")
        self.library = Sshd(root / "library-host")

    @property
    def each(self) -> tuple[Server, ...]:
        """Every one of them."""
        return (self.offsite, self.postgres, self.mariadb, self.library)

    def kill(self) -> None:
        """End them, started or not."""
        for server in self.each:
            server.kill()


def make_district(root: Path, servers: Servers) -> None:
    """Make the data, the plans and the keys."""
    servers.offsite.make_locked(BUCKET, "compliance")
    servers.postgres.psql("create database students")
    servers.postgres.psql(STUDENTS_SQL, "students")
    servers.mariadb.sql("create database library")
    servers.mariadb.sql(LIBRARY_SQL, "library")
    maker = random.Random(1871)  # made-up data, the same each time
    for folder, number, ending in (("students/uploads/forms", 40, "pdf"), ("library/covers", 60, "jpg")):
        (root / folder).mkdir(parents=True)
        for each in range(number):
            (root / folder / f"{each:03d}.{ending}").write_bytes(content(ending, maker, 250_000))
    shutil.copy(servers.library.key, root / "library-key")
    shutil.copy(servers.library.known_hosts, root / "known_hosts")
    moved = {
        "/srv/district/postgres": str(servers.postgres.socket),
        "/srv/district/mariadb.sock": str(servers.mariadb.socket),
        "/srv/district": str(root),
        "backup@library.district.example": servers.library.address,
        "[python3,": f"[{sys.executable},",
    }
    write_config(root, ("students", "library"), moved, servers.offsite)
    shutil.copy(PROJECT / "plans" / "portal.py", root / "config" / "plans")


class Services(Stage):
    """The story of two services."""

    def play(self, servers: Servers) -> Path:
        """Play it; return the report."""
        self.step("Two plans: PostgreSQL with uploads on this host; MariaDB and covers on another, over SSH.")
        self.dr("validate")
        self.step("Recovery points: dumps stream straight into encrypted repositories; no copy lands on a disk.")
        self.dr("backup", "--all")
        self.step("The day goes on; the next backup stores only what changed.")
        servers.postgres.psql("insert into attendance values (1, now())", "students")
        servers.mariadb.sql("insert into loans values (7, utc_timestamp())", "library")
        self.dr("backup", "--all")
        self.step("Drills: scratch servers are made and loaded, rows and schema compared, an application asked.")
        self.dr("drill", "--all")
        self.step("Negative control: the plan is made to expect more books than there are. The drill must fail.")
        self._expect_too_much()
        self.step("Disaster: grades are wiped in the live database. Recovery beside it, then a swap, for real.")
        servers.postgres.psql("truncate students, attendance, meals", "students")
        to = str(self.root / "recovered")
        self.dr("recover", "students", "--to", to, "--yes", expect=2)
        self.dr("recover", "students", "--to", to, "--replace", "students", "--dry-run")
        self.dr("recover", "students", "--to", to, "--replace", "students", "--yes")
        self._see_what_is_back(servers)
        self.step("The board, the evidence, and the report.")
        self.dr("status", expect=4)
        self.dr("audit")
        self.dr("report", "-o", str(self.root / "services.html"))
        return self.keep("services.html")

    def _expect_too_much(self) -> None:
        plan = self.root / "config" / "plans" / "library.yaml"
        whole = plan.read_text()
        plan.write_text(whole.replace('">= 1000"', f'"> {BOOKS}"'))
        self.dr("drill", "library", expect=1)
        plan.write_text(whole)

    def _see_what_is_back(self, servers: Servers) -> None:
        """Count for ourselves, with nothing of the program that recovered."""
        count = int(servers.postgres.psql("select count(*) from students", "students"))
        forms = sum(1 for _ in (self.root / "recovered").rglob("*.pdf"))
        kept = servers.postgres.psql("select datname from pg_database where datname like 'students_before%'")
        if (count, forms) != (STUDENTS, 40) or not kept:
            raise SystemExit(f"demo: not all came back: {count} students, {forms} forms")
        print(f"      counted by hand: {count} students in the live database, {forms} forms; kept beside it: {kept}")


def main() -> None:
    """Play the demo."""
    parser = argparse.ArgumentParser(description="Play the loss and recovery of two services.")
    parser.add_argument("--report", type=Path, default=PROJECT / "demo-report", help="where the report is kept")
    kept = parser.parse_args().report.resolve()
    begun: list[Servers] = []

    def play(root: Path) -> Path:
        begun.append(Servers(root))
        with ExitStack() as stack:
            for server in (begun[0].offsite, begun[0].postgres, begun[0].mariadb, begun[0].library):
                stack.enter_context(server)
            make_district(root, begun[0])
            print(f"Two services, made now. The other host: {begun[0].library.address}, over SSH.")
            return Services(root, kept).play(begun[0])

    def kill() -> None:
        for servers in begun:
            servers.kill()

    perform(play, clear=kill)


if __name__ == "__main__":
    main()
