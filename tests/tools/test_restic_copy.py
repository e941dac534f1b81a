"""One restic for two repositories: refused where each needs a login of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.errors import DrError
from dr.tools.restic import Repository
from dr.tools.restic_copy import refuse_two_ways


def repository(location: str, *options: str, **env: str) -> Repository:
    return Repository(
        program="restic", location=location, where=location, host="sis", env=env, cache=Path(), options=options
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (repository("rest:a", RESTIC_REST_PASSWORD="x"), repository("rest:b", RESTIC_REST_PASSWORD="y")),
        (repository("sftp:a", "sftp.args=-i a"), repository("sftp:b", '"sftp.args=-i b, c"')),
    ],
)
def test_two_logins_of_a_kind_are_refused_and_one_is_not(first: Repository, second: Repository) -> None:
    with pytest.raises(DrError, match="at once") as raised:
        refuse_two_ways(first, second)
    assert "replicas" in raised.value.hint and "RESTIC" not in str(raised.value)
    for same in (first, second):
        refuse_two_ways(same, same)
        refuse_two_ways(same, repository("s3:c", "s3.bucket-lookup=path", AWS_ACCESS_KEY_ID="k"))
