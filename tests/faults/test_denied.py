"""A policy that denies the backup's keys one action: every verb names that action, and calls nothing well unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dr.tools.s3_actions import denied_to_restic
from scripts.servers.s3 import S3Server
from tests.conftest import Site, plan_text
from tests.e2e.bucket import Attacked, make_attacked


@pytest.fixture
def denied(site: Site, s3: S3Server) -> Iterator[Callable[[str], Attacked]]:
    """A system with one point, whose keys may no longer do one thing."""
    made: list[Attacked] = []

    def make(action: str) -> Attacked:
        made.append(make_attacked(site, s3, user="writer"))
        s3.deny(made[-1].bucket, action)
        return made[-1]

    yield make
    for each in made:
        s3.deny(each.bucket)


@pytest.mark.parametrize(
    ("action", "codes"),
    [
        ("ListBucket", {"backup share": 12, "verify share": 12, "drill share": 12, "target check": 12, "doctor": 1}),
        ("GetObject", {"backup share": 12, "verify share": 12, "drill share": 3, "doctor": 1}),
        ("PutObject", {"backup share": 12, "verify share": 3, "drill share": 3, "target check": 3}),
    ],
)
def test_each_verb_names_the_action_that_is_denied(
    denied: Callable[[str], Attacked], action: str, codes: dict[str, int]
) -> None:
    site = denied(action).site
    for verb, code in codes.items():
        ran = site.dr(*verb.split(), code=code)
        assert f"denies these keys s3:{action}" in ran.err, ran.err
        assert f"llow these keys s3:{action}" in ran.err or code == 3, ran.err


def test_versions_serve_keys_that_may_not_read_what_is_on_top_though_nothing_was_overwritten(
    denied: Callable[[str], Attacked],
) -> None:
    attacked = denied("GetObject")
    for kind in ("Versions", "DeleteMarkers"):  # restic's own lock came and went: nothing else ever did
        for item in attacked.client.list_object_versions(Bucket=attacked.bucket).get(kind, ()):
            if "/locks/" in item["Key"]:
                attacked.client.delete_object(Bucket=attacked.bucket, Key=item["Key"], VersionId=item["VersionId"])
    drill = attacked.site.dr("drill", "share", code=3)
    assert "offsite as it was at" in drill.out and "6 equal" in drill.out, drill.out


def test_a_backup_whose_keys_may_not_remove_restics_lock_says_so(
    denied: Callable[[str], Attacked], s3: S3Server
) -> None:
    attacked = denied("DeleteObject")
    s3.deny(attacked.bucket, "DeleteObject", on="*/locks/*")
    output = "listed: {command: {run: [echo, x], filename: listed.txt}}"
    source = f"docs: {{files: {{paths: [{attacked.source}]}}}}"
    for sources in ((source,), (source, output)):
        attacked.site.plan("share", plan_text("share", *sources, targets="[offsite]"))
        done = attacked.site.dr("backup", "share", "--json", code=3).document["runs"][0]
        assert done["outcome"] == "degraded"
        (told,) = [note for note in done["notes"] if note.startswith("restic's own lock stays on offsite")]
        assert "the target denies these keys s3:DeleteObject; allow it, at least on locks/*" in told
    s3.deny(attacked.bucket, "DeleteObject", on="another/*")
    assert not attacked.site.dr("backup", "share", "--json").document["runs"][0]["notes"], "the control"


def test_doctor_says_that_nothing_can_be_stored_once_that_was_tried(denied: Callable[[str], Attacked]) -> None:
    site = denied("PutObject").site
    site.dr("target", "check", "--json", code=3)
    found: dict[str, Any] = {f["what"]: f for f in site.dr("doctor", "--json", code=3).document["findings"]}
    assert "nothing can be stored here" in found["offsite: probe: write an object"]["observed"]


@pytest.mark.parametrize(
    ("heard", "action"),
    [
        ("List(key) failed: Access Denied. Fatal: Access Denied.", "s3:ListBucket"),
        ("Fatal: unable to open config file: Stat: Access Denied.", "s3:GetObject"),
        ("Load(<data/874ad5d34c>, 0, 0) failed: Access Denied.", "s3:GetObject"),
        ("unable to create lock in backend: client.PutObject: Access Denied.", "s3:PutObject"),
        ("Access Denied. client.RemoveObject", "s3:DeleteObject"),
        ("Save(<lock/95bf4275c4>) failed: permission denied", ""),
    ],
)
def test_what_restic_says_of_a_denied_request_names_the_action(heard: str, action: str) -> None:
    assert denied_to_restic(heard) == action
