"""What an export says about itself."""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from tuner.data.text import PADDING_ID, UNKNOWN_ID
from tuner.deliver.manifest import MANIFEST, Document, FileEntry, Table
from tuner.errors import InputError

#: Formats that a model can be exported to.
FormatName = Literal["saved_model", "onnx", "litert"]
#: What a format's file takes.
Takes = Literal["texts", "ids"]
#: Which words of a text are read that has too many.
Keeps = Literal["first", "last"]

#: Names of what goes in and comes out, in all formats.
TEXTS, IDS, PROBABILITIES = "texts", "ids", "probabilities"
#: Name of the file with the words.
VOCABULARY: Final = "vocabulary.txt"


class Tensor(Table):
    """What goes into a format's file, or comes out of it."""

    name: str
    """Its name there."""
    dtype: Literal["string", "int32", "float32"]
    """Of its elements."""
    shape: tuple[int | str, ...]
    """Sizes; a name for one that is free."""


class TextRules(Table):
    """How a text becomes words and these become ids; all of it is about bytes of UTF-8."""

    lower_cased: str = string.ascii_uppercase
    """What is lower-cased, and nothing else."""
    removed: str = string.punctuation
    """What is taken out, wherever it stands."""
    separators: str = " \t\n\r\x0b\x0c"
    """What words are separated by, one or more of it."""
    padding_id: int = PADDING_ID
    """What stands behind a text's words."""
    unknown_id: int = UNKNOWN_ID
    """A word that is not in the vocabulary."""
    first_word_id: int = UNKNOWN_ID + 1
    """The first word of the vocabulary; the others follow in its order."""


class Interface(Table):
    """How a format's file is asked."""

    takes: Takes
    """What one gives it."""
    input: Tensor
    """The texts or ids."""
    output: Tensor
    """The probabilities."""
    keeps: Keeps | None = None
    """Which words of a text that is longer than the input must be given; None where the model
    cuts texts itself."""


class Source(Table):
    """Which artifact was exported."""

    study: str
    """Name of the study that it comes from."""
    trial: int
    """Number of the trial whose hyperparameters it has."""
    n_models: Annotated[int, Field(ge=1)]
    """Models of which the probabilities are averaged."""
    manifest_sha256: str
    """Of its ``manifest.json``, which holds that of each other file."""


class Parity(Table):
    """How much an export differs from what Keras computes in float32."""

    difference: Annotated[float, Field(ge=0)]
    """The largest difference of a probability."""
    tolerance: Annotated[float, Field(ge=0)]
    """The largest that was allowed."""
    n_texts: Annotated[int, Field(ge=1)]
    """Texts that were compared."""
    texts: str
    """Where they came from."""
    runtime: str
    """What ran the export, with its version."""
    of_float16: float | None
    """The largest difference of what ``tuner predict`` says, where that computes in float16; None
    where it computes in float32."""


class ExportManifest(Document):
    """All about an export."""

    format: Literal["tuner-export"] = "tuner-export"
    """What tells it from other JSON files."""
    version: Literal[1] = 1
    """Of the format."""
    to: FormatName
    """What it was exported to."""
    source: Source
    """From where."""
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """Names of the classes, in the order of the probabilities."""
    n_ids: Annotated[int, Field(ge=3)]
    """Token ids, padding (0) and unknown words (1) included."""
    interface: Interface
    """How it is asked."""
    vocabulary: str | None
    """File of the words where the model takes ids: one a line, in UTF-8, each line ended by a line
    feed and nothing else; None where texts go in, or where the words are not known."""
    text_rules: TextRules | None
    """How texts are read; None where only ids are known."""
    parity: Parity | None
    """How it compares with Keras; None only while that is being measured."""
    versions: Mapping[str, str]
    """Package to version."""
    created: str
    """When, UTC, ISO 8601."""
    files: Mapping[str, FileEntry] = {}
    """Every file but this one."""


def read_export_manifest(folder: Path) -> ExportManifest:
    """Read the manifest in an export's folder.

    Args:
        folder: With a manifest in it.

    Raises:
        InputError: It is none, or another program's.
    """
    path = folder / MANIFEST
    try:
        return ExportManifest.from_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error
    except InputError as error:
        raise InputError(f"{path} {error}.") from error
