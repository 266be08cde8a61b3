"""`explain`: which words make a class probable, in texts one by one or in many together."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click

from tuner.attribution import Explanation, render
from tuner.cli.computing import use_device
from tuner.cli.explained import as_json, print_explanation
from tuner.cli.group import say
from tuner.cli.summarised import print_summary, summary_json
from tuner.cli.texts import grouped_texts_of, texts_of
from tuner.cli.writing import check_file, write_whole
from tuner.errors import InputError

#: Seconds from one word about the progress to the next.
TELL_SECONDS = 5.0

Found = TypeVar("Found")


def explain_texts(
    folder: str,
    given: Sequence[str],
    *,
    column: str,
    target: str | None,
    n_words: int,
    each_model: bool,
    form: str,
    output: str | None,
) -> None:
    """Explain texts, in order.

    Args:
        folder: The artifact's.
        given: Texts; or one name of a file, or ``-`` for stdin.
        column: The file's column that holds the texts.
        target: The class; None for each text's most probable one.
        n_words: Words in the table below each text.
        each_model: Whether each model of several is shown, too.
        form: ``table`` or ``json``.
        output: The page to write instead of printing; None for none.
    """
    if output is not None:
        check_file(Path(output))
    texts = texts_of(given, column)
    use_device()
    if output is not None:  # what cannot be read must not cost a page of those before it
        texts = list(texts)
    from tuner.deliver import Explainer, IncompleteError, open_artifact

    explainer = Explainer(open_artifact(folder))
    left_out: list[int] = []

    def explanations() -> Iterator[Explanation]:
        for number, text in enumerate(texts, start=1):
            try:
                yield explainer.explain(text, target=target)
            except IncompleteError as error:
                left_out.append(number)
                say(f"text {number}: {error}")

    explained = _told(explanations())
    if output is not None:
        title = explainer.artifact.manifest.origin.study
        if whole := list(explained):
            page = render(title, whole, n_words=n_words, each_model=each_model)
            write_whole(Path(output), page)
            say(f"Wrote {output}. Open it in a browser.")
    else:
        for number, found in enumerate(explained):
            if form == "json":
                click.echo(json.dumps(as_json(found, each_model=each_model), ensure_ascii=False))
            else:
                if number:
                    click.echo()
                print_explanation(found, n_words=n_words, each_model=each_model)
    if left_out:
        listed = ", ".join(map(str, left_out))
        raise InputError(f"Left out, for the reason above: {listed}, counted from 1.")


def explain_together(
    folder: str,
    given: Sequence[str],
    *,
    column: str,
    group: str | None,
    target: str | None,
    n_words: int,
    min_texts: int,
    form: str,
) -> None:
    """Say what the words of many texts do.

    Args:
        folder: The artifact's.
        given: As for `explain_texts`.
        column: As for `explain_texts`.
        group: The file's column that says what a text belongs to; None for none.
        target: The class; None for all.
        n_words: Words a list.
        min_texts: Texts in which a word must be read to be listed.
        form: ``table`` or ``json``.
    """
    alone = texts_of(given, column) if group is None else ()
    pairs = grouped_texts_of(given, column, group) if group is not None else ()
    use_device()  # which may begin the command anew: stdin is read after it
    texts, groups = list(alone), None
    if group is not None:
        listed = list(pairs)
        texts, groups = [text for text, _ in listed], [belongs for _, belongs in listed]
    from tuner.deliver import Explainer, Wish, open_artifact, summarise

    explainer = Explainer(open_artifact(folder))
    wish = Wish(target=target, n_words=n_words, min_texts=min_texts)
    tell = _Teller()
    summary = summarise(
        explainer,
        texts,
        wish,
        groups=groups,
        tell=lambda n_done: tell(f"{n_done} of {len(texts)} texts explained"),
    )
    if form == "json":
        click.echo(json.dumps(summary_json(summary), ensure_ascii=False))
    else:
        print_summary(summary)


def _told(explained: Iterable[Found]) -> Iterator[Found]:
    tell = _Teller()
    for number, found in enumerate(explained, start=1):
        yield found
        tell(f"{number} texts explained")


class _Teller:
    """Says now and then how far a long work is."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, message: str) -> None:
        """Say it, unless something was said just now."""
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            say(message)
