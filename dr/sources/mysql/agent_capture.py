"""A dump, stored by restic on the server's own host (`mode: agent`).

It does not pass here, so nobody can see it begin and let it share a snapshot with the session that counts: facts
are kept only where they were equal before and after. Once it is stored, no look that fails can undo it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import SourceError
from dr.evidence import manifest
from dr.plan.source_kinds import MysqlSource
from dr.sources import database_inventory as facts
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.driver import MANIFEST, AgentCapture, Sent
from dr.sources.mysql.capture import refused_in
from dr.sources.mysql.capture_plan import Questions, Subject
from dr.sources.mysql.connection import PASSING, Server
from dr.sources.mysql.session import Session
from dr.sources.mysql.split_dump import SEVERAL_WHOLE, file_of
from dr.sources.own_errors import blame
from dr.tools.agent import Agent
from dr.tools.restic import Repository

log = logging.getLogger("dr.mysql")

#: Runs a dump program, and ends well too where it named objects that it could not dump and dumped the rest to its last
#: line: nobody here sees that in time. $1: lines that say so; $2: of these, what may pass. What it said stays said.
_PASSING_OVER = """
lines=$1; passing=$2; shift 2; exec 3>&1;
said=$( { { "$@" 3>&- 4>&-; echo "code $?" >&4; } 2>&4 | tee /dev/fd/3 | tail -c 200 |
sed -n "s/^-- Dump completed.*/whole/p" >&4; } 4>&1 );
code=$(printf "%s\\n" "$said" | sed -n "s/^code //p");
other=$(printf "%s\\n" "$said" | grep -v -i -E -e "^(code [0-9]+|whole|([^ ]+: )?[[]?warning[^a-z].*)?$");
[ -z "$other" ] || printf "%s\\n" "$other" >&2;
case "$said" in *whole*) ;; *) [ "$code" -ne 0 ] && exit "$code"; echo "the dump was cut short" >&2; exit 1;; esac;
[ "$code" -eq 0 ] && exit 0; [ "$code" -gt 125 ] && exit "$code";
[ -n "$other" ] || exit "$code";
printf "%s\\n" "$other" | grep -q -v -E -e "$lines" && exit "$code";
printf "%s\\n" "$other" | grep -q -E -e "$passing" && exit "$code"; echo "passed over" >&2;
"""
_NAMED = r"(execute '.*': .* \([0-9]{4}\)|[Ee]rror:? [0-9]{4}( \([0-9A-Z]+\))?: )"
_PASSED_OVER = "passed over"


class SentDump(AgentCapture):
    """The dump of one database, or of several, as the dump program writes it."""

    def __init__(
        self, server: Server, declared: MysqlSource, work: Path, *, questions: Questions, agent: Agent
    ) -> None:
        self.host = agent.host.name
        self._server, self._declared, self._work = server, declared, work
        self._questions, self._agent = questions, agent
        one = declared.database
        self._filename = file_of(one, whole=True) if one else SEVERAL_WHOLE

    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        """See `AgentCapture`."""
        started, server = datetime.now(UTC), self._server
        with closing(Session(server, timeout=self._declared.timeout)) as session:
            subject = Subject(session, server, self._declared, self._work)
            self.sidecars = subject.sidecars
            subject.look(self._questions)
            with blame(server.where):
                done = self._agent.backup_command(
                    repository, _passing_over(subject.argv()), filename=self._filename, tags=tags,
                    timeout=self._declared.timeout, env=server.env,
                )  # fmt: skip
            facts.write(self._work / facts.FILENAME, self._held(subject))
        manifest.write_stream(
            self._work / MANIFEST, source=server.where, kind="mysql", started=started, filename=self._filename,
            size=done.bytes, sha256=done.sha256,
        )  # fmt: skip
        refused = refused_in(done.said.removesuffix(_PASSED_OVER)) if done.said.endswith(_PASSED_OVER) else ()
        return Sent(stored=done.stored, files=1, bytes=done.bytes, omissions=(*subject.omissions, *refused))

    def _held(self, subject: Subject) -> DatabaseInventory:
        try:
            return subject.held(self._questions, same=False)
        except SourceError as error:
            log.warning("%s: rows and objects are not recorded: %s", self._server.where, error)
            return subject.unsure()


def _passing_over(argv: Sequence[str]) -> list[str]:
    passing = "|".join(str(number) for number in sorted(PASSING))
    return ["sh", "-c", _PASSING_OVER.replace("\n", " "), "sh", _NAMED, rf"(\(|[Ee]rror:? )({passing})\b", *argv]
