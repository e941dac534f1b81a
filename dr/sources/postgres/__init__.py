"""The source `postgres`: databases of a PostgreSQL server, dumped with their roles, restored into a server."""
