"""boto3's tries, held against our budget: it alone gives up after four, within some three seconds, and says nothing.

A service that is busy or failing is asked again until the budget of that one request is spent. One that cannot be
reached at all is asked `TRIES` times. Anything else is an answer, and is told at once. A service that says when to come
again (`Retry-After`, RFC 9110) is asked no sooner; one that names a time past the budget is not asked again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from dr.tools import command, retry, web_page
from dr.tools.network import why_untrusted

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

log = logging.getLogger("dr.retry")

_LONGEST_WAIT = 20.0
_BUSY = {
    "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "InternalError",
    "BandwidthLimitExceeded", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException",
}  # fmt: skip
_BUSY_STATUS = {429, 500, 502, 503, 504}
#: Where a request carries how long it has been failing already.
_FAILING = "dr_failing"


def is_passing(code: str, status: int) -> bool:
    """Whether an answer says that the service is busy, or failing for now."""
    return code in _BUSY or status in _BUSY_STATUS


def attend(client: S3Client) -> None:
    """Let every request of a client that itself tries once be tried again as is said above.

    Raises, out of any request: `InterruptedRunError` when the program is asked to stop while it waits, and
    `TargetDownError` where a web page answers.
    """
    again: Callable[..., Any] = _again  # boto3 asks for its answer, whatever its types say
    client.meta.events.register("needs-retry.s3", again, unique_id="dr-tries")
    page: Callable[..., Any] = partial(_parse, host=client.meta.endpoint_url)
    client.meta.events.register_first("before-parse.s3", page, unique_id="dr-pages")


def _again(
    *,
    attempts: int,
    operation: Any,
    request_dict: Mapping[str, Any],
    response: tuple[Any, Mapping[str, Any]] | None,
    caught_exception: Exception | None,
    endpoint: Any,
    **_: object,
) -> int | None:
    """Wait and return 0, which is boto3's word for another try; None for none."""
    if response is not None:  # of a page with status 200 boto3 makes status 500 before it is parsed
        _refuse_page(response[0].raw.status, response[0].headers, endpoint.host)
    why = _reason(response, caught_exception)
    if not why or (caught_exception is not None and attempts >= retry.TRIES):
        return None
    wait: float = min(_LONGEST_WAIT, 2.0 ** (attempts - 1)) * random.uniform(0.5, 1)  # noqa: S311 - no secret
    wait = max(wait, asked := retry_after(response[0].headers) if response else 0.0)
    context = request_dict["context"]
    patience = context.setdefault(_FAILING, retry.Patience(budget=retry.budget()))
    bucket = context.get("input_params", {}).get("Bucket")
    where = f"s3://{bucket}" if bucket else endpoint.host
    if patience.is_spent("", wait):
        if asked > retry.budget():
            log.warning("%s: %s: %s; asks to be left alone for %.0f s", where, operation.name, why, asked)
        return None
    log.warning("%s: %s: %s; trying again in %.1f s", where, operation.name, why, wait)
    command.wait_for_stop(wait)
    command.raise_if_stopping()
    return 0


def retry_after(headers: Mapping[str, str]) -> float:
    """Return for how many seconds an answer asks to be left alone: by a number, or a date held against its own clock.

    0 where it does not say so, or says it in a way that nobody can read.
    """
    from email.utils import parsedate_to_datetime  # few answers ask so

    named = {name.lower(): value.strip() for name, value in headers.items()}
    told = named.get("retry-after", "")
    if told.isdecimal():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
        now = parsedate_to_datetime(named["date"]) if "date" in named else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _parse(*, response_dict: Mapping[str, Any], host: str, **_: object) -> None:
    """Raise where a web page answered, before boto3 asks where it redirects to, in a circle."""
    _refuse_page(response_dict["status_code"], response_dict["headers"], host)


def _refuse_page(status: int, headers: Mapping[str, str], host: str) -> None:
    if page := web_page.page_in(status, headers):
        raise web_page.error("S3", host, page)


def reached_nobody(caught: Exception | None) -> bool:
    """Whether a request ended so that no connection was made: nothing went out then."""
    from botocore.exceptions import ConnectionError as NoConnection

    return isinstance(caught, NoConnection)


def _reason(response: tuple[Any, Mapping[str, Any]] | None, caught: Exception | None) -> str:
    """Return why another try may help; nothing where it cannot."""
    from botocore.exceptions import HTTPClientError

    if caught is not None:
        passing = (reached_nobody(caught) or isinstance(caught, HTTPClientError)) and not why_untrusted(caught)
        return type(caught).__name__ if passing else ""
    if response is None:
        return ""
    http, told = response
    code = str(told.get("Error", {}).get("Code", ""))
    if not is_passing(code, http.status_code):
        return ""
    return f"status {http.status_code}" if code.isdigit() or not code else code
