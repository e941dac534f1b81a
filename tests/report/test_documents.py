"""The machine's documents hold the keys of the contract, and no key comes or goes unseen."""

from __future__ import annotations

import json
from dataclasses import replace

from dr.evidence.acts import Pruning
from dr.evidence.seal import encode
from dr.report.acts import freed_in_words
from dr.report.documents import (
    backup_document,
    drill_document,
    expiration_document,
    point_document,
    proof_document,
    status_document,
)
from dr.report.kept import ProofView
from tests.report.district import NOW, backup, damaged_proof, drill, failed_drill, point, row


def keys(text: str) -> set[str]:
    return set(text.split())


def plain(document: dict[str, object]) -> dict[str, object]:
    return json.loads(json.dumps(document, allow_nan=False))  # type: ignore[no-any-return]


def test_a_backup_has_its_keys() -> None:
    made = plain(backup_document(backup()))
    contract = keys("run_id system outcome started finished consistency_time sources targets error")
    assert set(made) == contract | keys("complete suspect caught_up hooks locks notes healed traffic lost harmed")
    contract = keys("source kind outcome snapshot_id files bytes bytes_added error")
    assert set(made["sources"][0]) == contract | keys(
        "changed vanished appeared unreadable unstored seconds omissions hollow change"
    )  # type: ignore[index]
    assert set(made["targets"][0]) == keys("target outcome error bytes_added")  # type: ignore[index]


def test_a_proof_has_its_keys_and_its_damage() -> None:
    made = plain(proof_document(damaged_proof()))
    contract = keys("system target level_reached outcome objects bytes seconds damage error")
    assert set(made) == contract | keys(
        "run_id level_asked share coverage points lost damaged_points doubtful_points expired notes healed traffic"
    )
    assert made["damage"][0] == {"object": "data/3f/3f9a", "problem": "corrupt"}  # type: ignore[index]
    assert made["objects"] == damaged_proof().objects > 0
    unread = replace(damaged_proof(), objects=0, bytes=0)
    assert [proof_document(unread)[key] for key in ("objects", "bytes")] == [None, None], "nothing was looked at"
    assert ProofView.of(unread).objects == "not read"


def test_a_drill_has_its_keys() -> None:
    made = plain(drill_document(drill(), evidence_digest="d" * 64))
    contract = keys("""
        drill_id system scenario outcome checks_verdict rto_verdict rpo_verdict rto_target_seconds rta_seconds
        rpo_target_seconds rpa_seconds data_rpa_seconds phases run_id target proof_level checks files bytes sandbox
        evidence_digest error""")
    assert set(made) == contract | keys(
        "real t_loss started finished consistency_time protected_bytes sample hooks suspect last_unsuspected_point "
        "because selected in_place tables "
        "seen_at clean_room posture hollow passed_over lacks isolated isolated_reason events healed traffic "
        "sampled rto_estimate_seconds"
    )
    assert set(made["phases"]) == keys("declare provision restore start verify")  # type: ignore[call-overload]
    first = drill().events[0]
    assert made["events"][0] == {"at": encode(first.at), "text": first.what, "seconds": first.seconds, "outcome": "ok"}  # type: ignore[index]
    contract = keys("check source mandatory outcome expected observed")
    assert set(made["checks"][0]) == contract | keys("seconds")  # type: ignore[index]
    assert made["evidence_digest"] == "d" * 64


def test_a_failed_drill_has_null_where_nothing_was_achieved() -> None:
    made = drill_document(failed_drill(), evidence_digest="")
    assert (made["rta_seconds"], made["rto_verdict"], made["checks_verdict"]) == (None, "missed", "failed")
    short = drill_document(replace(failed_drill(), phases={"declare": 1.0}), evidence_digest="")
    assert short["phases"] == {"declare": 1.0, "provision": None, "restore": None, "start": None, "verify": None}


def test_a_point_has_its_keys_and_names_only_targets_that_can_be_used() -> None:
    whole = point()
    damaged = replace(whole, copies=(replace(whole.copies[0], damaged=True), whole.copies[1]))
    made = plain(point_document(damaged))
    contract = keys("run_id system consistency_time finished outcome snapshots proof_level proven_at targets")
    assert set(made) == contract | keys("complete bytes copies suspect protected_until destroyable_from lost")
    assert (made["targets"], made["proof_level"]) == (["vault"], 2)
    assert (made["protected_until"], made["destroyable_from"]) == ({"vault": None}, None)
    assert plain(point_document(whole))["targets"] == ["offsite", "vault"]


def test_a_status_has_its_keys() -> None:
    made = plain(status_document(row(), {"backup": NOW, "verify": None, "drill": None}))
    assert set(made) == keys("""
        system rpo_target_seconds freshness_seconds rpo_verdict exposure_seconds rto_target_seconds last_rta_seconds
        rpo_reason rto_reason rto_verdict proof_level proof_age_seconds last_drill last_drill_outcome next_due problems findings
        retention_frozen
        copies places""")
    assert made["next_due"] == {"backup": "2026-11-24T09:30:00.000000Z", "verify": None, "drill": None}


def test_what_a_prune_freed_is_not_told_as_nothing_where_it_did_not_list_what_is_left() -> None:
    failed = Pruning(
        run_id="prune-1", system="sis", target="offsite", started=NOW, finished=NOW, outcome="failed", error="no line"
    )
    made = expiration_document(None, failed, kept={})
    assert [made[key] for key in ("freed_bytes", "hidden_bytes", "objects", "stored_bytes")] == [None] * 4
    assert freed_in_words(failed) == "what it freed is not known"
    done = replace(failed, outcome="ok", stored_bytes=5)
    assert expiration_document(None, done, kept={})["freed_bytes"] == 0 and freed_in_words(done) == "0 B freed"
