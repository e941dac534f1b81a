"""Counting what boto3 sends, try by try, where it sends it: by its own events, which come in the thread that asks.

Several stores share one client, so each says that it is the one who asks, right before it does. Only the parts of what
is too large for one request are sent by threads of boto3's own: those are known by the object that they make.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dr.tools.meter import Meter, RequestClass
from dr.tools.s3_tries import reached_nobody

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_CLASSES: dict[str, RequestClass] = {
    "List": "list", "Get": "read", "Head": "read", "Delete": "delete", "Abort": "delete",
}  # fmt: skip
_mine = threading.local()
#: Who makes an object by boto3's threads, by bucket and key.
_parts: dict[tuple[str, str], Meter] = {}


def asks(meter: Meter) -> None:
    """Let the requests that this thread makes from now on be counted there."""
    _mine.meter = meter


@contextmanager
def in_parts(bucket: str, key: str, meter: Meter) -> Iterator[None]:
    """Let the requests that make this object be counted there, whoever sends them."""
    _parts[bucket, key] = meter
    try:
        yield
    finally:
        del _parts[bucket, key]


def attend(client: S3Client) -> None:
    """Count all that a client sends."""
    events: Any = client.meta.events
    events.register("before-send.s3", _sends, unique_id="dr-meter-sends")
    events.register("response-received.s3", _received, unique_id="dr-meter-received")


def class_of(operation: str) -> RequestClass:
    """Return the class of a request by the name of its operation, as price lists have it; what else it is, a write."""
    return next((kind for start, kind in _CLASSES.items() if operation.startswith(start)), "write")


def _sends(*, request: Any, **_: object) -> None:
    _mine.sends = int(request.headers.get("Content-Length") or 0)


def _received(
    *,
    event_name: str,
    response_dict: Mapping[str, Any] | None,
    context: Mapping[str, Any],
    exception: Exception | None,
    **_: object,
) -> None:
    """Count one try. None where no connection was made: no request went out then."""
    sends, _mine.sends = getattr(_mine, "sends", None), None
    meter = _meter(context)
    if meter is None or sends is None or reached_nobody(exception):
        return
    kind = class_of(event_name.rpartition(".")[2])
    if response_dict is None or response_dict["status_code"] >= 300:  # what is refused may be so before its body
        meter.request(kind)
        return
    body = response_dict.get("body")
    meter.request(kind, sent=sends, received=len(body) if isinstance(body, bytes) else 0)


def _meter(context: Mapping[str, Any]) -> Meter | None:
    named = context.get("s3_redirect", {}).get("params", {}) if _parts else {}
    mine: Meter | None = getattr(_mine, "meter", None)
    return _parts.get((str(named.get("Bucket")), str(named.get("Key"))), mine)
