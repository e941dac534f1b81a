"""A MariaDB or MySQL dump sorted into data and code, rights read from grants, and definitions in one spelling."""

from __future__ import annotations

import pytest

from dr.sources.kept import is_kept
from dr.sources.mysql.accounts import matches
from dr.sources.mysql.code import Sorting
from dr.sources.mysql.rights import held_in
from dr.sources.mysql.spelling import spelled, without_groups

DUMP = b"""/*!40101 SET NAMES utf8mb4 */;

--
-- Temporary table structure for view `a`
--

DROP TABLE IF EXISTS `a`;
SET @saved_cs_client     = @@character_set_client;
/*!50001 CREATE VIEW `a` AS SELECT
 NULL AS `id` */;
SET character_set_client = @saved_cs_client;

--
-- Table structure for table `t`
--

CREATE TABLE `t` (
  `id` int(11) DEFAULT nextval(`lib`.`s`)
);

--
-- Dumping data for table `t`
--

INSERT INTO `t` VALUES
('-- Final view structure for view','nextval(`lib`.');
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 trigger lib.`t``r` before insert on `lib` . `t` for each row begin
-- Dumping events for database 'lib'
insert into lib.log values (1);
end */;;
DELIMITER ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;

--
-- Dumping events for database 'lib'
--

--
-- Dumping routines for database 'lib'
--
/*!50003 DROP FUNCTION IF EXISTS `f` */;
DELIMITER ;;
CREATE DEFINER=`clerk`@`%` FUNCTION `f`() RETURNS int(11)
return 1 ;;
DELIMITER ;

--
-- Final view structure for view `a`
--

/*!50001 DROP VIEW IF EXISTS `a`*/;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `a` AS select `lib`.`t`.`id` AS `id` from `t` */;

-- Dump completed
"""


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_a_dump_is_sorted_in_blocks_of_any_size(size: int) -> None:
    sorting = Sorting("lib", {"lib": "beside"})
    data = b"".join(sorting.passing(DUMP[at : at + size] for at in range(0, len(DUMP), size)))
    assert b"('-- Final view structure for view','nextval(`lib`.');" in data, "rows are never touched"
    assert b"DEFAULT nextval(`beside`.`s`)" in data and b"VIEW" not in data and b"trigger" not in data
    code = sorting.code()
    assert [(piece.kind, piece.name) for piece in code.pieces] == [("trigger", "t`r"), ("routine", "f"), ("view", "a")]
    assert code.owners() == ["'clerk'@'%'", "'root'@'localhost'"]
    trigger, _, view = code.pieces
    moved = trigger.at("beside", {"lib": "beside"})
    assert b"trigger `t``r` before insert on `t` for each" in moved, "it would go into the live database"
    assert b"insert into lib.log" in moved and trigger.at("lib", {}) == trigger.text
    assert b"select `beside`.`t`.`id`" in view.at("beside", {"lib": "beside"})
    assert view.statement.startswith("CREATE ALGORITHM=UNDEFINED")


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_rows_of_one_table_pass_alone_and_definitions_all(size: int) -> None:
    whole = b"".join(Sorting("lib").passing([DUMP]))
    for only, rows in ((("t",), True), (("u",), False)):
        sorting = Sorting("lib", only=only)
        data = b"".join(sorting.passing(DUMP[at : at + size] for at in range(0, len(DUMP), size)))
        assert (b"INSERT INTO" in data) is rows and b"CREATE TABLE `t`" in data and b"Dump completed" in data
        assert (data == whole) is rows
        assert [piece.name for piece in sorting.code().pieces] == ["t`r", "f", "a"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("select 1 from `a` join `b` where x", "select 1 from (`a` join `b`) where x", True),
        ("select 1 from `a` join `b` join `c`", "select 1 from ((`a` join `b`) join `c`)", True),
        ("select 1 from t where id in (select 1 from a join b)", "select 1 from t where id in (select 1 from (a join b))", True),
        ("select 1 from a left join (b join c) on x", "select 1 from a left join b join c on x", False),
        ("select 1 from t where (a or b) and c", "select 1 from t where a or b and c", False),
        ("select 1 from (select 2 from t) x", "select 1 from select 2 from t x", False),
        ("select extract(year from (a or b) + 1)", "select extract(year from a or b + 1)", False),
        ("select ' from (a)' from t", "select ' from a' from t", False),
        ("select 1 from `a` join `b`", "select 1 from `b` join `a`", False),
    ],
)  # fmt: skip
def test_only_what_means_the_same_is_spelled_the_same(one: str, other: str, same: bool) -> None:
    assert (without_groups(one) == without_groups(other)) is same


def test_a_setting_that_a_dump_adds_to_aria_tables_is_no_difference_but_others_are() -> None:
    def told(engine: str, options: str) -> list[str | None]:
        return spelled("table", ["BASE TABLE", engine, "utf8mb4_general_ci", options, ""])

    assert told("Aria", "transactional=1") == told("Aria", "transactional=1 page_checksum=1")
    assert told("Aria", "transactional=1") != told("Aria", "transactional=0")
    assert told("InnoDB", "") != told("InnoDB", "page_checksum=1")


@pytest.mark.parametrize(
    ("lines", "right", "on"),
    [
        (["GRANT ALL PRIVILEGES ON *.* TO `r`@`%` WITH GRANT OPTION"], "TRIGGER", True),
        (["GRANT SELECT, SHOW VIEW ON `sis`.* TO `r`@`%`"], "SHOW VIEW", True),
        (["GRANT SELECT, SHOW VIEW ON `sis`.* TO `r`@`%`"], "TRIGGER", False),
        (["GRANT SELECT ON `si_`.* TO `r`@`%`"], "SELECT", True),
        ([r"GRANT SELECT ON `si\_`.* TO `r`@`%`"], "SELECT", False),
        (["GRANT SELECT ON `s%`.* TO `r`@`%`", "GRANT EVENT ON `sis`.* TO `r`@`%`"], "SELECT", False),
        (["GRANT EVENT ON `sis`.* TO `r`@`%`", "GRANT SELECT ON `s%`.* TO `role`"], "SELECT", True),
        (["GRANT SELECT ON `sis`.`t` TO `r`@`%`"], "SELECT", False),
        (["GRANT SELECT (`a`, `b`), INSERT ON `sis`.`t` TO `r`@`%`"], "SELECT", False),
        (["GRANT SELECT ON *.* TO `r`@`%`", "REVOKE SELECT ON `sis`.* FROM `r`@`%`"], "SELECT", False),
    ],
)
def test_rights_are_read_as_a_server_goes_by_them(lines: list[str], right: str, on: bool) -> None:
    assert held_in(lines).on("sis", right) is on


def test_patterns_of_grants_and_names_of_kept_databases_are_known() -> None:
    assert matches(r"a\_b%", "a_bc") and not matches(r"a\_b", "axb")
    assert is_kept("sis_before_recover-20260102T030405Z-a1b2c3") and is_kept("sis_before__20260102T030405Z_a1b2c3")
    assert not is_kept("grades_before_merge") and not is_kept("sis")


def test_events_are_put_to_sleep_but_for_what_only_looks_like_one() -> None:
    part = (b"-- Dumping events for database 'a'\n--\nDELIMITER ;;\n/*!50106 CREATE*/ /*!50117 DEFINER=`x`@`y`*/ /*!50106 EVENT `e``1` ON "
            b"SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE DO select 'ON COMPLETION "
            b"PRESERVE ENABLE' */ ;;\nDELIMITER ;\n")  # fmt: skip
    sorting = Sorting("a")
    assert b"".join(sorting.passing([part])) == b""
    code = sorting.code()
    assert [(piece.kind, piece.name) for piece in code.pieces] == [("event", "e`1")]
    assert code.awake() == {"e`1"} and code.asleep().awake() == set()
    assert code.asleep().pieces[0].text == part.replace(b"PRESERVE ENABLE DO", b"PRESERVE DISABLE DO")
