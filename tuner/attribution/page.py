"""One self-contained HTML page of explained texts, with coloured words."""

from collections.abc import Sequence

import jinja2

from tuner import __version__
from tuner.attribution.explanation import Explanation
from tuner.attribution.shades import AGAINST, FOR
from tuner.attribution.views import views_of


def render(
    title: str, explanations: Sequence[Explanation], *, n_words: int, each_model: bool
) -> str:
    """Make the page.

    Args:
        title: What the models are called.
        explanations: What is shown.
        n_words: Words in the table below each text.
        each_model: Whether to show also what each model of several makes of a text.

    Returns:
        HTML that needs no network, no script and no other file.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuner.attribution"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page: str = environment.get_template("explanations.html").render(
        title=title,
        explained=[(found, views_of(found, each_model=each_model)) for found in explanations],
        n_words=n_words,
        colours={"f": FOR, "a": AGAINST},
        version=__version__,
    )
    return page
