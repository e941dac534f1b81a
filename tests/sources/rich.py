"""A MariaDB server with all that databases are made of, and what a capture of it stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dr.plan.source_kinds import MysqlSource
from dr.sources import database_inventory as facts
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.driver import RestoredSource, RestoreSlot
from dr.sources.mysql import Mysql
from dr.tools.host import ThisHost
from scripts.servers.mariadb import MariadbServer
from scripts.servers.mysql import MysqlServer
from tests import made_once

BYTES = bytes(range(256)).hex()
#: Everything that databases are made of, under names that are hard to quote. (No quote in the database's own name:
#: mariadb-dump 10.11 fails on one when there are events.)
RICH = f"""
CREATE DATABASE `sc``hool é` CHARACTER SET latin1 COLLATE latin1_german1_ci;
USE `sc``hool é`;
CREATE TABLE `pu``pil "ä' x` (
  `i``d` INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, `na me` VARCHAR(80) NOT NULL DEFAULT 'it''s \\\\ "x"',
  photo LONGBLOB, word VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, born DATE, at TIMESTAMP(6) NULL,
  bits BIT(9), kind ENUM('a','b''c'), many SET('x','y'), price DECIMAL(20,6), ratio DOUBLE, note JSON, spot POINT,
  size INT NOT NULL DEFAULT 7, twice INT GENERATED ALWAYS AS (size * 2) VIRTUAL, thrice INT AS (size * 3) STORED,
  UNIQUE KEY `by name` (`na me`, word(10)), KEY born (born DESC), FULLTEXT KEY ft (`na me`),
  CONSTRAINT `grown up` CHECK (born IS NULL OR born > '1900-01-01')
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci COMMENT='pupils; -- of ''all''';
INSERT INTO `pu``pil "ä' x` (`na me`, photo, word, born, at, bits, kind, many, price, ratio, note, spot) VALUES
  ('Zoë 😀\\n\\t\\\\ ''quoted''', x'{BYTES}', '日本語', '2001-02-03', '2026-01-02 03:04:05.678901', b'101', 'b''c', 'x,y',
   1.5, 1e-300, '{{"a": [1, "ü"]}}', POINT(1, 2)),
  ('NULL', x'', '', NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL),
  ('-- Dump completed', NULL, 'USE x;', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO `pu``pil "ä' x` (`i``d`, `na me`) VALUES (4000000000, 'far');
CREATE TABLE mark (id INT PRIMARY KEY, pupil INT UNSIGNED, FOREIGN KEY `fk 1` (pupil) REFERENCES `pu``pil "ä' x` (`i``d`)
  ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB;
INSERT INTO mark VALUES (1, 1), (2, 1), (3, 4000000000);
CREATE TABLE zero (id INT AUTO_INCREMENT PRIMARY KEY, x INT); SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO zero VALUES (0, 1), (5, 2); SET sql_mode = DEFAULT;
CREATE TABLE parts (id INT, y INT) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (10),
  PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1, 5), (2, 50);
CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100));
CREATE TABLE past (id INT PRIMARY KEY, x INT) WITH SYSTEM VERSIONING; INSERT INTO past VALUES (1, 1); UPDATE past SET x = 2;
CREATE SEQUENCE numbers START WITH 7; SELECT NEXTVAL(numbers);
DELIMITER ;;
CREATE TRIGGER `log it` AFTER INSERT ON mark FOR EACH ROW BEGIN
  -- a comment; with a semicolon
  INSERT INTO audit (what) VALUES (CONCAT('mark "', NEW.id, '"; '));
END;;
CREATE DEFINER=`clerk`@`%` FUNCTION `twi ce`(n INT) RETURNS INT DETERMINISTIC BEGIN RETURN n * 2; END;;
GRANT EXECUTE ON FUNCTION `twi ce` TO clerk@`%`;;
CREATE PROCEDURE `all`(IN a INT, OUT b VARCHAR(20)) BEGIN SELECT COUNT(*) INTO b FROM mark WHERE id > a; END;;
CREATE EVENT tick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO audit (what) VALUES ('tick');;
CREATE EVENT tock ON SCHEDULE EVERY 1 HOUR DISABLE COMMENT 'never' DO DELETE FROM audit;;
DELIMITER ;
ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE VIEW a_view AS SELECT `na me` AS n, `twi ce`(`i``d` DIV 1000000) AS d FROM `pu``pil "ä' x`;
CREATE DEFINER=`clerk`@`%` VIEW clerks AS SELECT COUNT(*) AS n FROM mark;
GRANT SELECT ON mark TO clerk@`%`;
CREATE VIEW b_view AS SELECT * FROM a_view WHERE n <> 'far' UNION SELECT what, 1 FROM audit;
"""
NAME = "sc`hool é"
PUPIL = "pu`pil \"ä' x"


def quoted(name: str) -> str:
    """As an identifier."""
    return "`" + name.replace("`", "``") + "`"


@contextmanager
def rich_server(place: Path, *options: str) -> Iterator[MariadbServer]:
    """A server with a rich database."""
    with MariadbServer(place, *options) as running:
        running.sql("CREATE USER clerk@`%` IDENTIFIED BY 'clerks-word'")
        running.sql(RICH)
        running.sql(f"GRANT EXECUTE ON PROCEDURE {quoted(NAME)}.`all` TO clerk@`%`")
        yield running


class Taken:
    """What a capture stored."""

    def __init__(
        self, server: MariadbServer, work: Path, questions: tuple[tuple[str | None, str], ...] = (), **declared: Any
    ):
        quick = {} if isinstance(server, MysqlServer) else {"bin": str(made_once.mariadb_programs())}
        self.declared = MysqlSource.model_validate(server.declared(**quick, **declared))
        self.doors = Mysql("db", self.declared, host=ThisHost(), questions=questions)
        work.mkdir(parents=True)
        stream = self.doors.capture(work, None)
        self.filename, self.apart = stream.filename, work  # type: ignore[union-attr]
        self.data = b"".join(stream.chunks())  # type: ignore[union-attr]
        stream.close()  # type: ignore[union-attr]
        found = facts.read(work / facts.FILENAME)
        assert found
        self.facts: DatabaseInventory = found

    def restored(self, annexes: Callable[[str], Path], **room: Any) -> RestoredSource:
        """What a restore makes of it."""
        return self.doors.restored(
            RestoreSlot(
                root=self.apart / "root", apart=self.apart, annex=annexes, token=room.pop("token", "d-1a2b3c"), **room
            )
        )

    def pour(self, instance: RestoredSource) -> None:
        """Pour it, in blocks of any size."""
        instance.pour(self.filename, (self.data[at : at + 100_001] for at in range(0, len(self.data), 100_001)))


def differences(one: DatabaseInventory, other: DatabaseInventory | None) -> list[str]:
    """In which facts two differ, but for what the server itself is."""
    assert other is not None
    found = []
    for part in ("databases", "rows", "objects", "answers", "needs"):
        a, b = getattr(one, part), getattr(other, part)
        if isinstance(a, dict):
            found += [f"{part}: {key}" for key in sorted({*a, *b}) if a.get(key, "-") != b.get(key, "-")]
        elif a != b:
            found += [f"{part}: {a} {b}"]
    return found
