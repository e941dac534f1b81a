"""The source `mysql`: databases of a MariaDB or MySQL server, dumped by its own programs.

A capture is a dump of all databases in one snapshot, and facts counted by queries in the same snapshot. A drill
pours the dump into a scratch server of its own; a recovery restores beside the live database and swaps the two.
"""

from dr.sources.mysql.driver import Mysql

__all__ = ["Mysql"]
