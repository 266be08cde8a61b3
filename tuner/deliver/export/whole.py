"""An artifact's models as one TensorFlow function, for the formats that are made of one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf
from keras import ops

from tuner.data.text import build_vectorizer
from tuner.deliver.artifact import Artifact, Classifier
from tuner.deliver.classifier import build_classifier
from tuner.deliver.export.manifest import PROBABILITIES, TEXTS
from tuner.model import build_model, variables_of


def in_float32(artifact: Artifact) -> Artifact:
    """Give the same models, none of which computes in float16.

    Their weights are float32 already. Formats differ in what they do with float16, and processors
    compute it slowly.

    Args:
        artifact: Any.
    """
    return Artifact(artifact.manifest, [_in_float32(each) for each in artifact.classifiers])


def _in_float32(classifier: Classifier) -> Classifier:
    params = classifier.member.params
    if params.precision == "float32":
        return classifier
    net = build_model(
        params.model_copy(update={"precision": "float32"}),
        vocabulary=classifier.net.get_layer("embedding").input_dim,
        n_classes=int(classifier.net.output_shape[-1]),
        seed=0,
    )
    for new, old in zip(variables_of(net), variables_of(classifier.net), strict=True):
        new.assign(old)
    return replace(classifier, net=net)


def save_function(artifact: Artifact, folder: Path, given: tf.TensorSpec) -> None:
    """Write the mean of the models' probabilities as a SavedModel.

    It has one signature, from the input by its name to ``probabilities``, float32, (batch,
    n_classes).

    Args:
        artifact: The models.
        folder: To be written.
        given: What goes in: raw texts, (batch,), or ids padded on the right with 0, (batch, time),
            by the name `TEXTS` or `IDS`.
    """
    models = [build_classifier(c.net, c.member.params, None) for c in artifact.classifiers]
    archive = keras.export.ExportArchive()
    for model in models:
        archive.track(model)
    ids_of: Callable[[tf.Tensor], tf.Tensor] = tf.identity
    if given.name == TEXTS:
        ids_of = _reader(artifact.words or ())
        archive.track(ids_of)

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = ids_of(inputs)
        total = tf.add_n([model(ids, training=False) for model in models])
        return {PROBABILITIES: total / len(models)}

    archive.add_endpoint("serve", serve, [given])
    archive.write_out(str(folder), verbose=False)


def _reader(words: tuple[str, ...]) -> keras.Model:
    """Build what goes from texts to ids, padded on the right with 0."""
    texts = keras.Input((), dtype="string", name=TEXTS)
    ids = ops.cast(build_vectorizer(words, ragged=False)(texts), "int32")
    return keras.Model(texts, ids, name="reader")
