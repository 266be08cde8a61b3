"""The child process that exports: it sees no GPU, whatever the machine has.

Started by `tuner.cli.export` as ``python -m tuner.deliver.export WRITE ORDER``, with the order as
JSON. Says on the descriptor WRITE how far it is, and at the end what came of it, a line of JSON
each: TensorFlow and the converters write to stdout and stderr what they like.
"""

import json
import os
import sys
from pathlib import Path

from tuner.deliver.export.exporting import Order, export
from tuner.errors import InputError


def main(descriptor: int, order: str) -> None:
    """Export.

    Args:
        descriptor: To write on.
        order: The fields of an `Order`.
    """
    given = json.loads(order)
    for name in ("artifact", "target", "texts"):
        given[name] = None if given[name] is None else Path(given[name])
    with os.fdopen(descriptor, "w", encoding="utf-8", buffering=1) as out:

        def tell(**facts: object) -> None:
            out.write(json.dumps(facts) + "\n")

        try:
            written = export(Order(**given), say=lambda words: tell(said=words))
        except InputError as error:
            tell(error=str(error))
        else:
            tell(written=written.model_dump(mode="json"))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
