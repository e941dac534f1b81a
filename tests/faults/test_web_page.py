"""A filter or a login page stands between: it is named at once, and is neither a repository nor damage."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dr.errors import DrError
from dr.tools.web_page import page_in
from tests.conftest import Site, plan_text
from tests.proxy import Busy, busy

PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body><p>Guests<br></body></html>"
XHTML = b"<html xmlns='http://www.w3.org/1999/xhtml'><head><title>Log in</title></head><body/></html>"


def close(front: Busy, status: int, body: bytes = PAGE) -> None:
    """Let the front show a page, or lead to one, whatever is asked."""
    front.only, front.status, front.body = ".", status, body
    front.headers = {"Content-Type": "text/html; charset=utf-8"}
    if status == 302:
        front.headers, front.body = {"Location": f"{front.endpoint}/login?secret=planted"}, b"."
    if status == 511:
        front.headers = {"Content-Type": "text/plain"}


@pytest.mark.parametrize("kind", ["s3", "rest"])
def test_a_page_is_named_at_once_by_us_and_by_restic_alone_and_harms_no_point(
    request: pytest.FixtureRequest, site: Site, bucket: str, kind: str
) -> None:
    server: Any = request.getfixturevalue("s3" if kind == "s3" else "rest_server")

    def lies_at(address: str) -> None:
        keys = {"credentials": {"file": str(site.root / "keys")}}
        place = {"endpoint": address, "bucket": bucket, **keys} if kind == "s3" else {"url": address, **server.login}
        site.target("offsite", yaml.safe_dump({"target": "offsite", kind: place}))

    if kind == "s3":
        server.write_keys(site.root / "keys")
    own = server.endpoint if kind == "s3" else server.url
    lies_at(own)
    (site.root / "source").mkdir()
    (site.root / "source" / "letter.txt").write_text("a letter\n")
    source = f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, targets="[offsite]"))
    site.dr("backup", "share")
    with busy(0) as front:
        lies_at(front.endpoint)
        for status, body in ((200, PAGE), (200, XHTML), (302, b""), (511, PAGE)):
            close(front, status, body)
            front.asked.clear()
            for typed in ("backup share", "verify share"):
                ran = site.dr(*typed.split(), code=1)
                assert "the target answers with a web page" in ran.err and "trying again" not in ran.err, ran.err
                assert "planted" not in ran.err
            assert len(front.asked) < 30, "and is not asked again"
            session = site.session()
            place = session.toolbox(session.chosen(["share"])[0]).places[0]
            with pytest.raises(DrError, match="answers with a web page") as alone:
                place.repository.snapshots(())
            assert not alone.value.retryable and "log in to that network" in alone.value.hint
            session.close()
    (point,) = site.dr("points", "--json").document["points"]
    assert not point["copies"][0]["damaged"] and not point["copies"][0]["missing"]
    lies_at(own)
    site.dr("verify", "share")


@pytest.mark.parametrize(
    ("status", "headers", "page"),
    [
        (200, {"Content-Type": "text/html; charset=utf-8"}, "status 200, text/html"),
        (302, {"location": "https://user:pass@portal.example:8443/in?to=x"}, "status 302, to https://portal.example:8443/in"),
        (307, {"Content-Type": "application/xml", "Location": "https://other.example"}, ""),
        (503, {"Content-Type": "text/html"}, ""),
        (404, {"Content-Type": "text/html"}, ""),
        (200, {"Content-Type": "application/octet-stream"}, ""),
        (200, {}, ""),
    ],
)  # fmt: skip
def test_only_what_is_shown_in_place_of_an_answer_is_a_page(status: int, headers: dict[str, str], page: str) -> None:
    assert page_in(status, headers) == page
