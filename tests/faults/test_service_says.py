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
