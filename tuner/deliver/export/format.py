"""What a format has to know and to do."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuner.deliver.artifact import Artifact
from tuner.deliver.export.manifest import FormatName, Interface
from tuner.errors import InputError

#: Bytes that a file of weights may have in formats that count them with 31 bits, with some room
#: for what is not weights.
MAX_BYTES = 2**31 - 2**24


@dataclass(frozen=True, kw_only=True)
class Format:
    """A way to store a model for other programs."""

    #: What ``--to`` calls it, and its extra where it needs one.
    name: FormatName
    #: What people call it.
    title: str
    #: Modules that tuner does not come with.
    modules: tuple[str, ...]
    #: Says what runs it here, with its version.
    runtime: Callable[[], str]
    #: What else a reader should know, in Markdown, a line each.
    notes: tuple[str, ...]
    #: Raises InputError, with the reason, for what the format cannot hold.
    check: Callable[[Artifact], None]
    #: Writes the model into a folder, and says how it is asked.
    write: Callable[[Artifact, Path], Interface]

    def require(self) -> None:
        """See that everything is installed.

        Raises:
            InputError: It is not.
        """
        missing = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(
                f"Exporting to {self.title} needs {' and '.join(missing)}, which is not installed. "
                f"Run in tuner's folder: pip install '.[{self.name}]'"
            )


def check_size(artifact: Artifact, title: str, *, most: int = MAX_BYTES) -> None:
    """Refuse models that are too large for one file.

    Args:
        artifact: The models, in float32.
        title: What people call the format.
        most: Bytes of weights that it holds.

    Raises:
        InputError: They are.
    """
    size = 4 * sum(classifier.net.count_params() for classifier in artifact.classifiers)
    if size > most:
        raise InputError(
            f"{title} holds at most {most / 2**30:.1f} GiB in a file; these models have "
            f"{size / 2**30:.1f} GiB of weights. Export to saved_model, or tune smaller models "
            f"(`constraints.bytes`)."
        )
