"""Generated MariaDB databases: views on views in any order of names, definers of every fate, code that runs by itself."""

from __future__ import annotations

from tests.campaign.seeded import Draw, Seeded

_ENGINES = ("InnoDB", "InnoDB", "Aria", "MyISAM")


def make(number: int, *, without: frozenset[str] = frozenset()) -> Seeded:
    """Return the database of a number, `without` what bears these traits."""
    draw, name = Draw(f"mysql/{number}"), f"camp_{number:02}"
    made = Seeded("mysql", number, name, without=without)
    weak, gone, present = (f"`{who}_{number:02}`@`localhost`" for who in ("weak", "gone", "clerk"))
    made.before += [f"CREATE USER {who} IDENTIFIED BY 'word-{number}'" for who in (weak, gone, present)]
    made.before += [f"GRANT SELECT, INSERT, UPDATE, EXECUTE ON `{name}`.* TO {who}" for who in (gone, present)]
    tables = _tables(draw, made)
    _routines(draw, made, tables, present=present, weak=weak)
    _views(draw, made, tables, {"": 5, present: 2, weak: 1, gone: 1})
    _triggers(draw, made, tables)
    _events(draw, made, tables)
    _packages(draw, made, tables)
    made.after.append(f"DROP USER {gone}")
    return made


def _tables(draw: Draw, made: Seeded) -> list[str]:
    tables = []
    for _ in range(draw.number(2, 5)):
        table, engine = draw.name("tab"), draw.pick(_ENGINES)
        if not tables or not made.takes(engine):
            engine = "InnoDB"
        columns = [
            "id INT NOT NULL AUTO_INCREMENT PRIMARY KEY",
            "word VARCHAR(40) DEFAULT 'it''s'",
            "n INT NOT NULL DEFAULT 7",
        ]
        if draw.maybe(0.4) and made.takes("generated column"):
            kind = draw.pick(("VIRTUAL", "STORED"))
            columns.append(f"twice INT GENERATED ALWAYS AS (n * 2) {kind}")
        if draw.maybe(0.3) and made.takes("sequence as default"):
            sequence = draw.name("seq")
            made.statements.append(f"CREATE SEQUENCE `{sequence}` START WITH {draw.number(1, 99)} ENGINE=InnoDB")
            qualified = f"`{made.name}`.`{sequence}`" if draw.maybe(0.5) else f"`{sequence}`"
            columns.append(f"ticket INT DEFAULT (NEXT VALUE FOR {qualified})")
        if draw.maybe(0.4):
            columns.append(f"CONSTRAINT `{draw.name('chk')}` CHECK (n > -5)")
        if draw.maybe(0.3):
            columns.append("born DATE, kind ENUM('a','b''c'), note JSON")
        if tables and engine == "InnoDB" and draw.maybe(0.4) and made.takes("foreign key"):
            columns += [
                "parent INT",
                f"KEY (parent), CONSTRAINT `{draw.name('fk')}` FOREIGN KEY (parent) REFERENCES `{tables[0]}` (id)",
            ]
        more = " WITH SYSTEM VERSIONING" if engine == "InnoDB" and draw.maybe(0.15) else ""
        made.statements.append(
            f"CREATE TABLE `{table}` ({', '.join(columns)}) ENGINE={engine} DEFAULT CHARSET=utf8mb4{more}"
        )
        rows = ", ".join(f"('row {n} of {table}', {n})" for n in range(draw.number(0, 9)))
        if rows:
            made.statements.append(f"INSERT INTO `{table}` (word, n) VALUES {rows}")
        tables.append(table)
    return tables


def _definer(draw: Draw, made: Seeded, shares: dict[str, int]) -> str:
    who = draw.pick([name for name, share in shares.items() for _ in range(share)])
    trait = f"definer {who.strip('`').partition('_')[0]}"
    return f"DEFINER={who} " if who and made.takes(trait) else ""


def _views(draw: Draw, made: Seeded, tables: list[str], shares: dict[str, int]) -> None:
    known = [(table, True) for table in tables]  # what a view can stand on, and whether rows may be written through it
    for _ in range(draw.number(2, 7)):
        view, definer = draw.name("view"), _definer(draw, made, shares)
        base, updatable = draw.pick(known[-4:])
        safety = draw.pick(("", "SQL SECURITY INVOKER ", "SQL SECURITY DEFINER "))
        form = draw.pick(("plain", "plain", "where", "check", "check", "comma", "union", "count", "function"))
        path = f"`{made.name}`.`{base}`" if draw.maybe(0.3) else f"`{base}`"
        body, writable = f"SELECT id, word, n FROM {path}", updatable
        if form == "where":
            body += f" WHERE n > {draw.number(-3, 3)}"
        elif form == "check" and updatable and made.takes("check option"):
            body += f" WHERE n > -1 WITH {draw.pick(('CASCADED', 'LOCAL'))} CHECK OPTION"
        elif form == "comma" and made.takes("comma join"):
            other, _ = draw.pick(known)
            body, writable = f"SELECT a.id, a.word, b.n FROM {path} a, `{other}` b WHERE a.id = b.id", False
        elif form == "union":
            other, _ = draw.pick(known)
            body, writable = f"{body} UNION SELECT id, word, n FROM `{other}`", False
        elif form == "count":
            body, writable = f"SELECT MIN(id) AS id, word, COUNT(*) AS n FROM {path} GROUP BY word", False
        elif form == "function" and made.takes("view by function"):
            body, writable = f"SELECT id, word, `{made.name}`.doubled(n) AS n FROM {path}", False
        made.statements.append(f"CREATE {definer}{safety}VIEW `{view}` AS {body}")
        known.append((view, writable))


def _routines(draw: Draw, made: Seeded, tables: list[str], *, present: str, weak: str) -> None:
    who = _definer(draw, made, {"": 3, present: 1, weak: 1})
    made.statements.append(f"CREATE {who}FUNCTION doubled(a INT) RETURNS INT DETERMINISTIC RETURN a * 2")
    if draw.maybe(0.5) and made.takes("routine that names its database"):
        made.statements.append(
            f"CREATE PROCEDURE `{draw.name('proc')}`(OUT c INT) BEGIN SELECT COUNT(*) INTO c FROM `{made.name}`.`{tables[0]}`; END"
        )
        made.statements.append(
            f"CREATE FUNCTION `{draw.name('fun')}`() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM `{made.name}`.`{tables[-1]}`)"
        )
    if draw.maybe(0.3):
        made.after.append(f"GRANT EXECUTE ON FUNCTION `{made.name}`.doubled TO {present}")


def _triggers(draw: Draw, made: Seeded, tables: list[str]) -> None:
    for _ in range(draw.number(0, 2) if made.takes("trigger that names its database") else 0):
        table, moment = draw.pick(tables), draw.pick(("BEFORE", "AFTER"))
        log = f"`{made.name}`.`{tables[0]}`"
        act = (
            f"SET @seen = (SELECT COUNT(*) FROM {log})"
            if table == tables[0]
            else f"INSERT INTO {log} (word) VALUES ('told; ''quoted''')"
        )
        made.statements.append(
            f"CREATE TRIGGER `{draw.name('trig')}` {moment} UPDATE ON `{table}` FOR EACH ROW BEGIN {act}; END"
        )


def _events(draw: Draw, made: Seeded, tables: list[str]) -> None:
    for _ in range(draw.number(0, 2) if made.takes("event") else 0):
        state = draw.pick(("ENABLE", "DISABLE"))
        made.statements.append(
            f"CREATE EVENT `{draw.name('event')}` ON SCHEDULE EVERY 1 YEAR STARTS '2099-01-01 00:00:00' {state}"
            f" DO DELETE FROM `{made.name}`.`{tables[0]}` WHERE n < -1000"
        )


def _packages(draw: Draw, made: Seeded, tables: list[str]) -> None:
    if not (draw.maybe(0.3) and made.takes("package")):
        return
    name = draw.name("pack")
    head = f"CREATE PACKAGE BODY `{name}` AS FUNCTION counted RETURN INT AS c INT; BEGIN"
    body = f"SELECT COUNT(*) INTO c FROM `{made.name}`.`{tables[0]}`; RETURN c; END;"
    made.statements += [
        "SET sql_mode = 'ORACLE'",
        f"CREATE PACKAGE `{name}` AS FUNCTION counted RETURN INT; PROCEDURE tell; END",
        f"{head} {body} PROCEDURE tell AS BEGIN SELECT counted(); END; END",
        "SET sql_mode = DEFAULT",
    ]
