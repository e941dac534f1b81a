"""What becomes of a run that died: for every verb that opens one, a fact that can be sealed and read again."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import dr
from dr.catalog.aborted import INTERRUPTED, OpenRun, aborted_fact
from dr.evidence.acts import Expiration, KeyEvent, Pruning, Repair, Rewind
from dr.evidence.fact import identity
from dr.evidence.record import BackupRun, Drill, Proof, Replication
from dr.evidence.seal import GENESIS, seal

BEGUN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NOW = BEGUN + timedelta(hours=1)
RUN = OpenRun(run_id="run-1", verb="", system="sis", started=BEGUN, plan_digest="ab", process="1@host")
OPENED = {
    "backup": BackupRun, "replicate": Replication, "verify": Proof, "keys": KeyEvent, "rewind": Rewind,
    "drill": Drill, "recovery": Drill, "repair": Repair,
    "expire": Expiration, "prune": Pruning,
}  # fmt: skip


def test_these_are_the_verbs_that_open_a_run() -> None:
    texts = [path.read_text() for path in (Path(dr.__file__).parent / "operations").glob("*.py")]
    opened = {verb for text in texts for verb in re.findall(r'\bVerb\(\s*name="(\w+)"', text)}
    opened |= {verb for text in texts for verb in re.findall(r'\b_verb\("(\w+)"', text)}
    either = [re.search(r"\bname: Literal\[([^\]]+)\]", text) for text in texts if "Verb(name=name" in text]
    opened |= {verb for found in either if found for verb in re.findall(r'"(\w+)"', found[1])}
    assert opened == set(OPENED)


@pytest.mark.parametrize(("verb", "kind"), OPENED.items())
def test_a_run_that_died_comes_to_a_fact_of_its_kind(verb: str, kind: type[Any]) -> None:
    fact: Any = aborted_fact(replace(RUN, verb=verb), NOW)
    assert isinstance(fact, kind) and identity(fact) == (verb, "run-1", "sis")
    assert (fact.outcome, fact.started, fact.finished, fact.error) == ("aborted", BEGUN, NOW, INTERRUPTED)
    assert getattr(fact, "plan_digest", "ab") == "ab"
    assert seal(seq=1, prev=GENESIS, fact=fact).fact == fact


def test_of_what_nobody_knows_nothing_is_claimed() -> None:
    proof: Any = aborted_fact(replace(RUN, verb="verify"), NOW)
    assert (proof.target, proof.level_reached) == ("", 0)
    drill: Any = aborted_fact(replace(RUN, verb="drill"), NOW)
    assert (drill.real, drill.t_loss, drill.sandbox, drill.target, drill.run_id) == (False, BEGUN, "swept", None, None)


@pytest.mark.parametrize(("run_id", "what"), [("destruction-1", "destruction"), ("keys-1", "rotation")])
def test_a_destruction_that_died_is_told_from_a_rotation(run_id: str, what: str) -> None:
    fact = aborted_fact(replace(RUN, verb="keys", run_id=run_id), NOW)
    assert isinstance(fact, KeyEvent) and fact.what == what
