"""SavedModel: TensorFlow's own format, for TensorFlow Serving, C++, Java and Go."""

from pathlib import Path

import tensorflow as tf

from tuner.deliver.artifact import Artifact
from tuner.deliver.export.format import Format
from tuner.deliver.export.manifest import IDS, PROBABILITIES, TEXTS, Interface, Tensor
from tuner.deliver.export.whole import save_function

#: Name of the folder within an export's.
FOLDER = "model"


def _check(artifact: Artifact) -> None:
    """Refuse nothing: whatever Keras computes on TensorFlow, a SavedModel holds."""


def _write(artifact: Artifact, folder: Path) -> Interface:
    takes = artifact.manifest.takes
    if takes == "texts":
        given = tf.TensorSpec((None,), tf.string, name=TEXTS)
        described = Tensor(name=TEXTS, dtype="string", shape=("batch",))
    else:
        given = tf.TensorSpec((None, None), tf.int32, name=IDS)
        described = Tensor(name=IDS, dtype="int32", shape=("batch", "words"))
    save_function(artifact, folder / FOLDER, given)
    return Interface(
        takes=takes,
        input=described,
        output=Tensor(name=PROBABILITIES, dtype="float32", shape=("batch", len(artifact.classes))),
    )


SAVED_MODEL = Format(
    name="saved_model",
    title="SavedModel",
    modules=(),
    runtime=lambda: f"TensorFlow {tf.__version__}",
    notes=(
        f"`{FOLDER}/` is the SavedModel. Its signature is `serving_default`.",
        f"TensorFlow Serving wants a number for a version: mount `{FOLDER}/` as `/models/NAME/1`.",
        "A SavedModel is a program: load none that you do not trust.",
    ),
    check=_check,
    write=_write,
)
