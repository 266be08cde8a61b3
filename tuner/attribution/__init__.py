"""What words add to a class's log-odds: the arithmetic, what is said of it, how it is shown."""

from tuner.attribution.explanation import Balance, Explanation, Word
from tuner.attribution.page import render
from tuner.attribution.summary import Disagreement, Shortcut, Summary, WordEffect

__all__ = [
    "Explanation",
    "Balance",
    "Word",
    "Summary",
    "WordEffect",
    "Disagreement",
    "Shortcut",
    "render",
]
