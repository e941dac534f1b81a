"""The program's entry, as `dr` and as `python -m dr`: who stops it is answered from its first line on.

Loading the program takes some tenths of a second. A stop meanwhile ends it at once, since nothing has been begun; so
does one after its end, which would reach Python's own end. In between, `dr.cli.main` hears of it.
"""

try:
    import gc
    import os
    import signal
    import sys
except KeyboardInterrupt:  # nothing is loaded that could say more
    raise SystemExit(130) from None

_SENTENCE = "dr: stopped on request. Start the command again to finish the work\n"
_DOCUMENT = (
    '{{"schema": 1, "command": "{command}", "warnings": [], "errors": [{{"what": "stopped on request", "where": "", '
    '"hint": "start the command again to finish the work"}}]}}\n'
)


def _say(number: int, text: str) -> None:
    """Write to a stream past all buffers; to one that is closed, nothing."""
    try:
        os.write(number, text.encode())
    except OSError:
        return


def _end(*_: object) -> None:
    """Say it in one sentence and be gone: no exception, since whatever is being loaded would show it or swallow it."""
    _say(2, _SENTENCE)
    os._exit(130)


def _end_unbegun(*_: object) -> None:
    """End before anything is begun: the document that was asked for is told too, made of nothing that has to load."""
    if "--json" in sys.argv:
        words = zip(sys.argv, sys.argv[1:], strict=False)
        named = (word for before, word in words if word.isalpha() and before not in ("--config", "--state"))
        _say(1, _DOCUMENT.format(command=next(named, "")))
    _end()


def _listen(answer: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, answer)  # type: ignore[arg-type]


def main() -> None:
    """Run the program and exit."""
    try:
        from dr.cli.main import main as run

        run()
    except KeyboardInterrupt:  # in the moments in which the program does not listen
        _end()
    finally:
        _listen(_end)
        gc.disable()  # Python would look for rings in all that was ever loaded, which the system takes back anyway
        gc.freeze()


_listen(_end_unbegun)
if __name__ == "__main__":
    main()
