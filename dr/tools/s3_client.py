"""boto3's client of a service: its way there, whom it believes, and that its tries are ours."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from dr.tools import s3_meter, s3_tries
from dr.tools.network import Way, authorities
from dr.tools.retry import BUDGET_SECONDS, TRIES
from dr.tools.secrets import S3Keys

if TYPE_CHECKING:
    from botocore.loaders import Loader
    from mypy_boto3_s3.client import S3Client

#: Threads that may use one client at once.
CONNECTIONS = 32


@functools.lru_cache(maxsize=64)
def client(endpoint: str, keys: S3Keys, *, region: str, way: Way, proxy: str) -> S3Client:
    """Return the client of a service; `proxy` leads there where it is not empty."""
    import boto3
    import botocore.session
    from botocore.config import Config

    from dr.tools.s3_listing import Parsers

    config = Config(
        connect_timeout=5,
        read_timeout=BUDGET_SECONDS / TRIES,
        retries={"mode": "standard", "total_max_attempts": 1},  # the tries are ours
        max_pool_connections=CONNECTIONS,
        proxies={"http": proxy, "https": proxy} if proxy else {},
        s3={
            "addressing_style": way.addressing or ("auto" if "amazonaws.com" in endpoint else "path"),
            "payload_signing_enabled": False,  # each body is written with a checksum in a signed header
        },
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    core = botocore.session.get_session()
    core.register_component("response_parser_factory", Parsers())
    core.register_component("data_loader", descriptions := _descriptions())
    session = boto3.session.Session(
        botocore_session=core,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
        region_name=region,
    )
    descriptions.search_paths[:] = dict.fromkeys(descriptions.search_paths)  # boto3 adds its own each time
    verify = authorities(way.ca_file) if endpoint.startswith("https:") else None
    made: S3Client = session.client("s3", endpoint_url=endpoint, config=config, verify=verify)
    s3_tries.attend(made)
    s3_meter.attend(made)
    return made


@functools.cache
def _descriptions() -> Loader:
    """Return botocore's descriptions of services, read once for all clients: they are most of what one costs."""
    import botocore.session

    found: Loader = botocore.session.get_session().get_component("data_loader")
    return found
