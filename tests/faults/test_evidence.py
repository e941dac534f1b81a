"""Evidence that somebody forged, altered, cut short or took away: it is told, never trusted, and stands in no way."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dr.evidence.canonical import canonical
from dr.evidence.seal import digest_of, name_of
from tests.conftest import Site, plan_text


@pytest.fixture
def kept(files_site: Site) -> Site:
    """A system with two points and a proof on record, on one target."""
    source = files_site.root / "source"
    files_site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{source}]}}}}", targets="[disk]"))
    files_site.dr("backup", "share")
    files_site.dr("backup", "share")
    files_site.dr("verify", "share", "--level", "1")
    return files_site


def evidence(site: Site) -> list[Path]:
    return sorted((site.root / "disk" / "_evidence" / "share").iterdir())


def lose_the_catalog(site: Site) -> None:
    for path in (site.root / "state").glob("catalog.sqlite*"):
        path.unlink()


def forge(site: Site, number: int, change: Callable[[dict[str, Any]], object]) -> Path:
    """Put a record beside the others that is sealed as it should be, and was never made."""
    record = json.loads(evidence(site)[number].read_bytes())
    change(record)
    record["digest"] = digest_of(record)
    path = evidence(site)[0].with_name(name_of(record["seq"], record["digest"]))
    path.write_text(json.dumps(record))
    return path


def test_a_forged_number_makes_a_gap_that_is_kept_as_two_numbers_and_told(kept: Site) -> None:
    forge(kept, 1, lambda record: record.update(seq=9_000_000_000, ref="never", prev="f" * 64))
    lose_the_catalog(kept)
    ran = kept.dr("points", "rebuild")
    assert "nothing is known of them: 8999999996 records (4 to 8999999999)" in ran.err
    audit = kept.dr("audit", "--json")
    assert audit.document["missing"] == [[4, 8_999_999_999]] and audit.document["outcome"] == "ok"
    assert "8999999996 records" in audit.err
    with sqlite3.connect(kept.root / "state" / "catalog.sqlite") as db:
        assert db.execute("select value from meta where key = 'gaps'").fetchone()[0] == "[[4, 8999999999]]"


@pytest.mark.parametrize("number", [5, 900])
@pytest.mark.parametrize("lost", [True, False])
def test_a_second_record_of_one_run_is_left_out(kept: Site, number: int, lost: bool) -> None:
    last = json.loads(evidence(kept)[-1].read_bytes())["digest"]
    forge(kept, 1, lambda record: record.update(seq=number, prev=last if number == 4 else "f" * 64))
    if lost:
        lose_the_catalog(kept)
    ran = kept.dr("points", "rebuild", "--json")
    assert len(ran.document["points"]) == 2 and "not of this chain stay there: 1" in ran.err
    assert kept.dr("audit", "--json").document["missing"] == []


def _in_body(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda record: (record.update(seq=900, ref="never", prev="f" * 64), record["body"].update(values))


@pytest.mark.parametrize(
    "change",
    [
        _in_body(targets=[{"target": 5, "outcome": {}, "snapshots": "x"}]),
        _in_body(finished="2026-11-29T09:00:00"),
        _in_body(finished="0001-01-01T00:00:00+14:00"),
        _in_body(started=None),
        _in_body(run_id=[]),
        _in_body(looks=[{"target": "disk", "at": "2026-11-29T09:00:00Z", "whole": True, "lost": "abc", "gone": 7}]),
        _in_body(system={"a": 1}),
        lambda record: record.update(seq=-4, ref="never"),
        lambda record: record.update(seq=0, ref="never"),
    ],
    ids=range(9),
)
def test_a_sealed_record_whose_values_are_of_other_types_is_left_out(
    kept: Site, change: Callable[[dict[str, Any]], object]
) -> None:
    name = forge(kept, 1, change).name
    lose_the_catalog(kept)
    ran = kept.dr("points", "rebuild", "--json")
    assert len(ran.document["points"]) == 2 and name in ran.err
    assert kept.dr("audit", "--json").document["records"] == 4, "three, and the rebuild"


def test_evidence_that_was_altered_cut_short_or_removed_is_told_and_sent_again(kept: Site) -> None:
    first, second, third = evidence(kept)
    whole = {path.name: path.read_bytes() for path in (first, second, third)}
    first.write_bytes(whole[first.name].replace(b'"ok"', b'"failed"', 1))
    second.write_bytes(whole[second.name][:200])
    third.unlink()
    ran = kept.dr("points", "rebuild")
    assert f"altered or removed, and is sent there again by the next run: {first.name}, {second.name}" in ran.err
    assert f"not as it was sealed, or of a later release: {first.name}, {second.name}" in ran.err
    kept.dr("backup", "share")
    assert {path.name: path.read_bytes() for path in evidence(kept) if path.name in whole} == whole
    assert "evidence" not in kept.dr("points", "rebuild").err


def test_a_catalog_with_text_that_is_none_is_made_again(kept: Site) -> None:
    with sqlite3.connect(kept.root / "state" / "catalog.sqlite") as db:
        db.execute("update copies set snapshots = cast(x'7bff7d' as text)")
    assert "dr points rebuild" in kept.dr("points", code=1).err
    assert len(kept.dr("points", "rebuild", "--json").document["points"]) == 2
    assert list((kept.root / "state").glob("catalog.sqlite.damaged-*"))


@pytest.mark.parametrize(("key", "value"), [("head_seq", "x"), ("gaps", "{"), ("gaps", "[[1]]"), ("gaps", '["a"]')])
def test_a_catalog_whose_own_notes_are_damaged_says_so_and_is_made_again(kept: Site, key: str, value: str) -> None:
    with sqlite3.connect(kept.root / "state" / "catalog.sqlite") as db:
        db.execute("insert or replace into meta values (?, ?)", (key, value))
    ran = kept.dr("audit", code=1)
    assert "the catalog is damaged" in ran.err and "dr points rebuild" in ran.err
    assert len(kept.dr("points", "rebuild", "--json").document["points"]) == 2
    kept.dr("audit")
    assert list((kept.root / "state").glob("catalog.sqlite.damaged-*"))


def test_gaps_as_an_earlier_release_kept_them_are_read(kept: Site) -> None:
    evidence(kept)[1].unlink()
    lose_the_catalog(kept)
    kept.dr("points", "rebuild")
    with sqlite3.connect(kept.root / "state" / "catalog.sqlite") as db:
        db.execute("insert or replace into meta values ('gaps', '[2]')")
    assert kept.dr("audit", "--json").document["missing"] == [[2, 2]]


def test_a_record_that_was_altered_in_the_catalog_is_sent_over_no_whole_one(kept: Site) -> None:
    first, second, third = evidence(kept)
    whole = second.read_bytes()
    first.unlink()
    kept.dr("points", "rebuild")
    with sqlite3.connect(kept.root / "state" / "catalog.sqlite") as db:
        db.execute("update evidence set body = replace(body, 'share', 'other') where seq = 2")
    ran = kept.dr("backup", "share", code=3)
    assert "record 2 of the catalog was edited" in ran.err and "dr audit" in ran.err
    assert first.exists() and second.read_bytes() == whole and third.exists()


@pytest.fixture
def twice(files_site: Site) -> Site:
    """A system with two points on two targets, and a proof on record."""
    source = files_site.root / "source"
    files_site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{source}]}}}}"))
    files_site.dr("backup", "share")
    files_site.dr("backup", "share")
    return files_site


def alter(site: Site, statement: str) -> None:
    with sqlite3.connect(site.root / "state" / "catalog.sqlite") as db:
        db.execute(statement)
    db.close()
    site.dr("audit", code=1)


ALTERED = "update evidence set body = replace(body, '\"ok\"', '\"failed\"') where seq = 1"


@pytest.mark.parametrize(
    "statement",
    [
        ALTERED,
        "update evidence set digest = 'f' where seq = 1",
        "update evidence set body = cast(x'7bff7d' as text) where seq = 1",
        "delete from evidence where seq = 1",
        "delete from evidence",
        "delete from evidence where seq = 2",
    ],
    ids=["edited", "digest", "no text", "removed", "all removed", "cut at the end"],
)
def test_a_record_altered_in_the_catalog_and_at_one_of_two_targets_is_put_back_from_the_other(
    twice: Site, statement: str
) -> None:
    alter(twice, statement)
    first = evidence(twice)[0]
    whole = first.read_bytes()
    first.write_bytes(whole.replace(b'"ok"', b'"failed"', 1))
    ran = twice.dr("points", "rebuild")
    assert first.name in ran.err
    audit = twice.dr("audit", "--json").document
    assert (audit["outcome"], audit["records"], audit["missing"]) == ("ok", 3, []), "and the rebuild"
    kept = list((twice.root / "state").glob("catalog.sqlite.altered-*.jsonl"))
    if "update" in statement:
        assert str(kept[0]) in ran.err and "put back from the targets: 1 records (1)" in ran.err
        assert json.loads(kept[0].read_text())["seq"] == 1 and kept[0].stat().st_mode & 0o077 == 0
        acts = twice.dr("report", "--format", "json", "-o", "-").document["acts"]
        assert "1 record of the catalog had been altered" in json.dumps(acts)
    else:
        assert kept == []
    twice.dr("backup", "share")
    assert first.read_bytes() == whole and twice.dr("points", "rebuild").err == ""


def test_a_record_altered_everywhere_is_set_aside_once_every_target_was_read(twice: Site) -> None:
    alter(twice, ALTERED)
    for name in ("disk", "vault"):
        first = sorted((twice.root / name / "_evidence" / "share").iterdir())[0]
        first.write_bytes(first.read_bytes().replace(b'"ok"', b'"failed"', 1))
    twice.target("vault", "target: vault\nlocal: {path: /nonexistent/place/vault}\n")
    assert "altered-" not in twice.dr("points", "rebuild", code=3).err, "the vault may hold it"
    twice.dr("audit", code=1)
    twice.target("vault", f"target: vault\nlocal: {{path: {twice.root}/vault}}\n")
    ran = twice.dr("points", "rebuild")
    assert "whole on no target, and missing from now on: 1 records (1)" in ran.err
    audit = twice.dr("audit", "--json").document
    assert (audit["outcome"], audit["missing"]) == ("ok", [[1, 1]])
    twice.dr("backup", "share")
    twice.dr("points", "rebuild", "--json")


@pytest.mark.parametrize(
    "statement",
    [
        "update copies set proof_level = 5",
        "update copies set proof_level = 'x'",
        "update copies set proof_level = 1, proven_at = coalesce(proven_at, 0) + 1",
        "update copies set proof_level = 3, proven_at = (select max(proven_at) from copies) where target = 'disk'",
    ],
)
def test_proof_that_was_written_into_the_index_is_named_and_taken_back(kept: Site, statement: str) -> None:
    shown = [(each["run_id"], each["proof_level"]) for each in kept.dr("points", "--json").document["points"]]
    assert {level for _, level in shown} == {1}
    alter(kept, statement)
    assert "the index says of its proof on disk" in kept.dr("audit", code=1).err
    kept.dr("points", "rebuild")
    assert kept.dr("audit", "--json").document["outcome"] == "ok"
    assert [(each["run_id"], each["proof_level"]) for each in kept.dr("points", "--json").document["points"]] == shown


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("update copies set damaged = 1", "'damaged'"),
        ("update copies set missing = 1", "'missing'"),
        ("update copies set complete = 0", "'not whole'"),
        ("update points set complete = 0, consistency = consistency - 3600000000", "consistency, complete"),
    ],
)
def test_what_was_written_into_the_index_of_points_is_named_and_taken_back(
    kept: Site, statement: str, told: str
) -> None:
    shown = kept.dr("points", "--json").document["points"]
    alter(kept, statement)
    bad = kept.dr("audit", "--json", code=1)
    assert told in bad.document["first_bad"]["problem"] and "dr points rebuild" in bad.err
    kept.dr("points", "rebuild")
    assert kept.dr("audit", "--json").document["outcome"] == "ok"
    again = kept.dr("points", "--json").document["points"]
    names = ("run_id", "complete", "consistency_time")
    assert [[each[name] for name in names] for each in again] == [[each[name] for name in names] for each in shown]


def _resealed(site: Site, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the catalog again from one record on, as who may write there can: each digest and link is right."""
    parts = ("seq", "kind", "ref", "system", "at", "prev", "body")
    with sqlite3.connect(site.root / "state" / "catalog.sqlite") as db:
        rows = db.execute("select seq, kind, ref, system, at, prev, body from evidence where seq >= ?", (number,))
        last = ""
        for row in rows.fetchall():
            record = dict(zip(parts, row, strict=True)) | {"body": json.loads(row[-1])}
            if record["seq"] == number:
                change(record)
            record["prev"] = last or record["prev"]
            last = digest_of(record)
            body = canonical(record["body"])
            db.execute(
                "update evidence set prev = ?, digest = ?, body = ? where seq = ?",
                (record["prev"], last, body, record["seq"]),
            )
        db.execute("update meta set value = ? where key = 'head_digest'", (last,))


def names(witness: dict[str, Any]) -> list[str]:
    return [each["name"] for each in witness["strange"]]


def test_a_catalog_that_was_written_again_as_a_whole_is_found_by_what_lies_at_the_target(kept: Site) -> None:
    before = kept.dr("audit", "--targets", "--json").document
    (witness,) = before["witnesses"]
    assert (witness["outcome"], witness["records"], witness["unsent"]) == ("agrees", 3, 0)
    _resealed(kept, 3, lambda record: record["body"].update(seconds=1.0))
    plain = kept.dr("audit", "--json").document
    assert plain["outcome"] == "ok" and "witnesses" not in plain, "by itself the chain is whole"
    ran = kept.dr("audit", "--targets", "--json", code=1)
    (witness,) = ran.document["witnesses"]
    assert witness["outcome"] == "differs" and names(witness) == [evidence(kept)[2].name]
    assert len(witness["lost"]) == 1 and witness["lost"] != names(witness)
    assert f"records were sealed that the catalog does not hold: {evidence(kept)[2].name}" in ran.err
    lose_the_catalog(kept)
    kept.dr("points", "rebuild")
    assert kept.dr("audit", "--targets", "--json").document["witnesses"][0]["records"] == 3, "as the hint says"


def test_a_catalog_that_was_set_back_is_found_by_what_lies_at_the_target(kept: Site) -> None:
    catalog = kept.root / "state" / "catalog.sqlite"
    with contextlib.closing(sqlite3.connect(catalog)) as db:
        db.execute("vacuum into ?", (str(kept.root / "older"),))
    kept.dr("backup", "share")
    lose_the_catalog(kept)
    (kept.root / "older").rename(catalog)
    kept.dr("audit")
    (witness,) = kept.dr("audit", "--targets", "--json", code=3).document["witnesses"]
    assert (
        witness["outcome"] == "strange"
        and names(witness) == [evidence(kept)[3].name]
        and witness["records"] == 3
        and not witness["lost"]
    )


def test_evidence_that_was_altered_or_removed_at_a_target_is_found_without_a_rebuild(kept: Site) -> None:
    first, second, _ = evidence(kept)
    first.write_bytes(first.read_bytes().replace(b'"ok"', b'"failed"', 1))
    second.unlink()
    ran = kept.dr("audit", "--targets", "--json", code=1)
    (witness,) = ran.document["witnesses"]
    assert witness["altered"] == [first.name] and witness["lost"] == [first.name, second.name]
    assert ran.document["outcome"] == "ok" and "dr points rebuild" in ran.err
    kept.dr("hold", "share", "--until", "2030-01-01", "--reason", "a matter of law")
    assert kept.dr("audit", "--targets", "--json", code=1).document["witnesses"][0]["unsent"] in (0, 1)
    (kept.root / "disk").rename(kept.root / "elsewhere")
    ran = kept.dr("audit", "--targets", "--json", code=1)
    assert ran.document["witnesses"][0]["outcome"] == "unread" and "no repository is there" in ran.err
