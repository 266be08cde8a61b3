"""Gives the class probabilities of texts, in TensorFlow alone.

Run it as ``python predict.py < texts.jsonl``. Each line that comes in is a text as a JSON string,
or a list of ids where manifest.json says that ids are taken; each line that goes out is a list of
probabilities, in the order of its classes. Use it as it is, or as a pattern for another language.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf

FOLDER = Path(__file__).parent
#: Texts that are computed together.
BATCH = 32


def main() -> None:
    """Read, compute, write."""
    interface = json.loads((FOLDER / "manifest.json").read_text("utf-8"))["interface"]
    model = tf.saved_model.load(str(FOLDER / "model"))
    serve = model.signatures["serving_default"]
    given = [json.loads(line) for line in sys.stdin]
    for start in range(0, len(given), BATCH):
        batch = given[start : start + BATCH]
        if interface["takes"] == "texts":
            inputs = {"texts": tf.constant(batch)}
        else:  # 0 is padding
            inputs = {"ids": tf.ragged.constant(batch, tf.int32, ragged_rank=1).to_tensor()}
        for row in serve(**inputs)["probabilities"].numpy().tolist():
            sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
