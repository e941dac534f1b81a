"""Self-protection after each run: what is saved where, when it is not, and what it costs."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.conftest import Site

_AGAIN = """
import sys
from pathlib import Path
from dr.operations.self_backup import save_self
from dr.session import Session
from dr.tools.state_dir import StateDir
session = Session(Path(sys.argv[1]), StateDir(Path(sys.argv[2])))
item = session.usable()[0][0]
session.reached = {place.name: place for place in session.toolbox(item).places}
save_self(session)
assert session.problems == []
print(sorted({"boto3", "paramiko", "reportlab", "shamir_mnemonic"} & set(sys.modules)))
"""


@pytest.fixture
def kept(files_site: Site) -> Site:
    """A system of files on two disks, with escrow, backed up."""
    files_site.escrow(True)
    files_site.dr("backup", "share")
    return files_site


def copies(site: Site, target: str) -> list[str]:
    place = site.root / target / "_control"
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def test_each_run_leaves_a_copy_on_each_target_it_reached(kept: Site) -> None:
    assert len(copies(kept, "disk")) == len(copies(kept, "vault")) == 1
    kept.dr("verify", "share", "--level", "1")
    assert len(copies(kept, "disk")) == len(copies(kept, "vault")) == 2
    kept.dr("drill", "share")
    assert (len(copies(kept, "disk")), len(copies(kept, "vault"))) == (3, 2), "a drill reaches one target"
    kept.dr("run", code=None)
    assert copies(kept, "disk")[:3] == sorted(copies(kept, "disk"))[:3]


def test_without_a_change_nothing_is_put_and_no_heavy_library_is_loaded(kept: Site) -> None:
    before = copies(kept, "disk")
    argv = [sys.executable, "-c", _AGAIN, str(kept.root / "config"), str(kept.root / "state")]
    done = subprocess.run(argv, env=kept.env, cwd=kept.root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" and copies(kept, "disk") == before
    plan = kept.root / "config" / "plans" / "share.yaml"
    plan.write_text(plan.read_text() + "# changed\n")
    subprocess.run(argv, env=kept.env, cwd=kept.root, capture_output=True, text=True, check=True)
    assert len(copies(kept, "disk")) == len(before) + 1


@pytest.mark.parametrize(
    "verb",
    ["backup share", "verify share --level 1", "drill share", "recover share --yes --to OUT", "run", "replicate share",
     "hold share --reason asked", "keys rotate share", "points share --trust RUN --because expected"],
)  # fmt: skip
def test_a_copy_that_cannot_be_saved_is_an_error_of_every_verb_and_fails_no_work(verb: str, kept: Site) -> None:
    if verb == "replicate share":
        lacking = kept.root / "config" / "plans" / "share.yaml"
        lacking.write_text(lacking.read_text().replace("targets: [disk, vault]", "targets: [disk]\nreplicas: [vault]"))
        shutil.rmtree(kept.root / "vault")
        (kept.root / "vault").mkdir()
        kept.dr("target", "begin", "vault", "--system", "share", "--because", "a new disk")
    if "--trust" in verb:
        catalog = kept.root / "state" / "catalog.sqlite"
        with closing(sqlite3.connect(catalog)) as db, db:
            (run_id,) = db.execute("select run_id from points").fetchone()
            db.execute("insert into marks select run_id, system, consistency, 'a spike', null from points")
        verb = verb.replace("RUN", run_id)
    for target in ("disk", "vault"):
        shutil.rmtree(kept.root / target / "_control", ignore_errors=True)
        (kept.root / target / "_control").write_text("in the way\n")
    ran = kept.dr("--json", *verb.replace("OUT", str(kept.root / "out")).split(), code=3)
    told = [error for error in ran.document["errors"] if error["what"].startswith("no self-copy could be put on")]
    assert told and all(error["hint"] for error in told)
    assert ran.err.count("no self-copy could be put on") == len(told)
    findings = {f["what"]: f for f in kept.dr("doctor", "--json", code=None).document["findings"]}
    assert findings["self-copy on disk"]["outcome"] == "degraded"


def test_a_copy_that_could_not_be_saved_is_saved_by_the_next_run(kept: Site) -> None:
    shutil.rmtree(kept.root / "vault" / "_control")
    (kept.root / "vault" / "_control").write_text("in the way\n")
    ran = kept.dr("backup", "share", "--json", code=3)
    assert ran.document["runs"][0]["outcome"] == "ok"
    (kept.root / "vault" / "_control").unlink()
    finding = next(
        f for f in kept.dr("doctor", "--json", code=None).document["findings"] if f["what"] == "self-copy on vault"
    )
    assert (finding["outcome"], "is not there any more" in finding["observed"]) == ("degraded", True)
    kept.dr("backup", "share")
    assert len(copies(kept, "vault")) == 1 and len(copies(kept, "disk")) == 3


@pytest.mark.parametrize("verb", ["backup share", "verify share --level 1", "drill share", "hold share --reason asked"])
def test_evidence_that_cannot_be_sent_is_an_error_of_every_verb(verb: str, files_site: Site) -> None:
    files_site.dr("backup", "share")
    for target in ("disk", "vault"):
        [beside] = (files_site.root / target).glob("*evidence*")
        shutil.rmtree(beside)
        beside.write_text("in the way\n")
    ran = files_site.dr("--json", *verb.split(), code=3)
    told = [error for error in ran.document["errors"] if error["what"].startswith("evidence could not be put on")]
    assert {error["where"] for error in told} == {"share"}
    assert all(error["hint"] for error in told)


def test_doctor_says_when_a_copy_is_older_than_what_was_done_there(kept: Site) -> None:
    (kept.root / "vault" / "_control").rename(kept.root / "aside")
    (kept.root / "vault" / "_control").write_text("in the way\n")
    kept.dr("backup", "share", code=3)
    (kept.root / "vault" / "_control").unlink()
    (kept.root / "aside").rename(kept.root / "vault" / "_control")
    findings = {f["what"]: f for f in kept.dr("doctor", "--json", code=None).document["findings"]}
    assert findings["self-copy on disk"]["outcome"] == "ok"
    late = findings["self-copy on vault"]
    assert (late["outcome"], "but the newest run there is of" in late["observed"]) == ("degraded", True)


def test_with_escrow_switched_off_nothing_is_saved(files_site: Site) -> None:
    files_site.escrow(False)
    files_site.dr("backup", "share")
    assert copies(files_site, "disk") == []
    refused = files_site.dr("kit", "--custodian", "A", "--threshold", "1", "-o", str(files_site.root / "out"), code=2)
    assert "escrow is switched off" in refused.err


def test_doctor_says_that_there_is_no_kit(kept: Site) -> None:
    findings = {f["what"]: f for f in kept.dr("doctor", "--json", code=None).document["findings"]}
    assert findings["recovery kit"]["outcome"] == "degraded" and "dr kit" in findings["recovery kit"]["hint"]
    assert findings["self-copy on disk"]["outcome"] == "ok"
    kept.dr("kit", "--custodian", "A", "--custodian", "B", "--threshold", "2", "-o", str(kept.root / "out"))
    findings = {f["what"]: f for f in kept.dr("doctor", "--json", code=None).document["findings"]}
    assert findings["recovery kit"]["outcome"] == "ok"
