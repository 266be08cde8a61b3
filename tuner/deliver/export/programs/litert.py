"""Gives the class probabilities of texts, in LiteRT.

Run it as ``python predict.py < texts.jsonl``. Each line that comes in is a text as a JSON string,
or a list of ids; each line that goes out is a list of probabilities, in the order of the classes in
manifest.json. It needs the packages numpy and ai-edge-litert. Use it as it is, or as a pattern for
another language.
"""

import json
import string
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

FOLDER = Path(__file__).parent


def ids_of(text: str, words: Mapping[bytes, int]) -> list[int]:
    """Cut a text into words, and look these up; bytes know ASCII alone, as it should be."""
    bare = text.encode().lower().translate(None, string.punctuation.encode())
    return [words.get(word, 1) for word in bare.split()]  # 1 is an unknown word


def main() -> None:
    """Read, compute, write."""
    interface = json.loads((FOLDER / "manifest.json").read_text("utf-8"))["interface"]
    _, length = interface["input"]["shape"]
    vocabulary = FOLDER / "vocabulary.txt"  # not there where only ids are known
    lines = vocabulary.read_bytes().splitlines() if vocabulary.exists() else []
    words = {word: number for number, word in enumerate(lines, start=2)}
    run = Interpreter(str(FOLDER / "model.tflite")).get_signature_runner()
    for line in sys.stdin:
        given = json.loads(line)
        text = ids_of(given, words) if isinstance(given, str) else given
        text = text[-length:] if interface["keeps"] == "last" else text[:length]
        ids = np.zeros((1, length), np.int32)  # 0 is padding
        ids[0, : len(text)] = text
        (probabilities,) = run(ids=ids)["probabilities"]
        sys.stdout.write(json.dumps(probabilities.tolist()) + "\n")


if __name__ == "__main__":
    main()
