"""The command line: parse, call one function, print."""

from tuner.cli.commands import main

__all__ = ["main"]
