"""A throw-away MySQL server of the programs that scripts/get-debian brought, beside the MariaDB of the machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .mariadb import MariadbServer

PROGRAMS = Path(__file__).parents[2] / ".tools/debian/usr"


class MysqlServer(MariadbServer):
    """As `MariadbServer`, but MySQL."""

    daemon = str(PROGRAMS / "sbin/mysqld")
    program = str(PROGRAMS / "bin/mysql")
    options = (
        "--no-defaults", "--skip-networking", "--mysqlx=0", "--secure-file-priv=NULL",
        "--innodb-buffer-pool-size=128M", "--skip-log-bin",
        "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--performance-schema=OFF",
        "--innodb-use-native-aio=0", "--innodb-redo-log-capacity=16M",
    )  # fmt: skip

    def _install(self) -> None:
        argv = [self.daemon, *self.options, f"--datadir={self.base}/data", "--initialize-insecure"]
        done = subprocess.run(self._as_user(argv), cwd=self.base, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
