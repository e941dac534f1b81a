"""The quick way to read what a bucket holds, beside boto3, whose every request costs a millisecond of processor.

Sole user of obstore, loaded when first needed. It reads, and nothing else: whatever it does not bring, for whatever
reason, boto3 is asked for, which tries again and knows what the answer means. So an error of the quick way costs time
alone, and a service that refuses it is left alone by it for a while.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from dr.tools import line
from dr.tools.digest import sha256_of
from dr.tools.meter import Meter
from dr.tools.network import Way, authorities, proxy_for
from dr.tools.retry import BUDGET_SECONDS, TRIES
from dr.tools.secrets import S3Keys

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Store

_BLOCK = 1 << 20
#: For so many seconds after an error boto3 alone is asked.
_LEFT_ALONE = 60.0
#: No request takes so long: what stands still is ended by `read_timeout`, and a large object may come slowly.
_LONGEST = timedelta(days=1)


class Quick:
    """Reads the objects of one bucket. `usable` is False for a while after an error."""

    def __init__(self, store: S3Store) -> None:
        self._store, self._not_before = store, 0.0

    @property
    def usable(self) -> bool:
        """Whether to ask."""
        return time.monotonic() >= self._not_before

    def sha256(self, key: str, meter: Meter) -> tuple[str, int] | None:
        """Return the SHA-256 (hex) and size of an object's bytes, streamed; None where boto3 is to be asked.

        A request that nobody answered is not counted.
        """
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            blocks = cast("Iterable[bytes]", self._store.get(key).stream(line.piece(_BLOCK)))
            return sha256_of(meter.taking(line.fetched(blocks), "read"))
        except FileNotFoundError:
            meter.request("read")
            return None
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
    from obstore.store import S3Store

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
        "timeout": _LONGEST,
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
    return Quick(S3Store(bucket, config=config, client_options=client, retry_config={"max_retries": 0}))
