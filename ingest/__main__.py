"""`python -m ingest` is the program `ingest`."""

from ingest.cli import main

main()
