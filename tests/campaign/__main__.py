"""Show the statements of a generated database: `python -m tests.campaign mysql 3`."""

import sys

from tests.campaign import mysql_seeded, postgres_seeded

made = {"mysql": mysql_seeded, "postgres": postgres_seeded}[sys.argv[1]].make(int(sys.argv[2]))
print(made.script)
print("-- in it:", ", ".join(sorted(made.traits)))
