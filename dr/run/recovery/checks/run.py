"""The plan's checks, run on restored data: what was expected, what was observed, whether it held.

A check that cannot be made has failed. Texts name counts and values, never files: names of files go to a
local list (`CheckContext.names`). Nothing here follows a restored link, which may point at the live system.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from dr.errors import DrError, InterruptedRunError
from dr.evidence import manifest
from dr.evidence.record import CheckResult, Outcome
from dr.plan.check import (
    Body,
    Check,
    CommandCheck,
    FileCheck,
    HttpCheck,
    ManifestCheck,
    RowsCheck,
    SchemaCheck,
    SqlCheck,
)
from dr.plan.expect import describe, holds
from dr.run.recovery.checks import databases
from dr.run.recovery.checks import http as service
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, Poured
from dr.run.recovery.checks.pattern import bases_of, below
from dr.run.recovery.compare import Comparison, Terms, compare
from dr.run.recovery.place.tree import RestoredTree

_LONGEST = 300
#: Checks that put questions to a database.
_ASKING = ("rows", "schema", "sql")


def run_check(ground: CheckContext, check: Check) -> Iterator[CheckResult]:
    """Run one check and yield its results: a manifest check without a source has one for each source."""
    body = check.body
    if isinstance(body, ManifestCheck) and body.source is None:
        for name in ground.sources:
            named = body.model_copy(update={"source": name})
            yield _timed(ground, check, name, partial(_manifest, ground, named))
    elif isinstance(body, SqlCheck):
        result = _timed(ground, check, body.source, partial(databases.sql, ground, body))
        yield replace(result, newest=ground.newest.get(body.source))
    else:
        yield _timed(ground, check, check.source, partial(_act, ground, body))


def _act(ground: CheckContext, body: Body) -> CheckOutcome:
    if isinstance(body, ManifestCheck):
        return _manifest(ground, body)
    if isinstance(body, FileCheck):
        return _file(ground, body)
    if isinstance(body, RowsCheck):
        return databases.rows(ground, body)
    if isinstance(body, SchemaCheck):
        return databases.schema(ground, body)
    if isinstance(body, HttpCheck):
        return service.http(ground, body)
    assert isinstance(body, CommandCheck)  # noqa: S101 - a query is run by `run_check`
    return _command(ground, body)


def in_order(checks: tuple[Check, ...]) -> list[Check]:
    """Return checks with those that only look before those that may change what they look at."""
    order = {"manifest": 0, "rows": 1, "schema": 2, "file": 3, "sql": 4, "command": 5, "http": 6}
    return sorted(checks, key=lambda check: order[check.kind])


def _timed(ground: CheckContext, check: Check, source: str | None, act: Callable[[], CheckOutcome]) -> CheckResult:
    began = time.monotonic()
    if source is not None and source not in ground.sources:
        seen = _not_restored(ground, source)
    elif source is not None and check.kind in _ASKING and databases.unloaded(ground.sources[source]):
        seen = CheckOutcome(_wanted(check), "not checked: the dump was not loaded into a server", "skipped")
    else:
        try:
            seen = act()
        except InterruptedRunError:
            raise
        except DrError as error:
            seen = CheckOutcome(_wanted(check), f"could not be checked: {error}", "failed")
        except (OSError, re.error) as error:
            reason = error.strerror if isinstance(error, OSError) else f"the pattern is not usable: {error}"
            seen = CheckOutcome(_wanted(check), f"could not be checked: {reason}", "failed")
    return CheckResult(
        check=check.kind,
        source=source,
        mandatory=check.mandatory,
        outcome=seen.outcome,
        expected=_tidy(seen.expected),
        observed=_tidy(seen.observed),
        seconds=round(time.monotonic() - began, 3),
        finished=ground.now(),
    )


def _not_restored(ground: CheckContext, source: str) -> CheckOutcome:
    wanted = f"source {source} restored"
    if ground.partial:
        return CheckOutcome(wanted, f"not checked: this drill did not restore {source}", "skipped")
    return CheckOutcome(wanted, f"the recovery point does not hold {source}", "failed")


def _wanted(check: Check) -> str:
    """What a check expects, for when it could not be made."""
    body = check.body
    if isinstance(body, SqlCheck):
        return describe(body.expect)
    if isinstance(body, FileCheck):
        return _wanted_files(body)
    if isinstance(body, HttpCheck):
        return service.wanted(body)
    if isinstance(body, CommandCheck):
        return _wanted_exit(body)
    return {"rows": databases.ROWS, "schema": databases.OBJECTS}.get(check.kind, "files equal to the capture")


# -- manifest ----------------------------------------------------------------------------------------


def _manifest(ground: CheckContext, body: ManifestCheck) -> CheckOutcome:
    restored = ground.sources[body.source or ""]
    if restored.manifest is None:
        return CheckOutcome("files equal to the capture", "the point holds no manifest of this source", "failed")
    if restored.poured:
        return _stream_equal(restored.poured, restored.manifest)
    terms = Terms(
        sample=body.sample,
        seed=f"{ground.seed}/{restored.name}",
        rights=ground.land.owners and not (ground.partial and os.geteuid()),
        only=restored.only,
    )
    found = compare(ground.land.survey(restored.root), restored.manifest, terms)
    ground.names += [(restored.name, problem, path) for problem, path in found.names]
    return CheckOutcome(_wanted_equal(found, body.sample), _counts(found), "ok" if found.holds else "failed")


def _stream_equal(poured: Poured, listed: Path) -> CheckOutcome:
    """Hold the stream that went into a service against what was hashed at capture."""
    entry = next(iter(manifest.read(listed)), None)
    equal = entry is not None and (entry.sha256, entry.size) == (poured.sha256, poured.size)
    observed = f"{'equal' if equal else 'differs'} ({poured.size:,} bytes)"
    return CheckOutcome("the stream that was restored, equal to the capture", observed, "ok" if equal else "failed")


def _wanted_equal(found: Comparison, sample: float) -> str:
    files = found.equal + found.present + found.missing + found.differ
    if sample < 1:
        hashed = files - found.present
        return f"{hashed:,} of {files:,} files equal to the capture (a sample of {sample:.1%}), all present"
    return f"{files:,} {'file' if files == 1 else 'files'} equal to the capture"


def _counts(found: Comparison) -> str:
    parts = [f"{found.equal:,} equal"]
    for number, text in (
        (found.present, "more present"),
        (found.differ, "differ"),
        (found.missing, "missing"),
        (found.rights, "with another owner or mode"),
        (found.attributes, "with other ACLs or extended attributes"),
        (found.marked - found.unmarked - found.attributes, "with the same ACLs and extended attributes"),
        (found.unmarked, "with ACLs or extended attributes that were not compared (root does)"),
        (found.unsettled, "not judged (changed or unreadable at capture)"),
        (found.extra, "extra"),
    ):
        if number:
            parts.append(f"{number:,} {text}")
    return ", ".join(parts)


# -- file --------------------------------------------------------------------------------------------


def _wanted_files(body: FileCheck) -> str:
    count = "at least 1" if body.expect is None else describe(body.expect)
    parts = [f"files that match {body.path}: {count}"]
    if body.size is not None:
        parts.append(f"size of each in bytes: {describe(body.size)}")
    if body.contains is not None:
        parts.append(f"text of each matches {body.contains}")
    return "; ".join(parts)


def _file(ground: CheckContext, body: FileCheck) -> CheckOutcome:
    restored = ground.sources[body.source]
    wanted = below(bases_of(restored.declared), body.path)
    contains = re.compile(os.fsencode(body.contains), re.MULTILINE) if body.contains is not None else None
    survey = ground.land.survey(restored.root)
    count = 0
    wrong: Counter[str] = Counter()
    with survey.reachable():
        for path, status in survey.files():
            if not wanted.fullmatch(path):
                continue
            count += 1
            plain = stat.S_ISREG(status.st_mode)
            if body.size is not None and not (plain and holds(body.size, status.st_size)):
                wrong["size"] += 1
                ground.names.append((restored.name, "wrong size", path))
            if contains is not None and not (plain and _has(survey, path, contains)):
                wrong["text"] += 1
                ground.names.append((restored.name, "wrong text", path))
    observed = [f"{count:,} found"]
    observed += [f"{wrong['size']:,} of another size"] if wrong["size"] else []
    observed += [f"{wrong['text']:,} with another text"] if wrong["text"] else []
    enough = count >= 1 if body.expect is None else holds(body.expect, count)
    outcome: Outcome = "ok" if enough and not wrong else "failed"
    return CheckOutcome(_wanted_files(body), ", ".join(observed), outcome)


def _has(survey: RestoredTree, path: bytes, contains: re.Pattern[bytes]) -> bool:
    """Whether a file's content matches somewhere; read through a map, so that its size does not matter."""
    with survey.opened(path) as fd:
        if os.fstat(fd).st_size == 0:
            return contains.search(b"") is not None
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as content:
            return contains.search(content) is not None


# -- command -----------------------------------------------------------------------------------------


def _wanted_exit(body: CommandCheck) -> str:
    text = f"exit {body.expect.exit}"
    return text if body.expect.stdout is None else f"{text}, output {describe(body.expect.stdout)}"


def _command(ground: CheckContext, body: CommandCheck) -> CheckOutcome:
    if why := databases.not_run(ground):
        return CheckOutcome(_wanted_exit(body), why, "skipped")
    argv, env = service.argv(ground, body.run), service.environment(ground)
    done = ground.works.run(argv, env=env, cwd=ground.root, timeout=body.timeout)
    said = done.stdout.decode("utf-8", "replace").strip()
    observed, passed = f"exit {done.code}", done.code == body.expect.exit
    if body.expect.stdout is not None:
        observed += f", output {said!r}"
        passed = passed and holds(body.expect.stdout, said)
    if not passed and done.last_words:
        observed += f": {done.last_words}"
    return CheckOutcome(_wanted_exit(body), observed, "ok" if passed else "failed")


def _tidy(text: str) -> str:
    """One printable line of at most 300 characters."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
