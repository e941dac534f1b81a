"""The quick way to read what a bucket holds, beside boto3: that costs a quarter of a second to load, and a millisecond
of processor for every request.

Sole user of obstore, loaded when first needed. It reads, and nothing else: whatever it does not bring, for whatever
reason, boto3 is asked for, which tries again and knows what the answer means. So an error of the quick way costs time
alone, and a service that refuses it is left alone by it for a while.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlsplit

from dr.tools import line
from dr.tools.digest import sha256_of
from dr.tools.meter import Meter
from dr.tools.network import Way, authorities, proxy_for
from dr.tools.retry import BUDGET_SECONDS, TRIES
from dr.tools.secrets import S3Keys
from dr.tools.web_page import page_in

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Store

#: Bytes that one read passes on: each of many connections holds some of them, and larger ones gain nothing.
_BLOCK = 1 << 18
#: For so many seconds after an error boto3 alone is asked.
_LEFT_ALONE = 60.0
#: No request takes so long: what stands still is ended by `read_timeout`, and a large object may come slowly.
_LONGEST = timedelta(days=1)
#: Whoever only looks waits so long before boto3 is asked, which waits longer.
_LOOK = timedelta(seconds=5)
#: So many keys, and whether there are more, are in one answer.
_PAGE = 1000
T = TypeVar("T")


class Quick:
    """Reads the objects of one bucket, and looks for them. `usable` is False for a while after an error.

    `opened` gives the bucket as somebody uses it who waits at most so long for one answer.
    """

    def __init__(self, opened: Callable[[timedelta], S3Store]) -> None:
        self._opened, self._not_before = opened, 0.0

    @functools.cached_property
    def _store(self) -> S3Store:
        return self._opened(_LONGEST)

    @functools.cached_property
    def _looks(self) -> S3Store:
        return self._opened(_LOOK)

    @property
    def usable(self) -> bool:
        """Whether to ask."""
        return time.monotonic() >= self._not_before

    def holds(self, key: str, meter: Meter) -> bool:
        """Whether an object is there for certain; where not, boto3 is to be asked, which knows why."""

        def look() -> bool:
            found = self._looks.get(key, options={"head": True})
            meter.request("read")
            return not page_in(200, found.attributes)

        return self._tried(look, meter) or False

    def names(self, folder: str, meter: Meter) -> list[str] | None:
        """Return the keys below a folder, where one answer holds some, and all; None where boto3 is to be asked.

        How long the answer was is not told, and not counted. The mark that a console makes of the folder itself comes
        under a name without its slash.
        """
        mark = folder.rstrip("/")

        def look() -> list[str] | None:
            page = next(iter(self._looks.list(folder, chunk_size=_PAGE)), ())
            meter.request("list")
            names = [each["path"] for each in page if each["path"] != mark]
            return names if 0 < len(page) < _PAGE else None  # a web page, too, reads as a list of nothing

        return self._tried(look, meter)

    def sha256(self, key: str, meter: Meter) -> tuple[str, int] | None:
        """Return the SHA-256 (hex) and size of an object's bytes, streamed; None where boto3 is to be asked.

        A request that nobody answered is not counted.
        """

        def read() -> tuple[str, int] | None:
            found = self._store.get(key)
            if page_in(200, found.attributes):
                return None
            blocks = cast("Iterable[bytes]", found.stream(line.piece(_BLOCK)))
            return sha256_of(meter.taking(line.fetched(blocks), "read"))

        return self._tried(read, meter)

    def _tried(self, ask: Callable[[], T], meter: Meter) -> T | None:
        """Ask; None for any answer that is not what was asked for. After an error nobody asks here for a while."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            return ask()
        except FileNotFoundError:
            meter.request("read")
        except (BaseError, OSError, ValueError) as error:
            self._not_before = time.monotonic() + _LEFT_ALONE
            if isinstance(error, PermissionDeniedError | UnauthenticatedError):
                meter.request("read")
        return None


@functools.lru_cache(maxsize=64)
def quick(endpoint: str, bucket: str, keys: S3Keys, *, region: str, way: Way) -> Quick | None:
    """Return the quick way to a bucket; None where it would go another way than boto3, or believe whom boto3 does not.

    obstore believes a `ca_file` beside the authorities of the world, not alone.
    """
    import obstore  # never `obstore.store` alone: a thread that comes second would have it before what it calls

    url = way.url(endpoint, bucket)
    proxy, scheme = proxy_for(url, os.environ), urlsplit(url).scheme
    elsewhere = not proxy and any(
        os.environ.get(name) for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "ALL_PROXY")
    )
    if way.ca_file or elsewhere:
        return None
    client: ClientConfig = {
        "allow_http": scheme == "http",
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=BUDGET_SECONDS / TRIES),
    }
    if proxy:
        client["proxy_url"] = proxy
    if scheme == "https":
        client["root_certificate"] = Path(authorities()).read_bytes()
    config: S3Config = {
        "endpoint": url,
        "region": region,
        "access_key_id": keys.access_key_id,
        "secret_access_key": keys.secret_access_key,
        "virtual_hosted_style_request": way.addressing == "virtual",
    }
    if keys.session_token:
        config["session_token"] = keys.session_token

    def opened(longest: timedelta) -> S3Store:
        once: RetryConfig = {"max_retries": 0}
        return obstore.store.S3Store(
            bucket, config=config, client_options={**client, "timeout": longest}, retry_config=once
        )

    return Quick(opened)
