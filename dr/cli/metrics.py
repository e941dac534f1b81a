"""The command metrics, the file of metrics after each run, and `GET /metrics` of the daemon."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr.cli.context import Context, pass_context
from dr.errors import DrError, InterruptedRunError, Problem, UsageError, as_error, every_error

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

    from dr.session import Session

#: After these the figures may be others: the file that site.yaml names is written again.
CHANGING = ("backup", "verify", "run", "replicate", "repair", "expire", "drill", "recover", "points", "hold", "keys")


@click.command("metrics")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file, whole or not at all.",
)
@click.option("--restic-names", is_flag=True, help="Also the names that boards made for restic read.")
@pass_context
def metrics_command(context: Context, output: Path | None, restic_names: bool) -> None:
    """Print the figures of the board for Prometheus. No target is asked.

    With `metrics: {textfile: FILE}` in site.yaml the file is written after each run.
    """
    from dr.queries.metrics import measured, write_textfile
    from dr.report.metrics import metric_document, render

    context.session.reading = True
    if output and str(output) != "-":
        write_textfile(context.session, output, restic_names=restic_names)
        context.put(metrics=str(output.absolute()))
        context.say(f"wrote {output}")
        return
    found = measured(context.session, restic_names=restic_names)
    context.put(metrics=[metric_document(each) for each in found])
    if not context.as_json:
        with context.going_on(1):
            click.echo(render(found), nl=False)


def leave_metrics(context: Context) -> None:
    """Write the file that site.yaml names, after a command that may have changed a figure. A failure is said."""
    session = context.__dict__.get("session")
    if session is None or context.command not in CHANGING or "declarations" not in session.__dict__:
        return
    if problem := left(session):
        context.tell_problems([problem])


def left(session: Session) -> Problem | None:
    """Write the file that site.yaml names, if it names one; return what was in the way."""
    from dr.queries.metrics import write_textfile

    declared = session.declarations.site.metrics
    try:
        with every_error():
            if declared:
                write_textfile(session, declared.textfile)
    except InterruptedRunError:
        raise
    except DrError as error:
        return Problem.of(error)
    return None


# -- over HTTP -----------------------------------------------------------------------------------------


def address(text: str) -> tuple[str, int]:
    """Return the host and port of `HOST:PORT`; `UsageError` for what others could reach: nobody logs in there."""
    host, mark, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    try:
        here = ip_address("127.0.0.1" if host == "localhost" else host)
        if mark and not here.is_loopback:
            hint = "let Prometheus on another host read it through node_exporter's textfile, or an SSH tunnel"
            raise UsageError(f"{host} can be reached by others", "--listen", hint=f"use 127.0.0.1:PORT; {hint}")
        number = int(port)
    except ValueError:
        number = -1
    if not mark or not 0 <= number < 65_536:
        raise UsageError(f"{text!r} is not an address", "--listen", hint="write it as 127.0.0.1:PORT")
    return str(here), number


@contextmanager
def serving(context: Context, listen: str | None) -> Iterator[str]:
    """Serve `GET /metrics` on a loopback address while the daemon runs; give the address, "" for none.

    Each request reads the catalog anew. Port 0 takes a free one.
    """
    if listen is None:
        yield ""
        return
    from http.server import ThreadingHTTPServer

    host, port = address(listen)
    try:
        server = ThreadingHTTPServer((host, port), _handler(context))
    except OSError as error:
        hint = "choose another port"
        raise DrError(f"nothing can listen on {listen}", "--listen", error.strerror or "", hint=hint) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{server.server_address[0]!s}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _handler(context: Context) -> type[BaseHTTPRequestHandler]:
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        """Answers one path; says nothing of the program to who asks for another."""

        server_version, sys_version = "dr", ""
        timeout = 30.0  # seconds for a connection on which nobody says anything

        def handle(self) -> None:
            """Answer as long as somebody listens: who goes away in the middle is no fault of ours."""
            with suppress(OSError):
                super().handle()

        def do_GET(self) -> None:
            """Answer."""
            if self.path.partition("?")[0] != "/metrics":
                self._answer(404, "text/plain; charset=utf-8", "only /metrics is here\n")
                return
            from dr.report.metrics import CONTENT_TYPE

            try:
                self._answer(200, CONTENT_TYPE, _text(context))
            except Exception as error:  # noqa: BLE001 - whatever it is, who asks hears of it
                self._answer(503, "text/plain; charset=utf-8", f"{as_error(error).what}\n")

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: it is asked every few seconds."""

    return Handler


def _text(context: Context) -> str:
    from dr.queries.metrics import measured
    from dr.report.metrics import render
    from dr.session import Session

    session = Session(context.config_dir, context.state_dir, reading=True)
    try:
        return render(measured(session))
    finally:
        session.close()
