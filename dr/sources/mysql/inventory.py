"""What databases hold, asked by queries: objects from the information schema, rows by counting, and what they need.

A fixed number of queries, however many tables there are; only rows are counted table by table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from dr.errors import SourceError
from dr.late_dataclass import dataclass
from dr.sources.database_inventory import digest_of, key_of
from dr.sources.mysql.connection import SYSTEM, quoted, text_of
from dr.sources.mysql.session import Row, Session
from dr.sources.mysql.spelling import SPELLING, spelled

NAMES_CASE = "lower_case_table_names"
#: Settings of a server that decide what a dump becomes on it.
SETTINGS = (NAMES_CASE, "sql_mode", "innodb_strict_mode", "character_set_server", "collation_server")
#: A transaction's snapshot does not hold for tables of other engines.
#: The need of databases with tables that a server keeps encrypted.
ENCRYPTION = "encryption of tables"
#: Engines whose rows are elsewhere: a dump has the definitions alone, and a query would go there.
ELSEWHERE = frozenset({"FEDERATED", "CONNECT", "SPIDER", "MRG_MYISAM", "OQGRAPH", "S3"})
_TRANSACTIONAL = frozenset({"InnoDB", "MyRocks", "ROCKSDB", "ndbcluster", "TokuDB"})

# Each gives kind, database and name, then what defines it; rows of one name are one definition, in order.
_OBJECTS = (
    """SELECT 'database', SCHEMA_NAME, '', DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME
       FROM information_schema.SCHEMATA WHERE SCHEMA_NAME {names}""",
    """SELECT IF(TABLE_TYPE = 'SEQUENCE', 'sequence', 'table'), TABLE_SCHEMA, TABLE_NAME,
       TABLE_TYPE, ENGINE, IF(TABLE_TYPE = 'SEQUENCE', NULL, TABLE_COLLATION), CREATE_OPTIONS, TABLE_COMMENT
       FROM information_schema.TABLES WHERE TABLE_SCHEMA {names} AND TABLE_TYPE NOT LIKE '%VIEW'""",
    """SELECT 'columns of', TABLE_SCHEMA, TABLE_NAME, LPAD(ORDINAL_POSITION, 5, '0'), COLUMN_NAME, COLUMN_TYPE,
       IS_NULLABLE, COLUMN_DEFAULT, CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, GENERATION_EXPRESSION, COLUMN_COMMENT
       FROM information_schema.COLUMNS WHERE TABLE_SCHEMA {names}""",
    """SELECT 'index', TABLE_SCHEMA, CONCAT(TABLE_NAME, '.', INDEX_NAME), LPAD(SEQ_IN_INDEX, 3, '0'), NON_UNIQUE,
       COLUMN_NAME, COLLATION, SUB_PART, INDEX_TYPE, INDEX_COMMENT, {index_more}
       FROM information_schema.STATISTICS WHERE TABLE_SCHEMA {names}""",
    """SELECT 'partition', TABLE_SCHEMA, CONCAT(TABLE_NAME, '.', PARTITION_NAME), SUBPARTITION_NAME, PARTITION_METHOD,
       SUBPARTITION_METHOD, PARTITION_EXPRESSION, SUBPARTITION_EXPRESSION, PARTITION_DESCRIPTION
       FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA {names} AND PARTITION_NAME IS NOT NULL""",
    """SELECT 'foreign key', TABLE_SCHEMA, CONCAT(TABLE_NAME, '.', CONSTRAINT_NAME), LPAD(ORDINAL_POSITION, 3, '0'),
       COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME
       FROM information_schema.KEY_COLUMN_USAGE
       WHERE TABLE_SCHEMA {names} AND REFERENCED_TABLE_NAME IS NOT NULL""",
    """SELECT 'foreign key', CONSTRAINT_SCHEMA, CONCAT(TABLE_NAME, '.', CONSTRAINT_NAME), 'rules', UPDATE_RULE,
       DELETE_RULE, MATCH_OPTION
       FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA {names}""",
    """SELECT 'check', CONSTRAINT_SCHEMA, {check_name}, CHECK_CLAUSE
       FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA {names}""",
    """SELECT 'view', TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE,
       CHARACTER_SET_CLIENT, COLLATION_CONNECTION
       FROM information_schema.VIEWS WHERE TABLE_SCHEMA {names}""",
    """SELECT 'trigger', TRIGGER_SCHEMA, CONCAT(EVENT_OBJECT_TABLE, '.', TRIGGER_NAME), EVENT_MANIPULATION,
       ACTION_TIMING, ACTION_ORDER, ACTION_STATEMENT, SQL_MODE, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION
       FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA {names}""",
    """SELECT LOWER(ROUTINE_TYPE), ROUTINE_SCHEMA, ROUTINE_NAME, 'body', DTD_IDENTIFIER, ROUTINE_DEFINITION,
       IS_DETERMINISTIC, SQL_DATA_ACCESS, SECURITY_TYPE, SQL_MODE, ROUTINE_COMMENT, DEFINER,
       CHARACTER_SET_CLIENT, COLLATION_CONNECTION
       FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA {names}""",
    """SELECT LOWER(ROUTINE_TYPE), SPECIFIC_SCHEMA, SPECIFIC_NAME, LPAD(ORDINAL_POSITION, 5, '0'), PARAMETER_MODE,
       PARAMETER_NAME, DTD_IDENTIFIER
       FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA {names} AND ORDINAL_POSITION > 0""",
    """SELECT 'event', EVENT_SCHEMA, EVENT_NAME, STATUS, EVENT_DEFINITION, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE,
       INTERVAL_FIELD, STARTS, ENDS, ON_COMPLETION, TIME_ZONE, SQL_MODE, EVENT_COMMENT, DEFINER,
       CHARACTER_SET_CLIENT, COLLATION_CONNECTION
       FROM information_schema.EVENTS WHERE EVENT_SCHEMA {names}""",
)
_DIALECT = {
    True: {"index_more": "IGNORED", "check_name": "CONCAT(TABLE_NAME, '.', CONSTRAINT_NAME)"},
    False: {"index_more": "IS_VISIBLE", "check_name": "CONSTRAINT_NAME"},
}
_DEFINERS = """SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA {names}
    UNION SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA {names}
    UNION SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA {names}
    UNION SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA {names}"""
_SIZES = """SELECT TABLE_SCHEMA, CAST(SUM(COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0)) AS UNSIGNED)
    FROM information_schema.TABLES WHERE TABLE_SCHEMA {names} AND TABLE_TYPE NOT LIKE '%VIEW' GROUP BY TABLE_SCHEMA"""
_COLLATIONS = """SELECT DISTINCT COLLATION_NAME FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA {names} AND COLLATION_NAME IS NOT NULL"""


@dataclass(frozen=True)
class Table:
    """A table whose rows are counted. `history`: old versions of its rows are kept, and are dumped too."""

    database: str
    name: str
    engine: str
    history: bool

    @property
    def key(self) -> str:
        """Its name in facts."""
        return f"{self.database}.{self.name}"

    @property
    def held(self) -> bool:
        """Whether a transaction's snapshot holds for it."""
        return self.engine in _TRANSACTIONAL

    @property
    def elsewhere(self) -> bool:
        """Whether its rows are no part of it: kept by another server, in files, or in other tables."""
        return self.engine.upper() in ELSEWHERE

    @property
    def count(self) -> str:
        """The query that counts its rows, old versions of rows too."""
        versions = " FOR SYSTEM_TIME ALL" if self.history else ""
        return f"SELECT COUNT(*) FROM {quoted(self.database)}.{quoted(self.name)}{versions}"  # noqa: S608 - quoted


class Inventory:
    """The queries on some databases of one server.

    `known_as` gives a database's name in facts, if it is another; `asleep` the events, as database and name, that
    only do not run because we would not let them yet; `spelling` how facts that these are held against were taken.
    """

    def __init__(
        self,
        session: Session,
        databases: Sequence[str],
        known_as: Mapping[str, str] | None = None,
        *,
        asleep: Collection[tuple[str, str]] = (),
        spelling: int = SPELLING,
    ) -> None:
        self._session, self._databases, self._known_as = session, tuple(databases), dict(known_as or {})
        self._asleep, self._spelling = asleep, spelling
        self.server = server_of(session)
        self._words = {
            "names": _among(databases),
            **_DIALECT[self.server.startswith("MariaDB")],
        }

    def objects(self) -> dict[str, str]:
        """Return every object's digest by kind and name, and each table that no snapshot holds, by its engine."""
        found: dict[str, list[str]] = {}
        for query in _OBJECTS:
            for kind, database, name, *rest in self._ask(query):
                if kind == "event" and (database, name) in self._asleep:
                    rest[0] = "ENABLED"
                key = f"{kind} {self._name(database, name)}"
                parts = spelled(kind or "", rest) if self._spelling else rest
                found.setdefault(key, []).append("\x1f".join(self._told(value) for value in parts))
        made = {key: digest_of("\x1e".join(sorted(lines))) for key, lines in found.items()}
        unheld = {f"not held still {self._known(t.database)}.{t.name}": t.engine for t in self.tables() if not t.held}
        return made | unheld

    def tables(self) -> list[Table]:
        """Return the tables whose rows can be counted."""
        query = """SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_TYPE FROM information_schema.TABLES
            WHERE TABLE_SCHEMA {names} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"""
        keeps = keeps_history(self.server)
        found = [tuple(value or "" for value in row) for row in self._ask(query)]
        return [Table(d, name, engine, keeps and kind == "SYSTEM VERSIONED") for d, name, engine, kind in found]

    def sizes(self) -> dict[str, int]:
        """Return the bytes that each database takes with its indexes, as the server estimates them."""
        return {self._known(name): int(size or 0) for name, size in self._session.rows(_SIZES.format(**self._words))}

    def rows(self, tables: Sequence[Table], *, within: bool = False) -> dict[str, int]:
        """Return the rows of tables, without those that cannot be counted.

        `within` a transaction no table is held against changes of its definition for longer than its count.
        """
        counted: dict[str, int] = {}
        tables = [table for table in tables if not table.elsewhere]
        answers = self._session.each((table.count for table in tables), releasing=within)
        for table, answer in zip(tables, answers, strict=True):
            if not isinstance(answer, SourceError) and answer and answer[0][0]:
                counted[f"{self._known(table.database)}.{table.name}"] = int(answer[0][0])
        return counted

    def needs(self) -> tuple[str, ...]:
        """Return what a server must have for these databases."""
        engines = {f"engine {table.engine}" for table in self.tables() if table.engine}
        collations = {f"collation {row[0]}" for row in self._ask(_COLLATIONS)}
        accounts = {f"account {account}" for account in definers_of(self._session, self._databases)}
        settings = {f"setting {name}={value}" for name, value in settings_of(self._session).items()}
        return tuple(sorted(engines | collations | accounts | settings))

    def answers(self, questions: Iterable[tuple[str | None, str]]) -> dict[str, str | None]:
        """Return what a plan's queries give; those that fail are left out."""
        found: dict[str, str | None] = {}
        for database, query in questions:
            try:
                self._session.do(f"USE {quoted(database or self._databases[0])}")
                found[key_of(database, query)] = first_value(self._session.rows(query))
            except SourceError as error:
                if error.retryable:
                    raise
        return found

    def _ask(self, query: str) -> list[Row]:
        rows = self._session.rows(query.format(**self._words))
        # Names are compared without case there, and with it here.
        schemas = {*self._databases}
        return [row for row in rows if len(row) < 3 or row[0] in schemas or row[1] in schemas]

    def _known(self, database: str | None) -> str:
        return self._known_as.get(database or "", database or "")

    def _name(self, database: str | None, name: str | None) -> str:
        return f"{self._known(database)}.{name}" if name else self._known(database)

    def _told(self, value: str | None) -> str:
        """Return one part of a definition, with databases by the names they are known as."""
        if value is None:
            return "\x00"
        for actual, known in self._known_as.items():
            value = known if value == actual else value.replace(f"{quoted(actual)}.", f"{quoted(known)}.")
        return value


def _among(databases: Sequence[str]) -> str:
    names = [text_of(name) for name in databases]
    # The server opens no other database's tables when there is one name and `=`.
    return f"= {names[0]}" if len(names) == 1 else f"IN ({', '.join(names)})"


def definers_of(session: Session, databases: Sequence[str]) -> list[str]:
    """Return the accounts that own views or code in databases."""
    rows = session.rows(_DEFINERS.format(names=_among(databases)))
    return sorted(account_of(row[0] or "") for row in rows)


def first_value(rows: Sequence[Row]) -> str | None:
    """Return the first column of the first row; None when there is none."""
    return rows[0][0] if rows and rows[0] else None


def server_of(session: Session) -> str:
    """Return the server in words: "MariaDB 10.11.19", "MySQL 8.0.36"."""
    version = first_value(session.rows("SELECT VERSION()")) or ""
    return f"{'MariaDB' if 'mariadb' in version.lower() else 'MySQL'} {version.partition('-')[0]}"


def keeps_history(server: str) -> bool:
    """Whether its dump program and the server itself can carry old versions of rows: MariaDB since 10.11."""
    kind, _, version = server.partition(" ")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return kind == "MariaDB" and numbers >= (10, 11)


def databases_of(session: Session) -> list[str]:
    """Return the server's databases without its own."""
    names = [row[0] or "" for row in session.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")]
    return sorted(name for name in names if name.lower() not in SYSTEM and not name.startswith("#mysql50#"))


def settings_of(session: Session) -> dict[str, str]:
    """Return those settings that decide what a dump becomes."""
    row = session.rows("SELECT " + ", ".join(f"@@GLOBAL.{name}" for name in SETTINGS))[0]
    return {name: value or "" for name, value in zip(SETTINGS, row, strict=True)}


def account_of(definer: str) -> str:
    """Return `user@host` with its parts in quotes: 'user'@'host'."""
    user, _, place = definer.rpartition("@")
    return f"'{user}'@'{place}'"
