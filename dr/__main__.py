"""`python -m dr`."""

from dr.cli.main import main

main()
