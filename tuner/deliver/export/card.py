"""A short word for those who use an export in another program, perhaps in another language."""

from collections.abc import Iterator
from pathlib import Path

from tuner.deliver.export.format import Format
from tuner.deliver.export.manifest import ExportManifest, Tensor, TextRules
from tuner.deliver.export.parity import PROGRAM


def write_card(path: Path, manifest: ExportManifest, form: Format) -> None:
    """Write it, in Markdown.

    Args:
        path: To be written.
        manifest: All about the export.
        form: Its format.
    """
    text = "\n".join(_lines(manifest, form)).rstrip() + "\n"
    path.write_text(text, encoding="utf-8")


def _lines(manifest: ExportManifest, form: Format) -> Iterator[str]:
    source, interface, parity = manifest.source, manifest.interface, manifest.parity
    n = source.n_models
    yield f"# {source.study} as {form.title}"
    yield ""
    what = "a GRU text classifier" if n == 1 else f"the mean of {n} GRU text classifiers"
    yield (
        f"This is {what}, of trial {source.trial} of study `{source.study}`, for programs without "
        f"Keras. Classes, in the order of the probabilities: "
        f"{', '.join(f'`{name}`' for name in manifest.classes)}."
    )
    yield ""
    yield f"* Input: {_shown(interface.input)}"
    yield f"* Output: {_shown(interface.output)}"
    for note in form.notes:
        yield f"* {note}"
    yield ""
    yield f"`{PROGRAM}` is all it takes, in plain Python; it reads lines of JSON:"
    yield ""
    yield "```sh"
    example = '"A great movie!"' if manifest.text_rules else "[15, 23, 1, 7]"
    yield f"echo '{example}' | python {PROGRAM}"
    yield "```"
    yield ""
    if manifest.vocabulary:
        yield "## From a text to ids"
        yield ""
        yield from _rules(manifest.text_rules or TextRules(), manifest.vocabulary)
        yield ""
    elif manifest.text_rules is None:
        yield (
            "The words were not known when this was trained, so that it takes ids alone. An id is "
            f"a word's rank by frequency plus 1; 0 is padding, on the right, and 1 a word that is "
            f"not among the ids below {manifest.n_ids}."
        )
        yield ""
    if parity is not None:
        yield "## How exact it is"
        yield ""
        yield (
            f"On {parity.n_texts} texts ({parity.texts}), {parity.runtime} and Keras, both in "
            f"float32, differed by {parity.difference:.1e} at most in a probability."
        )
        if parity.of_float16 is not None:
            yield (
                f"The models were trained in mixed_float16, in which `tuner predict` differs from "
                f"this by {parity.of_float16:.1e} at most."
            )
        yield ""
        yield "How good the model is tells the model card of the artifact that it was made from."


def _shown(tensor: Tensor) -> str:
    return f"`{tensor.name}`, {tensor.dtype}, ({', '.join(map(str, tensor.shape))})"


def _rules(rules: TextRules, vocabulary: str) -> Iterator[str]:
    yield "All of this is about the bytes of UTF-8, so that nothing but ASCII is changed or cut at:"
    yield ""
    yield "1. Lower-case A to Z."
    yield f"2. Take out these characters, wherever they stand: `` {rules.removed} ``"
    yield (
        "3. Cut into words at white space: space, tab, line feed, vertical tab, form feed, "
        "carriage return; one or more of it."
    )
    yield (
        f"4. Look each word up in `{vocabulary}`, which has one a line; only a line feed ends a "
        f"line. The first word's id is {rules.first_word_id}, and so on; a word that is not there "
        f"has id {rules.unknown_id}. Id {rules.padding_id} stands behind a text's words. A text "
        f"without words needs no id."
    )
