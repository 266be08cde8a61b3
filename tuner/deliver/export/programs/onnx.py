"""Gives the class probabilities of texts, in ONNX Runtime.

Run it as ``python predict.py < texts.jsonl``. Each line that comes in is a text as a JSON string,
or a list of ids; each line that goes out is a list of probabilities, in the order of the classes in
manifest.json. It needs the packages numpy and onnxruntime. Use it as it is, or as a pattern for
another language.
"""

import json
import string
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent
#: Texts that are computed together.
BATCH = 32


def ids_of(text: str, words: Mapping[bytes, int]) -> list[int]:
    """Cut a text into words, and look these up; bytes know ASCII alone, as it should be."""
    bare = text.encode().lower().translate(None, string.punctuation.encode())
    return [words.get(word, 1) for word in bare.split()]  # 1 is an unknown word


def main() -> None:
    """Read, compute, write."""
    vocabulary = FOLDER / "vocabulary.txt"  # not there where only ids are known
    lines = vocabulary.read_bytes().splitlines() if vocabulary.exists() else []
    words = {word: number for number, word in enumerate(lines, start=2)}
    session = onnxruntime.InferenceSession(FOLDER / "model.onnx")
    given = [json.loads(line) for line in sys.stdin]
    texts = [ids_of(each, words) if isinstance(each, str) else each for each in given]
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        ids = np.zeros((len(batch), max(map(len, batch))), np.int32)  # 0 is padding
        for row, text in zip(ids, batch, strict=True):
            row[: len(text)] = text
        (probabilities,) = session.run(["probabilities"], {"ids": ids})
        for row in probabilities.tolist():
            sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
