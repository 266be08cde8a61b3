"""What an artifact says about itself: one JSON file that is checked whole, as a study file is."""

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuner.config import DataConfig
from tuner.errors import InputError
from tuner.judging import Comparison, Estimate, Judgement
from tuner.params import GRUParams
from tuner.urls import is_url

#: Name of the file.
MANIFEST = "manifest.json"
#: What tells an artifact from any other folder.
FORMAT: Final = "tuner-artifact"
#: Raised whenever an older tuner could not read what a newer one writes.
FORMAT_VERSION: Final = 1
#: How files in it may be called.
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"


class Table(BaseModel):
    """What all parts of a manifest have in common: nothing is guessed, nothing is left over."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Document(Table):
    """A file that says what it is: each kind adds its ``format`` and ``version``, with defaults."""

    def to_json(self) -> str:
        """Write it, for programs and people."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InputError: It is something else; the message is without the file's name.
        """
        kind, version = (cls.model_fields[name].default for name in ("format", "version"))
        try:
            found = json.loads(text)
        except ValueError as error:  # no JSON, or not UTF-8
            raise InputError(f"is no JSON ({error})") from error
        if not isinstance(found, dict) or found.get("format") != kind:
            raise InputError(f'is not tuner\'s: expected "format": "{kind}" in it')
        if found.get("version") != version:
            raise InputError(
                f"has version {found.get('version')!r} of the format; this tuner reads version "
                f"{version}. Install the tuner that made it, or a newer one"
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise InputError(f"does not hold what it should: {key}: {first['msg']}") from error


class FileEntry(Table):
    """A file of the artifact."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of its content, hexadecimal."""
    size: Annotated[int, Field(ge=0)]
    """Bytes."""


class Member(Table):
    """One of the models, whose probabilities are averaged."""

    file: Annotated[str, Field(pattern=FILE_NAME)]
    """Where it is."""
    form: Literal["keras", "packed"] = "keras"
    """How it is stored: ``keras`` is a whole ``.keras`` file that reads raw texts; ``packed`` holds
    weights and words alone, in few bytes (`tuner.packing.container`)."""
    params: GRUParams
    """What it was trained with."""
    seed: Annotated[int, Field(ge=0)]
    """Of its training."""
    epochs: Annotated[int, Field(ge=1)]
    """Epochs that it was trained."""
    n_parameters: Annotated[int, Field(ge=1)]
    """Numbers that training adjusted."""


class Origin(Table):
    """Where the models come from."""

    study: str
    """Name of the study."""
    trial: Annotated[int, Field(ge=0)]
    """Number of the trial whose hyperparameters they have, or the first of them."""
    other_trials: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Numbers of further trials, whose hyperparameters the others have, in their order."""
    metric: str
    """What the study was judged by."""
    metrics: Mapping[str, float]
    """The trial's metrics on the validation set, where it was chosen: they flatter."""
    confirmed: Estimate | None = None
    """The study's metric of models of that trial with fresh seeds, by examples that chose nothing;
    None where `tuner confirm` has not found it."""
    horizon: Annotated[int, Field(ge=1)]
    """Epochs that the schedule of the step size was made for."""
    epochs_from: str
    """Why the models were trained for as many epochs as they were, for people."""
    data: str
    """Where the examples came from: a name without its folder, or a URL."""
    fingerprint: str
    """Of the examples and their preparation."""
    n_examples: Annotated[int, Field(ge=1)]
    """Examples that were learned from: those of training and validation."""
    versions: Mapping[str, str]
    """Package to version."""
    created: str
    """When, UTC, ISO 8601."""


class FinalResult(Table):
    """What came of reading the test set."""

    reading: Annotated[int, Field(ge=1)]
    """Which reading of the study's test set it was; only the first is free of choice."""
    data: str
    """Where the examples came from: a name without its folder, or a URL."""
    group: str | None = None
    """The column whose values were drawn as wholes for the intervals; None where the test set has
    none, and each example stands for itself."""
    judgement: Judgement
    """How good the models are together."""
    comparisons: tuple[Comparison, ...]
    """Against simpler models, on the same examples."""


class Loss(Table):
    """What being smaller costs."""

    n_examples: Annotated[int, Field(ge=1)]
    """Validation examples that both were judged by."""
    is_unseen: bool
    """Whether that was done with twins of both, trained without these examples; else both have
    learned from them."""
    is_chosen: bool = False
    """Whether it was chosen among several by what it lost on these examples."""
    accuracy: Estimate
    """Of the smaller one."""
    comparison: Comparison
    """With the original on the same examples."""


class Compression(Table):
    """How models were made smaller."""

    steps: Annotated[tuple[str, ...], Field(min_length=1)]
    """What was done, in order."""
    why: str
    """How this was chosen, for people."""
    original: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the manifest of the artifact that they were made from."""
    original_bytes: Annotated[int, Field(ge=1)]
    """Bytes of that one's models on disk ..."""
    n_bytes: Annotated[int, Field(ge=1)]
    """... and of these."""
    loss: Loss
    """What that costs."""
    test_accuracy: Estimate | None
    """That of the original on the test set; None where it was not read."""
    created: str
    """When, UTC, ISO 8601."""


class Manifest(Document):
    """All about an artifact."""

    format: Literal["tuner-artifact"] = FORMAT
    """What tells it from other JSON files."""
    version: Literal[1] = FORMAT_VERSION
    """Of the format."""
    takes: Literal["texts", "ids"]
    """What the models read: raw texts, or ids where the words are not known."""
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """Names of the classes, in the order of the probabilities."""
    n_ids: Annotated[int, Field(ge=3)]
    """Token ids, padding (0) and unknown words (1) included."""
    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    """The models; their probabilities are averaged."""
    origin: Origin
    """Where they come from."""
    test: FinalResult | None
    """What the test set says; None where it was not read."""
    compression: Compression | None = None
    """How the models were made smaller; None where they are as they were trained."""
    files: Mapping[str, FileEntry] = {}
    """Every file but this one."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the models on disk."""
        return sum(self.files[member.file].size for member in self.members)


def data_name(config: DataConfig, *, test: bool = False) -> str:
    """Name a study's examples without saying where on a machine they lie.

    Args:
        config: The ``[data]`` table.
        test: Whether the test examples are meant.
    """
    name = config.source
    if test and config.test is not None:
        name = config.test
    return name if is_url(name) else PurePath(name).name
