"""A recovery that is killed while it replaces a live database: whoever goes on, from wherever, is told how."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from scripts.servers.mariadb import MariadbServer
from tests.campaign.fuse import Fuse
from tests.conftest import Site, plan_text
from tests.databases import STUDENTS, mysql_database, source_of

MORE = "drill: {checks: [manifest, {rows: {source: database}}]}\n"


def test_a_killed_recovery_is_found_whatever_directory_the_next_is_to_go_into(
    site: Site, mariadb: MariadbServer, tmp_path: Path
) -> None:
    fuse = Fuse(tmp_path / "programs", Path(shutil.which("mariadb") or ""))
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    with mysql_database(mariadb, STUDENTS["mysql"], "create view few as select id from students where id < 5") as name:
        source = source_of(mariadb, f"database: {name}, bin: {fuse.place}")
        site.plan("library", plan_text("library", source, targets="[disk]", more=MORE))
        site.dr("backup", "library")
        mariadb.sql("delete from students where id > 100", name)
        fuse.set("RENAME TABLE", "killed")
        first, other = str(tmp_path / "first to"), str(tmp_path / "other")
        site.dr("recover", "library", "--to", first, "--replace", name, "--yes", code=-9)
        assert mariadb.sql("show full tables where table_type = 'VIEW'", name) == [], "it was killed amid the change"
        fuse.set(0, "refused")
        said = site.dr("recover", "library", "--to", other, "--replace", name, "--yes", code=2).err
        (typed,) = re.findall(r"`(dr recover [^`]*)`", said)
        assert "nothing was touched" in said and f"'{first}'" in typed and not Path(other).exists()
        assert typed in told(site)
        site.dr("recover", "library", "--to", other, "--dumps", "--yes")
        ran = site.dr(*shlex.split(typed)[1:], "--yes", code=3)
        assert "they were put back first" in ran.err
        assert mariadb.sql("select count(*) from students", name) == [["500"]]
        assert mariadb.sql("select count(*) from few", name) == [["4"]]
        assert typed not in told(site)
        assert not list((site.root / "state" / "recoveries").iterdir())


def told(site: Site) -> str:
    """What the board says."""
    ran = site.dr("status", code=None)
    return ran.out + ran.err
