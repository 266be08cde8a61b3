"""Where tables, colours and the live view are printed."""

import errno

from rich.console import Console

#: Columns where nobody looks: wide enough for every table.
WIDTH = 200


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Say that nobody reads any more as `click.echo` does, where rich would exit with 1."""
        raise BrokenPipeError(errno.EPIPE, "nobody reads what is printed")


def console(*, stderr: bool) -> Console:
    """Make a console that does not cut tables where nobody looks at them."""
    made = _Terminal(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = WIDTH
    return made
