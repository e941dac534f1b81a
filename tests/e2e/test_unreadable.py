"""One file that cannot be read: which, why, and the line that says that it is meant; its name is no evidence."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Site, plan_text

#: Root without its right to read what it may not: everything else stays.
_PLAIN = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
AS_USER = _PLAIN if os.geteuid() == 0 else ()


def as_user(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [*AS_USER, *site.argv(*arguments)]
    return subprocess.run(argv, env=site.env, cwd=site.root, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture
def closed(files_site: Site) -> Path:
    """Five files that may not be read, one with a name that patterns take for something else."""
    folder = files_site.root / "source" / "grades [2026]"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}").write_text("secret")
        (folder / f"{number}").chmod(0)
    return folder


def test_what_cannot_be_read_is_named_to_the_person_and_not_in_the_evidence(files_site: Site, closed: Path) -> None:
    done = as_user(files_site, "--json", "backup", "share")
    assert done.returncode == 3, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    (source,) = run["sources"]
    assert not run["complete"] and source["unreadable"] == 5
    assert source["unreadable_names"] == [f"{closed}/{number}" for number in range(5)]
    assert f"5 file(s) could not be read: {closed}/0, {closed}/1, {closed}/2 and 2 more" in done.stderr
    assert "may not read what is named" in done.stderr
    escaped = str(closed).replace("[", "\\\\[").replace("]", "\\\\]")
    assert f'`exclude: ["{escaped}/0"' in done.stderr
    (listed,) = (files_site.root / "state" / "details").iterdir()
    assert listed.read_text().splitlines() == [f"docs\tcould not be read\t{closed}/{number}" for number in range(5)]
    assert str(listed) in done.stderr
    told = files_site.dr("report", "--system", "share", "--format", "json", "-o", "-").out
    assert "could not be read" in told and "grades" not in told, "the control, and no name"


def test_the_line_that_was_given_makes_the_point_whole(files_site: Site, closed: Path) -> None:
    for path in list(closed.iterdir())[1:]:
        path.unlink()
    done = as_user(files_site, "backup", "share")
    line = done.stderr.partition("`exclude: ")[2].partition("`")[0]
    source = f"docs: {{files: {{paths: [{files_site.root}/source], exclude: {line}}}}}"
    files_site.plan("share", plan_text("share", source))
    done = as_user(files_site, "--json", "backup", "share")
    assert done.returncode == 0 and json.loads(done.stdout)["runs"][0]["complete"], done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the files of another user are made by root")
@pytest.mark.parametrize("part", ["data", "index", "snapshots"])
def test_a_repository_with_files_of_another_user_is_called_that_and_not_damaged(files_site: Site, part: str) -> None:
    """As after one run as root."""
    site = files_site
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[disk]"))
    site.dr("backup", "share")
    others = [path for path in (site.root / "disk" / "share" / part).rglob("*") if path.is_file()]
    for path in others:
        os.chown(path, 65534, -1)
    for typed in (("verify", "share", "--level", "1"), ("verify", "share"), ("drill", "share")):
        done = as_user(site, *typed)
        assert (done.returncode, typed) == (12, typed), done.stderr
        assert "not permitted" in done.stderr and "damage" not in done.stderr, done.stderr
        assert "trying again" not in done.stderr, "no other try can mend it"
    for path in others:
        os.chown(path, 0, -1)
    assert site.dr("drill", "share", "--json").document["drills"][0]["outcome"] == "ok", "no damage is on record"


@pytest.mark.skipif(os.geteuid() != 0, reason="the files of another user are made by root")
@pytest.mark.parametrize("part", ["catalog.sqlite", "locks", "cache"])
def test_what_in_the_state_directory_is_another_users_is_named_with_what_mends_it(files_site: Site, part: str) -> None:
    files_site.dr("backup", "share")
    path = files_site.root / "state" / part
    os.chown(path, 65534, -1)
    path.chmod(0o700)
    done = as_user(files_site, "backup", "share")
    told = (
        f"dr: {path}: the state directory cannot be written (its rights forbid it). Run as its owner, or as root: chown"
    )
    assert done.returncode == 1 and done.stderr.startswith(told), done.stderr
    status = as_user(files_site, "status")
    assert status.returncode in (0, 1) and "its rights forbid it" in status.stderr, status.stderr
    assert "rebuild" not in done.stderr + status.stderr, "the catalog is whole"
