"""Throw-away servers for the tests and the demo: each in a directory of its own, ended with its context."""
