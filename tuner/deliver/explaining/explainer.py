"""From an artifact and a text to an explanation."""

import numpy as np

from tuner.attribution.explanation import Balance, Explanation, Word
from tuner.attribution.integration import MOST_STEPS, Integral, tolerance
from tuner.attribution.ranks import spearman
from tuner.data.text import UNKNOWN_ID, word_spans
from tuner.deliver.artifact import Artifact
from tuner.deliver.explaining.ensemble import Ensemble
from tuner.deliver.explaining.gradients import attribute, occlude
from tuner.errors import InputError, suggestion


class IncompleteError(InputError):
    """The attributions of a text do not sum to what they should, in the steps that are allowed."""


class Explainer:
    """Explains what the models of an artifact make of texts.

    Args:
        artifact: The models. Those that take ids predict, but have no words to point at.

    Raises:
        InputError: A net of it is not one of tuner's.

    Example:
        >>> explainer = Explainer(open_artifact("imdb.model"))
        >>> found = explainer.explain("A great movie, not dull at all!")
        >>> found.target, found.whole.probability
        ('pos', 0.97)
        >>> [(found.written(word), word.attribution) for word in found.strongest(2)]
        [('great', 2.13), ('dull', -1.08)]
    """

    def __init__(self, artifact: Artifact) -> None:
        #: The models as they were loaded.
        self.artifact = artifact
        #: The models, opened.
        self.models = Ensemble(artifact)
        files = [member.file for member in artifact.manifest.members]
        self._names = [files[0] if len(files) == 1 else f"{len(files)} models together", *files]

    def class_number(self, name: str) -> int:
        """Give the number of a class.

        Raises:
            InputError: There is none of that name.
        """
        classes = self.artifact.classes
        if name not in classes:
            raise InputError(
                f"No class {name!r}. Expected one of {', '.join(classes)}."
                f"{suggestion(name, classes)}"
            )
        return classes.index(name)

    def explain(self, text: str, *, target: str | None = None) -> Explanation:
        """Say what each word of a text adds to the log-odds of a class.

        Attributions are integrated gradients: they sum to the change of the log-odds between the
        text and the same text with a zero vector for each word, within 2 % of it or 0.01,
        whichever is larger. Occlusion is a second opinion by other means.

        Args:
            text: Any text.
            target: The class; None for the most probable one.

        Raises:
            IncompleteError: The steps that are allowed were not enough.
            InputError: There is no such class, or the artifact takes ids.

        References:
            Sundararajan et al. 2017, arXiv:1703.01365; Zeiler and Fergus 2014, arXiv:1311.2901
            (occlusion).
        """
        data = self.artifact.encode([text])
        chances = self.models.probabilities(data, np.array([0]))[:, 0]  # (1 + n_models, n_classes)
        predicted = int(chances[0].argmax())
        number = predicted if target is None else self.class_number(target)
        (found,) = attribute(self.models, data, np.array([number]))
        if not found.is_complete:
            raise IncompleteError(_incomplete(found))
        falls = occlude(self.models, data, number)
        is_read, is_known = self.models.is_read(len(data.ids)), data.ids != UNKNOWN_ID
        compared = is_read & is_known
        spans = word_spans(text) or [(0, 0)]
        balances = tuple(
            Balance(whose=whose, probability=chance, log_odds=end, baseline=begin, attributed=added)
            for whose, chance, end, begin, added in zip(
                self._names,
                chances[:, number].tolist(),
                found.ends.tolist(),
                found.begins.tolist(),
                found.values.sum(axis=1).tolist(),
                strict=True,
            )
        )
        return Explanation(
            text=text,
            predicted=self.artifact.classes[predicted],
            target=self.artifact.classes[number],
            whole=balances[0],
            by_model=balances[1:],
            words=tuple(
                Word(
                    begin=begin,
                    end=end,
                    is_known=bool(is_known[place]),
                    is_read=bool(is_read[place]),
                    attribution=float(found.values[0, place]),
                    occlusion=float(falls[place]),
                    by_model=tuple(found.values[1:, place].tolist()),
                )
                for place, (begin, end) in enumerate(spans)
            ),
            agreement=spearman(found.values[0, compared], falls[compared]),
            n_steps=found.n_steps,
        )


def _incomplete(found: Integral) -> str:
    changes = found.ends - found.begins
    worst = int((found.gaps / tolerance(changes)).argmax())
    return (
        f"After {found.n_steps} steps, of {MOST_STEPS} at most, the attributions sum to "
        f"{found.values[worst].sum():.4g} where the log-odds change by {changes[worst]:.4g}: "
        f"{found.gaps[worst]:.2g} apart. Expected {tolerance(changes)[worst]:.2g} at most. The "
        f"models are too jagged between nothing and this text; leave it out, or explain a part of "
        f"it."
    )
