#!/usr/bin/env python3
"""A very small portal, as an example for the check `http`: it says how many students the database has.

Usage: portal.py PORT, with the database's connection (PGHOST, PGDATABASE, …) in the environment.
"""

import http.server
import subprocess
import sys


class Portal(http.server.BaseHTTPRequestHandler):
    """Answers each request from the database."""

    def do_GET(self) -> None:
        """Answer with the number of students, or with 503 and the reason."""
        asked = ["psql", "-XAtc", "select count(*) from students"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        self.send_response(200 if done.returncode == 0 else 503)
        self.end_headers()
        said = f"{done.stdout.strip()} students" if done.returncode == 0 else done.stderr
        self.wfile.write(f"{said}\n".encode())

    def log_message(self, *about: object) -> None:
        """Say nothing."""


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Portal).serve_forever()
