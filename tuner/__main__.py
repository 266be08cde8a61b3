"""``python -m tuner`` is the command line."""

from tuner.cli import main

main()
