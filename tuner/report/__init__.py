"""One self-contained page about a study: what was found, how, and what it took."""

from tuner.report.page import render

__all__ = ["render"]
