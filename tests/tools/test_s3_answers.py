"""What a service answers is told with what mends it, also where the first answer has no body to say why."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dr.errors import DrError, RefusedError
from dr.tools.s3 import S3Store
from dr.tools.secrets import S3Keys

Answering = Callable[..., S3Store]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """A service that answers everything by one refusal; no real one has all of these to give."""
    begun: list[ThreadingHTTPServer] = []

    def make(status: int, code: str, **headers: str) -> S3Store:
        class Service(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 - the names that the library wants

            def log_message(self, *told: object) -> None:
                pass

        begun.append(ThreadingHTTPServer(("127.0.0.1", 0), Service))
        threading.Thread(target=begun[-1].serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{begun[-1].server_address[1]}"
        return S3Store(endpoint=endpoint, bucket="copies", keys=S3Keys("id", "planted-secret", "planted-token"))

    yield make
    for service in begun:
        service.shutdown()
        service.server_close()


@pytest.mark.parametrize(
    ("status", "code", "what", "hint"),
    [
        (403, "RequestTimeTooSkewed", "this machine's clock is too far from the target's; it is ", "set the clock"),
        (400, "ExpiredToken", "refused the credentials", "get new keys with a new session token: theirs has expired"),
        (403, "InvalidAccessKeyId", "refused the credentials", "the service does not know this one"),
        (403, "SignatureDoesNotMatch", "refused the credentials", "correct the secret access key"),
        (403, "AccessDenied", "the target denies these keys s3:", "belongs to somebody else answers alike"),
        (403, "QuotaExceeded", "failed: the target is full", "raise its quota, or free some space"),
        (507, "XMinioStorageFull", "failed: the target is full", "raise its quota, or free some space"),
        (403, "InvalidObjectState", "failed: the object lies in an archive", "take away the bucket's rule"),
        (403, "AccountProblem", "failed: the target refused it", "does not speak of the keys"),
        (301, "PermanentRedirect", "the bucket copies is in another region", "write region: eu-west-1, and that"),
        (400, "AuthorizationHeaderMalformed", "the bucket copies is in another region", "write region: eu-west-1"),
    ],
)
@pytest.mark.parametrize("ask", [lambda store: store.exists("config"), lambda store: list(store.list())])
def test_a_refusal_is_told_by_its_reason(
    answering: Answering, ask: Callable[[S3Store], object], status: int, code: str, what: str, hint: str
) -> None:
    region = {"x_amz_bucket_region": "eu-west-1"} if "region" in what else {}
    with pytest.raises(DrError) as caught:
        ask(answering(status, code, **region))
    error = caught.value
    assert what in error.what and error.cause in (code, str(status)) and hint in error.hint
    assert isinstance(error, RefusedError) == any(word in what for word in ("credentials", "denies", "refused it"))
    assert "planted" not in f"{error}{error!r}{error.hint}"


def test_a_refusal_without_a_reason_is_told_by_its_status(answering: Answering) -> None:
    with pytest.raises(RefusedError) as caught:
        answering(403, "").exists("config")
    assert caught.value.what == "the target refused the credentials, or denies them s3:GetObject"
    assert caught.value.hint == "check the target's key pair and its rights"
