"""LiteRT (once TensorFlow Lite): for phones and small machines, of built-in operations alone.

A recurrence becomes a loop, whose tensors must have fixed sizes: one text at a time, of as many
words as the models read at most. What is behind a text's words does not change its probabilities,
but it takes its time.
"""

import tempfile
from importlib import metadata
from pathlib import Path

import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from tuner.deliver.artifact import Artifact
from tuner.deliver.export.format import Format, check_size
from tuner.deliver.export.manifest import IDS, PROBABILITIES, Interface, Keeps, Tensor
from tuner.deliver.export.whole import save_function
from tuner.errors import InputError

#: Name of the file.
FILE = "model.tflite"
TITLE = "LiteRT"


def _check(artifact: Artifact) -> None:
    ends = {classifier.member.params.truncate for classifier in artifact.classifiers}
    if len(ends) > 1:
        raise InputError(
            f"{TITLE} takes texts of a fixed length, cut to it before; these models cut off "
            f"different ends of a longer text. Export to onnx or saved_model, or make an artifact "
            f"of one of them."
        )
    check_size(artifact, TITLE)


def _write(artifact: Artifact, folder: Path) -> Interface:
    params = [classifier.member.params for classifier in artifact.classifiers]
    length = max(each.max_length for each in params)
    keeps: Keeps = "last" if params[0].truncate == "start" else "first"
    given = tf.TensorSpec((1, length), tf.int32, name=IDS)
    with tempfile.TemporaryDirectory() as name:
        saved = Path(name) / "saved_model"
        save_function(artifact, saved, given)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            converted = converter.convert()
        except ConverterError as error:
            raise InputError(
                f"{TITLE} cannot hold these models: {str(error).splitlines()[0]}. Export to onnx "
                f"or saved_model."
            ) from error
    (folder / FILE).write_bytes(converted)
    return Interface(
        takes="ids",
        input=Tensor(name=IDS, dtype="int32", shape=(1, length)),
        output=Tensor(name=PROBABILITIES, dtype="float32", shape=(1, len(artifact.classes))),
        keeps=keeps,
    )


LITERT = Format(
    name="litert",
    title=TITLE,
    modules=("ai_edge_litert",),
    runtime=lambda: f"LiteRT {metadata.version('ai-edge-litert')}",
    notes=(
        f'`{FILE}` needs LiteRT\'s built-in operations alone, no TensorFlow operations ("Flex"). '
        "Its signature is `serving_default`.",
        "It takes one text at a time, and always as long as its input is: shorter texts are padded "
        "with 0 on the right, which costs time and changes nothing. Of a longer one, give the "
        "words that `keeps` in `manifest.json` names.",
    ),
    check=_check,
    write=_write,
)
