"""How strongly words are coloured: the same on a page and on a terminal."""

#: Behind words that speak for the class, from the weakest to the strongest. Dark text is read
#: well on all of them, and these two rows are told apart by people who see few colours, too.
FOR = ("#e3eefb", "#c6dcf6", "#a9caf1", "#8bb8ec", "#6ea6e7", "#5197e2")
#: Behind words that speak against it.
AGAINST = ("#fdeedd", "#fbdcba", "#f8c996", "#f5b672", "#f1a34e", "#ec8f2a")
#: Of the text on them.
INK = "#1b1f24"


def shade(value: float, strongest: float) -> int:
    """Choose a word's colour.

    Args:
        value: Its attribution.
        strongest: The largest absolute one in its text.

    Returns:
        0 for none; up to 6 for a word that speaks for the class, down to -6 for one against it.
    """
    return round(len(FOR) * value / strongest) if strongest else 0


def colour(level: int) -> str | None:
    """Give the colour of a level of `shade`, as ``#rrggbb``; None for none."""
    if not level:
        return None
    return FOR[level - 1] if level > 0 else AGAINST[-level - 1]
