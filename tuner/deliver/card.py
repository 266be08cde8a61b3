"""The model card: what a model is, what it learned from, how good it is, and where it ends."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tuner.deliver.folder import Writer
from tuner.deliver.manifest import Compression, FinalResult, Manifest, Origin
from tuner.judging import Estimate
from tuner.report.words import listed

#: Name of the file: what hosts of code and models show first.
CARD = "README.md"

_TEXT_RULES = (
    "Text is lower-cased (A to Z only), ASCII punctuation is removed, and what ASCII white space "
    "separates is a word."
)


def write_card(manifest: Manifest) -> Writer:
    """Give what writes the card, in Markdown.

    Args:
        manifest: All about the artifact.
    """
    text = "\n".join(_lines(manifest)).rstrip() + "\n"
    return lambda path: Path(path).write_text(text, encoding="utf-8")


def _lines(manifest: Manifest) -> Iterator[str]:
    origin, members = manifest.origin, manifest.members
    n = len(members)
    classes = ", ".join(f"`{name}`" for name in manifest.classes)
    yield f"# {origin.study}: a GRU text classifier"
    yield ""
    what = "One model" if n == 1 else f"{n} models, whose probabilities are averaged"
    sizes = different(f"{member.n_parameters:,}" for member in members)
    yield f"{what}, with {sizes} parameters{' each' if n > 1 else ''}."
    yield f"Classes, in the order of the probabilities: {classes}."
    yield ""
    yield "## How to use it"
    yield ""
    yield from _usage(manifest)
    smaller = manifest.compression
    if smaller is not None:
        yield "## How it was made smaller"
        yield ""
        yield from _smaller(smaller)
    yield f"## How {'the original' if smaller else 'it'} was made"
    yield ""
    trials = [origin.trial, *origin.other_trials]
    yield (
        f"Hyperparameters: {'trial' if len(trials) == 1 else 'trials'} {different(trials)} of "
        f"study `{origin.study}`, chosen by `{origin.metric}` {_chosen_on(origin)}. Trained on all "
        f"{origin.n_examples:,} labelled examples of `{origin.data}`, training and validation, for "
        f"{different(m.epochs for m in members)} of {origin.horizon} epochs "
        f"({origin.epochs_from}), with "
        f"{'seed' if n == 1 else 'seeds'} {different(m.seed for m in members)}. "
        f"Made {origin.created} by "
        f"{', '.join(f'{name} {version}' for name, version in origin.versions.items())}. "
        f"Data fingerprint: `{origin.fingerprint}`."
    )
    yield ""
    kinds = list({member.params.model_dump_json(): member.params for member in members}.values())
    heads = ["Value"] if len(kinds) == 1 else [f"Value ({i}.)" for i in range(1, len(kinds) + 1)]
    yield f"| Hyperparameter | {' | '.join(heads)} |"
    yield f"|---|{'---|' * len(kinds)}"
    for name in kinds[0].model_dump():
        yield f"| `{name}` | {' | '.join(str(getattr(kind, name)) for kind in kinds)} |"
    yield ""
    yield "## How good it is"
    yield ""
    yield from _test_lines(manifest.test, manifest.classes)
    yield (
        "On the validation set, by which the search went and from which the final model has "
        f"learned, {'the trial' if len(trials) == 1 else f'trial {origin.trial}'} had: "
        + ", ".join(f"`{name}` {value:.4f}" for name, value in origin.metrics.items())
        + ". These flatter: the best of many trials is in part the luckiest."
    )
    if origin.confirmed is not None:
        yield ""
        yield (
            f"Trained anew with "
            f"{'these hyperparameters' if len(trials) == 1 else f'those of trial {origin.trial}'} "
            f"and other seeds, on as many examples as in "
            f"the search, and judged by examples that chose nothing, single models had: "
            f"`{origin.metric}` {shown(origin.confirmed)}."
        )
    yield ""
    yield "## Limits"
    yield ""
    yield from _limits(manifest)


def _chosen_on(origin: Origin) -> str:
    if origin.confirmed is None:
        return "on the validation set"
    return "in trainings with other seeds and examples than the search's"


def _usage(manifest: Manifest) -> Iterator[str]:
    if manifest.takes == "texts":
        yield "```sh"
        yield 'tuner predict FOLDER "A text of your own"'
        yield "```"
        yield ""
        yield "```python"
        yield "from tuner.deliver import open_artifact"
        yield ""
        yield 'open_artifact("FOLDER").predict(["A text of your own"])  # (1, n_classes)'
        yield "```"
        yield ""
        if any(member.form == "packed" for member in manifest.members):
            yield "The files hold weights alone, in few bytes: no other program reads them."
            yield ""
            return
        yield "Without tuner, each model by itself, from raw strings to probabilities:"
        yield ""
        yield "```python"
        yield "import keras, tensorflow as tf"
        yield ""
        yield f'model = keras.saving.load_model("FOLDER/{manifest.members[0].file}", compile=False)'
        yield 'model(tf.constant(["A text of your own"]))'
        yield "```"
        yield ""
        return
    yield (
        "The words were not known when this was trained: the model takes ids, not texts. An id is "
        "a word's rank by frequency plus 1; 0 is padding, on the right, and 1 a word that is not "
        f"among the ids below {manifest.n_ids}."
    )
    yield ""
    yield "```python"
    yield "from tuner.deliver import open_artifact"
    yield ""
    yield 'open_artifact("FOLDER").predict_ids([[15, 23, 1, 7]])  # (1, n_classes)'
    yield "```"
    yield ""


def _smaller(smaller: Compression) -> Iterator[str]:
    loss = smaller.loss
    steps = ", ".join(f"`{step}`" for step in smaller.steps)
    times = smaller.original_bytes / smaller.n_bytes
    yield (
        f"{steps} ({smaller.why}): {smaller.n_bytes:,} bytes instead of "
        f"{smaller.original_bytes:,}, {times:.1f} times smaller. Made {smaller.created} from the "
        f"artifact whose `manifest.json` has the SHA-256 `{smaller.original}`."
    )
    yield ""
    yield (
        f"On {loss.n_examples:,} validation examples its accuracy is {shown(loss.accuracy)}, the "
        f"original's {loss.comparison.accuracy:.4f}: a difference of "
        f"{shown(loss.comparison.difference, sign=True)} (only this one right: "
        f"{loss.comparison.n_only_ours}, only the original: {loss.comparison.n_only_other}; "
        f"McNemar's p = {loss.comparison.p_value:.2g}). "
        f"{about_examples(is_unseen=loss.is_unseen, is_chosen=loss.is_chosen)}"
    )
    yield ""
    if smaller.test_accuracy is not None:
        yield (
            f"The original's accuracy on the test set is {shown(smaller.test_accuracy)}. This "
            f"one's was not measured there."
        )
        yield ""
    if any(step.startswith("distil") for step in smaller.steps):
        yield (
            "The hyperparameters below are those of the student, which has learned the "
            "probabilities of the original: of the original's, units and embedding are larger."
        )
        yield ""


def about_examples(*, is_unseen: bool, is_chosen: bool) -> str:
    """Say what it means that a loss of accuracy was measured on the validation examples.

    Args:
        is_unseen: Whether those that were compared had not learned from them.
        is_chosen: Whether the variant was chosen among several by what it lost on them.
    """
    if is_unseen:
        expected = (
            "but among several variants this one was chosen by the difference, which may be a "
            "little larger on new texts."
            if is_chosen
            else "the difference is what to expect."
        )
        return (
            "These are the numbers of twins, trained and made smaller in the same way without the "
            f"validation examples, so that nothing had been seen: {expected}"
        )
    return (
        "Both have learned from these examples, so that both accuracies flatter, and the "
        "difference may be larger on new texts; --unseen measures with twins that have not."
    )


def _test_lines(test: FinalResult | None, classes: tuple[str, ...]) -> Iterator[str]:
    if test is None:
        yield "It was not judged by a test set."
        yield ""
        return
    judged = test.judgement
    often = (
        "read for the first time"
        if test.reading == 1
        else f"reading number {test.reading} of the same test set: what was chosen after earlier "
        f"ones looks better than it is"
    )
    units = "" if test.group is None else f", by whole groups of the column `{test.group}`"
    yield (
        f"On {judged.n_examples:,} test examples (`{test.data}`), {often}. In brackets: 95 % "
        f"intervals{units}."
    )
    yield ""
    yield "| Metric | Value |"
    yield "|---|---|"
    for name, estimate in judged.metrics.items():
        yield f"| {name} | {shown(estimate)} |"
    yield ""
    for comparison in test.comparisons:
        yield (
            f"A {comparison.other} on the same examples has an accuracy of "
            f"{comparison.accuracy:.4f}; this model's less that is "
            f"{shown(comparison.difference, sign=True)} (only this one right: "
            f"{comparison.n_only_ours}, only the other: {comparison.n_only_other}; McNemar's "
            f"p = {comparison.p_value:.2g}"
            f"{'' if test.group is None else ', which takes each example to stand for itself'})."
        )
        yield ""
    yield "True class in rows, predicted in columns:"
    yield ""
    yield f"| | {' | '.join(classes)} |"
    yield f"|---|{'---|' * len(classes)}"
    for name, row in zip(classes, judged.confusion, strict=True):
        yield f"| **{name}** | {' | '.join(map(str, row))} |"
    yield ""
    yield "How sure it is, and how often it is right then:"
    yield ""
    yield "| Probability of the predicted class | Examples | Mean probability | Right |"
    yield "|---|---|---|---|"
    for each in judged.reliability:
        if each.n:
            yield (
                f"| {each.low:.1f} to {each.high:.1f} | {each.n} | {each.confidence:.3f} | "
                f"{each.accuracy:.3f} |"
            )
    yield ""


def _limits(manifest: Manifest) -> Iterator[str]:
    read = [
        f"{'last' if member.params.truncate == 'start' else 'first'} {member.params.max_length}"
        for member in manifest.members
    ]
    yield f"* Of a longer text only the {different(read)} words are read."
    if manifest.takes == "texts":
        yield f"* {_TEXT_RULES} All words but {manifest.n_ids - 2:,} are one and the same to it."
    yield "* It knows texts like those it learned from; of others its probabilities say little."
    yield "* It may have learned what is beside the point, such as the names in the examples."


def shown(estimate: Estimate, *, sign: bool = False) -> str:
    """Write an estimate for people.

    Args:
        estimate: The number and its interval.
        sign: Whether to write a plus.
    """
    plus = "+" if sign else ""
    numbers = (f"{x:{plus}.4f}" for x in (estimate.value, estimate.low, estimate.high))
    return "{} [{}, {}]".format(*numbers)


def different(values: Iterable[object]) -> str:
    """List values for people, each once.

    Args:
        values: At least one.
    """
    return listed(list(dict.fromkeys(map(str, values))))
