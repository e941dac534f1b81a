"""Two machines, one repository: what another installation made is told, and never chosen silently."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site, plan_text


@pytest.fixture
def one(files_site: Site) -> Site:
    """One target, and a declared passphrase: a server that is cloned has it too. One point."""
    secret = files_site.root / "passphrase"
    secret.write_text("the same on both machines\n")
    secret.chmod(0o600)
    files_site.plan(
        "share",
        plan_text(
            "share",
            f"docs: {{files: {{paths: [{files_site.root}/source]}}}}",
            targets="[disk]",
            more=f"secrets: {{passphrase: {{file: {secret}}}}}\n",
        ),
    )
    files_site.dr("backup", "share")
    return files_site


class Clone(Site):
    """The same configuration with a state of its own."""

    def argv(self, *arguments: str) -> list[str]:
        found = super().argv(*arguments)
        return [str(self.root / "clone") if each == str(self.root / "state") else each for each in found]


def _clone(site: Site, *, with_state: bool) -> Clone:
    if with_state:
        shutil.copytree(site.root / "state", site.root / "clone")
    else:
        (site.root / "clone" / "escrow").mkdir(mode=0o700, parents=True)
        shutil.copy(site.root / "state" / "escrow" / "recipient", site.root / "clone" / "escrow" / "recipient")
    return Clone(site.root, site.env, site.forker)


def _run(site: Site, **more: Any) -> dict[str, Any]:
    (site.root / "source" / f"{os.urandom(4).hex()}.txt").write_text("another machine's\n")
    return dict(site.dr("backup", "share", "--json", **more).document["runs"][0])


@pytest.mark.parametrize("with_state", [False, True], ids=["a new state", "a cloned state"])
def test_what_another_machine_stores_in_the_same_repository_is_told_and_never_chosen(
    one: Site, with_state: bool, tmp_path: Path
) -> None:
    clone = _clone(one, with_state=with_state)
    mine = _run(one)["run_id"]
    theirs = _run(clone)["run_id"]
    told, words = one.dr("backup", "share").err, "this installation did not make"
    words = "no record here tells of" if with_state else words
    assert words in told and theirs in told and ("a clone of it stores there too" in told) is with_state
    newest = one.dr("points", "share", "--json").document
    assert {row["run_id"] for row in newest["strangers"]} == {theirs}
    rebuilt = one.dr("points", "share", "--rebuild", "--json", code=None)
    assert words in rebuilt.err
    known = [point["run_id"] for point in rebuilt.document["points"]]
    assert theirs not in known and mine in known
    drill = one.dr("drill", "share", "--json").document["drills"][0]
    assert drill["run_id"] == known[0]
    one.dr("recover", "share", "--to", str(tmp_path / "back"), "--yes")
    named = one.dr("recover", "share", "--point", theirs, "--to", str(tmp_path / "theirs"), "--yes", code=3)
    assert "another installation made it" in named.out + named.err
    one.dr("points", "share", "--rebuild", "--adopt", rebuilt.document["strangers"][0]["installation"])
    assert theirs in [point["run_id"] for point in one.dr("points", "share", "--json").document["points"]]


def test_a_state_brought_back_from_an_older_copy_says_what_it_forgot_before_old_data_comes_back(
    one: Site, tmp_path: Path
) -> None:
    shutil.copytree(one.root / "state", one.root / "older")
    assert "no record here" not in one.dr("recover", "share", "--to", str(tmp_path / "a"), "--dry-run").out
    forgotten = _run(one)["run_id"]
    shutil.rmtree(one.root / "state")
    (one.root / "older").rename(one.root / "state")
    asked = one.dr("recover", "share", "--to", str(tmp_path / "b"), "--dry-run").out
    done = one.dr("recover", "share", "--to", str(tmp_path / "b"), "--yes").err
    drilled = one.dr("drill", "share", "--json")
    events = [each["text"] for each in drilled.document["drills"][0]["events"]]
    for told in (asked, done, drilled.err, "\n".join(events)):
        assert f"disk holds 1 later point that no record here tells of, the newest {forgotten}" in told
    (adopt,) = re.findall(r"`dr (points rebuild --adopt \w+)`", done)
    one.dr(*adopt.split())
    assert one.dr("drill", "share", "--json").document["drills"][0]["run_id"] == forgotten


def test_a_host_that_lost_its_state_takes_over_what_it_finds(one: Site) -> None:
    made = {point["run_id"] for point in one.dr("points", "share", "--json").document["points"]}
    shutil.rmtree(one.root / "state")
    one.escrow(False)
    one.dr("verify", "share", code=None)  # it is on record, and no point
    one.dr("points", "--rebuild")
    again = _run(one)
    assert not any("did not make" in note for note in again["notes"])
    points = one.dr("points", "share", "--json").document
    assert made < {point["run_id"] for point in points["points"]} and points["strangers"] == []


def test_of_two_chains_an_empty_state_takes_over_one_and_tells_of_the_other(one: Site) -> None:
    clone = _clone(one, with_state=False)
    mine = [_run(one)["run_id"] for _ in range(2)]
    theirs = _run(clone)["run_id"]
    shutil.rmtree(one.root / "state")
    one.escrow(False)
    rebuilt = one.dr("points", "--rebuild", "--json", code=None)
    known = {point["run_id"] for point in rebuilt.document["points"]}
    assert set(mine) <= known and theirs not in known
    assert {row["run_id"] for row in rebuilt.document["strangers"]} == {theirs}
