"""Listings are read quickly, and to the same answer as boto3 gives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.parsers import ResponseParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from dr.tools.s3_listing import Parsers

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
CORE = botocore.session.get_session()
SERVICE = CORE.get_service_model("s3")
KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f"), min_size=1).map(
    str.strip
)
WHEN = st.datetimes(datetime(2006, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
ENTRY = st.tuples(KEYS, WHEN, st.integers(0, 1 << 50), st.booleans(), st.sampled_from(["", "full", "marker"]))


def entry(tag: str, key: str, when: datetime, size: int, *, latest: bool, more: str) -> str:
    parts = [f"<Key>{escape(key)}</Key>", f"<LastModified>{when:%Y-%m-%dT%H:%M:%S.%f}Z</LastModified>"]
    if tag != "DeleteMarker":
        parts += ["<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e-2&quot;</ETag>", f"<Size>{size}</Size>"]
    if tag != "Contents":
        parts += [f"<IsLatest>{str(latest).lower()}</IsLatest>", "<VersionId>null</VersionId>"]
    if more == "full":
        parts += ["<Owner><ID>1</ID><DisplayName>a</DisplayName></Owner><StorageClass>STANDARD</StorageClass>"]
    return f"<{tag}>{''.join(parts)}</{tag}>"


def read(body: bytes, operation: str, factory: Any, status: int = 200) -> Any:
    answer = {"status_code": status, "headers": {"x-amz-request-id": "r"}, "body": body}
    return factory.create_parser("rest-xml").parse(answer, SERVICE.operation_model(operation).output_shape)


def plain(answer: Any) -> Any:
    """Without what nobody here asks of an entry."""
    for entries in ("Contents", "Versions", "DeleteMarkers"):
        for one in answer.get(entries, ()):
            one.pop("Owner", None)
            one.pop("StorageClass", None)
    return answer


@given(st.lists(ENTRY, max_size=8), st.booleans(), st.booleans(), st.sampled_from([NAMESPACE, ""]))
@settings(max_examples=60, deadline=None)
def test_a_page_is_read_as_boto3_reads_it(entries: list[Any], whole: bool, versions: bool, namespace: str) -> None:
    root = "ListVersionsResult" if versions else "ListBucketResult"
    told = (
        f"<Name>b</Name><Prefix>a&amp;b/</Prefix><MaxKeys>1000</MaxKeys><IsTruncated>{str(whole).lower()}</IsTruncated>"
    )
    told += "<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes><NextKeyMarker>m</NextKeyMarker>"
    for key, when, size, latest, more in entries:
        tag = ("DeleteMarker" if more == "marker" else "Version") if versions else "Contents"
        told += entry(tag, key, when, size, latest=latest, more=more)
    body = f'<?xml version="1.0" encoding="UTF-8"?><{root}{namespace}>{told}</{root}>'.encode()
    operation = "ListObjectVersions" if versions else "ListObjectsV2"
    stock = CORE.get_component("response_parser_factory")
    assert plain(read(body, operation, Parsers())) == plain(read(body, operation, stock))


def test_what_cannot_be_read_quickly_is_judged_by_boto3() -> None:
    torn = b"<ListBucketResult><Contents><Key>a</Key>"
    with pytest.raises(ResponseParserError):
        read(torn, "ListObjectsV2", Parsers())
    refused = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    assert read(refused, "ListObjectsV2", Parsers(), 403)["Error"]["Code"] == "AccessDenied"
