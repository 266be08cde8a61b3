"""All models of an artifact become one small one, which learns what they say together."""

from dataclasses import replace

from tuner.deliver.compress.models import Model, Models
from tuner.deliver.compress.teaching import Lesson, teach


def distil(models: Models, lesson: Lesson, units: int) -> Models:
    """Train one narrower GRU to give the probabilities of the models together.

    It has the hyperparameters of the first of them, with word vectors narrowed as the GRU is, and
    the words that are left. It is trained from the start, for as many epochs as they were.

    Args:
        models: The teachers' hyperparameters and words; what they say is in the lesson.
        lesson: What to learn.
        units: Width of the student's GRU layers.

    References:
        Hinton et al. 2015, arXiv:1503.02531; Tang et al. 2019, arXiv:1903.12136 (to a recurrent
        net).
    """
    first = models.each[0]
    params = first.params.model_copy(
        update={
            "units": units,
            "embedding": max(1, round(first.params.embedding * units / first.params.units)),
        }
    )
    student = Model(
        params=params,
        seed=first.seed,
        epochs=max(each.epochs for each in models.each),
        weights={},
    )
    taught = teach(student, models, lesson, epochs=student.epochs, goes_on=False)
    return replace(models, each=(taught,))
