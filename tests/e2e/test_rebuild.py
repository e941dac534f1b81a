"""The way back when the catalog is lost: from what the targets hold, whatever else is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Site, plan_text


@pytest.fixture
def two(files_site: Site) -> Site:
    """Two systems, backed up and drilled."""
    source = f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
    files_site.plan("other", plan_text("other", source, targets="[disk]"))
    files_site.dr("backup", "--all")
    files_site.dr("drill", "--all")
    return files_site


def _lose_the_catalog(site: Site) -> None:
    for path in (site.root / "state").glob("catalog.sqlite*"):
        path.unlink()


def test_the_sizes_of_points_are_those_of_the_backup_also_without_any_evidence(two: Site) -> None:
    """And where the first target has lost a part of a point, those of the copy that is whole."""
    rows = "export: {command: {run: [printf, 'a line'], filename: export.txt}}"
    two.plan("share", plan_text("share", f"docs: {{files: {{paths: [{two.root}/source]}}}}", rows))
    two.dr("backup", "share")
    made = {each["run_id"]: each["bytes"] for each in two.dr("points", "--json").document["points"]}
    assert len(made) == 3 and all(made.values())
    newest = two.dr("points", "share", "--json").document["points"][0]
    on_disk = next(copy for copy in newest["copies"] if copy["target"] == "disk")
    (two.root / "disk" / "share" / "snapshots" / on_disk["snapshots"]["docs"]).unlink()
    _lose_the_catalog(two)
    for name in ("disk", "vault"):
        shutil.rmtree(two.root / name / "_evidence")
    found = two.dr("points", "--rebuild", "--json").document["points"]
    assert {each["run_id"]: each["bytes"] for each in found} == made
    assert {each["outcome"] for each in found} == {"ok"}


def test_the_run_after_a_rebuild_sends_the_records_that_a_target_lacks_and_no_others(two: Site) -> None:
    places = {name: two.root / name / "_evidence" / "share" for name in ("disk", "vault")}
    two.dr("backup", "share")
    before = sorted(path.name for path in places["vault"].iterdir())
    assert len(before) == 3 and before == sorted(path.name for path in places["disk"].iterdir())
    lacking, cut, _ = before
    (places["vault"] / lacking).unlink()
    whole = (places["vault"] / cut).read_bytes()
    (places["vault"] / cut).write_bytes(whole[:-1])
    written = {path: path.stat().st_mtime_ns for path in (*places["disk"].iterdir(), *places["vault"].iterdir())}
    _lose_the_catalog(two)
    two.dr("points", "--rebuild")
    two.dr("backup", "share")
    again = {path for path, was in written.items() if path.stat().st_mtime_ns != was}
    assert again == {places["vault"] / cut} and (places["vault"] / cut).read_bytes() == whole
    assert (places["vault"] / lacking).exists() and len(list(places["disk"].iterdir())) == len(before) + 1
    assert two.dr("audit", "--json").document["outcome"] == "ok"


def test_a_secret_that_is_not_there_stops_the_rebuild_of_no_other_system(two: Site) -> None:
    plan = two.root / "config" / "plans" / "other.yaml"
    plan.write_text(plan.read_text() + "secrets: {passphrase: {file: /nonexistent/secret}}\n")
    _lose_the_catalog(two)
    ran = two.dr("points", "--rebuild", "--json", code=3)
    assert [point["system"] for point in ran.document["points"]] == ["share"]
    assert [error["where"] for error in ran.document["errors"]] == ["other@disk"]
    assert two.dr("audit", "--json").document["outcome"] == "ok"
    plan.write_text(plan.read_text().partition("secrets:")[0])
    assert two.dr("points", "--rebuild").err == "", "the next rebuild goes on where that one ended"
    assert all(row["last_drill_outcome"] == "ok" for row in two.dr("status", "--json").document["systems"])
    audit = two.dr("audit", "--json").document
    assert (audit["outcome"], audit["records"]) == ("ok", 5), "nothing is missing, and the rebuild is on record"


def test_without_the_passphrases_the_rebuild_says_what_to_put_back_and_is_exit_12(two: Site) -> None:
    shutil.copytree(two.root / "state" / "secrets", two.root / "safe")
    shutil.rmtree(two.root / "state")
    ran = two.dr("points", "--rebuild", code=12)
    assert "from your copy of STATE/secrets" in ran.err and "from 0 repositories" in ran.out
    shutil.copytree(two.root / "safe", two.root / "state" / "secrets", dirs_exist_ok=True)
    assert len(two.dr("points", "--rebuild", "--json").document["points"]) == 2
    assert two.dr("drill", "--all", "--json").document["drills"][0]["outcome"] == "ok"


def test_every_target_down_is_exit_1(two: Site) -> None:
    for name in ("disk", "vault"):
        two.target(name, f"target: {name}\nlocal: {{path: /nonexistent/place/{name}}}\n")
    ran = two.dr("points", "--rebuild", "--json", code=1)
    assert len(ran.document["errors"]) == 3 and len(ran.document["points"]) == 2, "what was known stays"


def test_a_catalog_begun_anew_without_a_rebuild_breaks_no_later_rebuild(two: Site) -> None:
    """Two chains then lie on the targets, with the same numbers."""
    _lose_the_catalog(two)
    two.dr("backup", "share")
    _lose_the_catalog(two)
    ran = two.dr("points", "--rebuild", "--json")
    assert len(ran.document["points"]) == 3, "no point is lost"
    assert "not of this chain stay there: 1" in ran.err
    audit = two.dr("audit", "--json").document
    assert (audit["outcome"], audit["records"]) == ("ok", 5), "the longer chain, and the rebuild"
    assert {p["proof_level"] for p in ran.document["points"]} == {0, 4}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"seq": 1}', b'"text"'], ids=range(7))
def test_what_somebody_put_among_the_evidence_harms_nothing(two: Site, content: bytes) -> None:
    (two.root / "disk" / "_evidence" / "share" / "00000001-strange.json").write_bytes(content)
    _evidence_of_wrong_types(two.root / "disk" / "_evidence" / "share")
    _lose_the_catalog(two)
    assert len(two.dr("points", "--rebuild", "--json").document["points"]) == 2
    assert two.dr("audit", "--json").document["records"] == 5


def _evidence_of_wrong_types(place: Path) -> None:
    record = json.loads(next(place.glob("0000*-[0-9a-f]*.json")).read_bytes())
    for number, change in enumerate(({"seq": "1"}, {"seq": True}, {"body": []}, {"kind": None}, {"system": 5})):
        (place / f"0000000{number}-odd.json").write_text(json.dumps(record | change))
