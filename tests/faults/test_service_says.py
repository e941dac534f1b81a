"""What a service says of an object or of its room, heard by restic and by us: nobody takes it for wrong keys or damage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.servers.s3 import S3Server
from tests.conftest import Site, plan_text
from tests.proxy import Busy, busy


@pytest.fixture
def front(s3: S3Server) -> Iterator[Busy]:
    with busy(s3.port, status=403) as front:
        yield front


@pytest.fixture
def share(site: Site, s3: S3Server, bucket: str, front: Busy) -> Site:
    """A system with one point on a target behind the front."""
    keys = s3.write_keys(site.root / "keys")
    place = f"endpoint: '{front.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}"
    site.target("offsite", f"target: offsite\ns3: {{{place}}}\n")
    (site.root / "source").mkdir()
    (site.root / "source" / "letter.txt").write_text("a letter\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[offsite]"))
    site.dr("backup", "share")
    return site


def test_objects_that_a_rule_moved_to_an_archive_are_neither_damaged_nor_refused(share: Site, front: Busy) -> None:
    """No server of ours has such an archive: the front says what AWS says."""
    front.only, front.code = r"GET /[^/]+/share/data/", "InvalidObjectState"
    front.message = "The operation is not valid for the object's storage class"
    for verb in ("verify", "drill"):
        ran = share.dr(verb, "share", code=1)
        assert "in an archive" in ran.err and "RestoreObject" in ran.err, ran.err
        assert "keys" not in ran.err and "damaged" not in ran.err, ran.err
    (point,) = share.dr("points", "share", "--json").document["points"]
    assert not point["copies"][0]["damaged"]
    front.only = r"none"
    share.dr("drill", "share")


def test_a_quota_that_is_used_up_is_no_refusal_of_the_keys(share: Site, front: Busy) -> None:
    front.only, front.code, front.message = r"PUT ", "QuotaExceeded", "The quota set for this resource has been reached"
    (share.root / "source" / "letter.txt").write_text("another letter\n")
    ran = share.dr("backup", "share", code=1)
    assert "full" in ran.err and "keys" not in ran.err, ran.err


#: What AWS says beside these codes: restic passes on no more than the sentence.
EXPIRED = (400, "ExpiredToken", "The provided token has expired.")
SKEWED = (403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
ELSEWHERE = (400, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'x' is wrong")
UNKNOWN = (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
DENIED = (403, "AccessDenied", "Access Denied.")


def test_what_is_refused_for_good_amid_a_backup_is_told_at_once_and_for_what_it_is(share: Site, front: Busy) -> None:
    """A token runs out, a clock is set, a bucket moves, while restic is at work and we ask nothing ourselves."""
    for said, code, told, hint in (
        (EXPIRED, 12, "refused the credentials", "Get new keys with a new session token"),
        (SKEWED, 1, "this machine's clock is too far from the target's", "Set the clock"),
        (ELSEWHERE, 1, "the bucket is in another region", "Write the region of the bucket"),
    ):
        (front.status, front.code, front.message), front.only = said, r"PUT /[^/]+/share/data/"
        (share.root / "source" / "letter.txt").write_text(f"another letter: {told}\n")
        ran = share.dr("backup", "share", code=code)
        assert told in ran.err and hint in ran.err and "trying again" not in ran.err, ran.err
    assert len(share.dr("points", "share", "--json").document["points"]) == 1


def test_what_is_not_given_amid_a_restore_is_called_refused_and_not_damaged(share: Site, front: Busy) -> None:
    for front.status, front.code, front.message in (DENIED, EXPIRED, UNKNOWN):
        front.only = r"GET /[^/]+/share/data/"
        ran = share.dr("drill", "share", code=12)
        assert ("denies these keys s3:GetObject" in ran.err) == (front.code == "AccessDenied"), ran.err
        assert "damaged" not in ran.err and "holds nothing" not in ran.err, ran.err
    front.only = "none"
    share.dr("drill", "share")
