"""Which proxy leads to a service, and whom it is believed by: as Go has it, and so restic."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.errors import DrError, RefusedError
from dr.tools.network import authorities, proxy_for

PROXY = "http://proxy.district.example:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("https://s3.example.org", "", False),
        ("https://s3.example.org", "*", True),
        ("https://s3.example.org", "example.org", True),
        ("https://s3.example.org", ".example.org", True),
        ("https://example.org", ".example.org", False),
        ("https://s3.example.org", "*.example.org", True),
        ("https://s3.example.org", "ample.org", False),
        ("https://s3.example.org", "other.org, S3.EXAMPLE.ORG", True),
        ("https://s3.example.org", "s3.example.org:443", True),
        ("https://s3.example.org:9000", "s3.example.org:443", False),
        ("http://10.1.2.3:9000", "10.0.0.0/8", True),
        ("http://11.1.2.3:9000", "10.0.0.0/8", False),
        ("http://10.1.2.3:9000", "10.1.2.3", True),
        ("http://10.1.2.3:9000", "10.1.2.3:80", False),
        ("http://[fd00::1]:9000", "fd00::/8", True),
        ("http://[fd00::1]:9000", "[fd00::1]:9000", True),
        ("http://[fd00::1]:9000", "fd00::2", False),
        ("http://s3.example.org", "10.0.0.0/8", False),
        ("http://127.0.0.1:9000", "", True),
        ("http://localhost:9000", "", True),
        ("http://[::1]:9000", "", True),
    ],
)
def test_no_proxy_means_what_it_means_to_go(url: str, no_proxy: str, direct: bool) -> None:
    env = {"HTTPS_PROXY": PROXY, "http_proxy": PROXY, "NO_PROXY": no_proxy}
    assert proxy_for(url, env) == ("" if direct else PROXY)


def test_a_proxy_is_that_of_the_scheme_and_may_be_written_short() -> None:
    assert proxy_for("https://s3.example.org", {"HTTP_PROXY": PROXY}) == ""
    assert proxy_for("http://s3.example.org", {"HTTP_PROXY": "proxy:3128"}) == "http://proxy:3128"
    with pytest.raises(DrError, match="a kind that cannot be used here") as caught:
        proxy_for("https://s3.example.org", {"HTTPS_PROXY": "socks5://user:planted@proxy:1080"})
    assert "planted" not in str(caught.value) + caught.value.hint


def test_what_the_system_believes_is_its_file_and_its_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----" for name in ("one", "two"))
    (tmp_path / "bundle.pem").write_text(f"# the bundle\n{one}\n")
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'none'}:{tmp_path / 'store'}")
    assert authorities() == str(tmp_path / "bundle.pem")
    (tmp_path / "store" / "own.crt").write_text(two)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "store"))
    whole = Path(authorities()).read_text()
    assert one in whole and two in whole


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authorities_file_that_holds_none_is_said(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(RefusedError, match=r"ca\.pem"):
        authorities(tmp_path / "ca.pem")
