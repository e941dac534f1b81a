"""S3 behind TLS, as typed: one set of authorities, proxies and addresses for restic's half and for ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.servers.s3 import S3Server
from tests.conftest import Site, plan_text
from tests.tls import Authority, Front


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def front(s3: S3Server, authority: Authority) -> Iterator[Front]:
    with Front(s3.port, tls=authority.issue("127.0.0.1")) as made:
        yield made


def declare(site: Site, s3: S3Server, bucket: str, *, endpoint: str, more: str = "") -> None:
    keys = s3.write_keys(site.root / "keys")
    place = f"endpoint: '{endpoint}', bucket: {bucket}, prefix: dr, credentials: {{file: {keys}}}{more}"
    site.target("far", f"target: far\ns3: {{{place}}}\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[far]"))


def test_an_authority_is_trusted_by_both_halves_or_named_by_both(
    files_site: Site, s3: S3Server, bucket: str, authority: Authority, front: Front
) -> None:
    site, endpoint = files_site, f"https://127.0.0.1:{front.port}"
    declare(site, s3, bucket, endpoint=endpoint)
    told = site.dr("backup", "share", code=1).err
    assert "the certificate of 127.0.0.1 is not trusted" in told and "ca_file" in told and "trying again" not in told
    folder = site.root / "store"
    folder.mkdir()
    (folder / "own.pem").write_bytes(authority.file.read_bytes())
    site.dr("backup", "share", SSL_CERT_FILE=str(authority.file))
    site.dr("backup", "share", SSL_CERT_DIR=str(folder))
    declare(site, s3, bucket, endpoint=endpoint, more=f", ca_file: {authority.file}")
    site.dr("backup", "share")
    (proof,) = site.dr("verify", "share", "--json").document["proofs"]
    assert (proof["outcome"], proof["level_reached"]) == ("ok", 3)
    (site.root / "other").mkdir()
    other = Authority(site.root / "other")
    declare(site, s3, bucket, endpoint=endpoint, more=f", ca_file: {other.file}")
    assert "is not trusted" in site.dr("backup", "share", code=1, SSL_CERT_FILE=str(authority.file)).err
    declare(site, s3, bucket, endpoint=endpoint, more=f", ca_file: {site.root}/none.pem")
    assert "none.pem is not there" in site.dr("validate", code=2).err


@pytest.mark.parametrize(
    ("names", "days", "why"), [(("other.district.example",), 9, "mismatch"), (("127.0.0.1",), -1, "expired")]
)
def test_a_certificate_that_is_wrong_is_named(
    files_site: Site, s3: S3Server, bucket: str, authority: Authority, names: tuple[str, ...], days: int, why: str
) -> None:
    with Front(s3.port, tls=authority.issue(*names, days=days)) as front:
        more = f", ca_file: {authority.file}"
        declare(files_site, s3, bucket, endpoint=f"https://127.0.0.1:{front.port}", more=more)
        told = files_site.dr("backup", "share", code=1).err
    assert "is not trusted" in told and why in told and "trying again" not in told


def test_a_bucket_before_the_hosts_name_is_reached_through_a_proxy_by_both_halves(
    files_site: Site, s3: S3Server, bucket: str, authority: Authority
) -> None:
    site, name = files_site, f"{bucket}.{s3.domain}"
    with (
        Front(s3.port, tls=authority.issue(f"*.{s3.domain}")) as front,
        Front(front.port, leads=True) as proxy,
    ):
        more = f", addressing: virtual, ca_file: {authority.file}"
        declare(site, s3, bucket, endpoint=f"https://{s3.domain}", more=more)
        leading = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "10.0.0.0/8,other.example"}
        site.dr("backup", "share", **leading)
        (proof,) = site.dr("verify", "share", "--json", **leading).document["proofs"]
        assert (proof["outcome"], proof["level_reached"]) == ("ok", 3)
        assert set(proxy.asked) == {f"{name}:443"}, "the bucket stands before the host's name, in each request"
    assert s3.client().head_object(Bucket=bucket, Key="dr/share/config")
