"""A whole study as one frozen value, and how two of them differ."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from tuner.confirmation import Confirmation
from tuner.errors import ConfigError
from tuner.goals import Goals
from tuner.space import Space
from tuner.space_table import parse_space
from tuner.urls import is_url, secret_in

SamplerName = Literal["tpe", "nsga2", "random", "grid", "gp", "cmaes"]
PrunerName = Literal["asha", "median", "none"]

#: How the names begin of what samplers note with a trial and read again when they propose later.
SAMPLER_NOTES = ("genetic:", "cma:")

#: Trials that a study may have.
MOST_TRIALS = 1_000_000

#: What a study can be called.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"


class _Table(BaseModel):
    # What a study holds is stored as JSON, which knows no infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(_Table):
    """The ``[data]`` table: which examples a study learns from."""

    source: Annotated[str, Field(min_length=1)]
    """``"demo"``, ``"imdb"``, a file or folder, or the URL of a file."""
    path: str | None = None
    """For ``source = "imdb"``: an ``imdb.npz`` at hand, instead of downloading it."""
    text: str = "text"
    """Column that holds the text."""
    label: str = "label"
    """Column that holds the class."""
    group: str | None = None
    """Column whose values never lie on both sides of the validation split."""
    test: str | None = None
    """A separate file with test examples; nothing but the final evaluation reads it."""
    examples: Annotated[int, Field(ge=10)] | None = None
    """Use at most so many examples (a random, stratified part); for ``demo``: how many to make."""
    vocabulary: Annotated[int, Field(ge=10, le=1_000_000)] = 20_000
    """Token ids, padding (0) and out-of-vocabulary (1) included."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the examples that judge the trials."""

    @field_validator("source", "path", "test")
    @classmethod
    def _holds_no_secret(cls, value: str | None) -> str | None:
        if value is not None and is_url(value) and (secret := secret_in(value)):
            raise ValueError(
                f"the URL holds {secret}, where everybody sees it who may read the study. Expected "
                f"a URL without: an open one (https://...), one whose credentials each machine has "
                f"itself (s3://...), or a file that is downloaded by hand and found by TUNER_DATA."
            )
        return value

    @field_validator("path")
    @classmethod
    def _path_belongs_to_imdb(cls, value: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source", "imdb")  # a bad source has its own message
        if value is not None and source != "imdb":
            raise ValueError(
                f'only `source = "imdb"` takes a path. Received source = {source!r}; '
                f"name a file or folder in `source` itself."
            )
        return value


class BudgetConfig(_Table):
    """The ``[budget]`` table: how much a study may spend."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)]
    """Trials in all, over all workers."""
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    """Passes over the training examples, at most, in one trial."""
    hours: Annotated[float, Field(gt=0, strict=False)] | None = None
    """Wall-clock time for the study while at least one worker is at it; then all trials end."""
    trial_minutes: Annotated[float, Field(gt=0, strict=False)] | None = None
    """Training time of one trial; a slower one ends, and the sampler learns to avoid its like."""
    min_gain: Annotated[float, Field(gt=0, strict=False)] | None = None
    """Of the metric: the study ends when all its trials to come are expected to gain less."""


class SamplerConfig(_Table):
    """The ``[sampler]`` table: who proposes the next point."""

    name: SamplerName = "tpe"
    """``random`` learns nothing, ``grid`` takes each point once, all others learn from trials."""
    allow_pickle: bool = False
    """Whether workers may load pickles from the database, as ``cmaes`` has to."""

    @model_validator(mode="after")
    def _pickle_was_asked_for(self) -> Self:
        if self.name == "cmaes" and not self.allow_pickle:
            raise ValueError(
                "sampler.name: 'cmaes' keeps its state as a pickle in the database, and whoever "
                "may write to trials there can so run code in each worker. Where you trust all of "
                "them, set sampler.allow_pickle = true; else choose another sampler, such as tpe."
            )
        return self

    @property
    def learns(self) -> bool:
        """Whether it proposes by what trials gave."""
        return self.name not in {"random", "grid"}


class PrunerConfig(_Table):
    """The ``[pruner]`` table: who ends hopeless trials early."""

    name: PrunerName = "asha"
    """``asha`` keeps the best at each rung, ``median`` ends what stays below it; or ``none``."""


class StudyConfig(Goals):
    """A whole study: what is tuned, towards what, on what, for how long and how.

    Frozen in the database when the study is created; `to_json` and `from_json` are that form.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    """Name in the database."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Decides the split, initial weights, data order and the sampler's draws."""
    data: DataConfig
    """Which examples."""
    budget: BudgetConfig
    """How many trials, how many epochs."""
    space: Space
    """What is tuned."""
    sampler: SamplerConfig = SamplerConfig()
    """Who proposes."""
    pruner: PrunerConfig = PrunerConfig()
    """Who ends trials early."""
    folder: Path
    """Folder of the study file; relative data paths start there."""
    confirms: Confirmation | None = None
    """What it trains again; None for a search. No study file says it: `tuner confirm` does."""

    @field_validator("space", mode="before")
    @classmethod
    def _read_space(cls, value: object) -> Space:
        if isinstance(value, Space):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"expected a table of hyperparameters. Received {value!r}.")  # noqa: TRY004 - pydantic collects ValueErrors
        try:
            return parse_space(value)
        except ConfigError as error:
            raise ValueError(str(error)) from error  # so that pydantic goes on and finds the rest

    @field_serializer("space")
    def _write_space(self, space: Space) -> dict[str, object]:
        return {p.name: p.to_value() for p in space.parameters}

    @field_validator("folder", mode="before")
    @classmethod
    def _read_folder(cls, value: object) -> Path:
        return Path(str(value))

    @model_validator(mode="after")
    def _grid_is_finite(self) -> Self:
        if self.sampler.name == "grid" and self.space.size() is None:
            endless = self.space.endless()
            why = (
                f"{endless[0]} has no finite list of values; give it choices or a step"
                if endless
                else "it has too many points; narrow it"
            )
            raise ValueError(f"space: a grid needs a finite space, and {why}.")
        return self

    @model_validator(mode="after")
    def _grid_is_whole(self) -> Self:
        if self.sampler.name == "grid" and self.budget.min_gain is not None:
            raise ValueError(
                "budget.min_gain: a grid's points come in order, so that those it has run tell "
                "nothing of those to come, and it is run whole. Leave min_gain out, or choose "
                "another sampler."
            )
        return self

    @model_validator(mode="after")
    def _all_know_several_objectives(self) -> Self:
        if self.metrics is not None and self.budget.min_gain is not None:
            raise ValueError(
                f"budget.min_gain: with several objectives ({', '.join(self.metrics)}) a study "
                f"gains also where its metric does not. Leave min_gain out."
            )
        if self.metrics is not None and self.sampler.name == "cmaes":
            raise ValueError(
                "sampler.name: cmaes knows one objective. Choose another sampler, such as tpe or "
                "nsga2, or one metric, with constraints for the rest."
            )
        return self

    @property
    def n_points(self) -> int | None:
        """Points that are tried once each; None where they have no end, or are tried again."""
        return self.space.size() if self.confirms is None else None

    @property
    def n_slots(self) -> int:
        """Trials that can be run: the budget, or all points of a smaller finite space."""
        size = self.n_points
        return self.budget.trials if size is None else min(self.budget.trials, size)

    def notes(self) -> tuple[str, ...]:
        """Say what a person should know before the study runs."""
        return (*self._notes_on_size(), *self.notes_on_pruning())

    def notes_on_pruning(self) -> tuple[str, ...]:
        """Say what a person should know of sampler and pruner together."""
        if self.sampler.name not in {"gp", "cmaes"} or self.pruner.name == "none":
            return ()
        return (
            f"Sampler {self.sampler.name} learns nothing from pruned trials, and pruner "
            f'{self.pruner.name} ends most of them: set pruner.name = "none", or sampler.name = '
            f'"tpe", which learns from both.',
        )

    def _notes_on_size(self) -> tuple[str, ...]:
        size = self.n_points
        if size is None or size == self.budget.trials:
            return ()
        if size < self.budget.trials:
            points, trials = ("point", "trial") if size == 1 else ("points", "trials")
            return (
                f"The space has {size} {points} and budget.trials is {self.budget.trials}: the "
                f"study ends after {size} {trials}, each point once.",
            )
        if self.sampler.name == "grid":
            left = size - self.budget.trials
            return (
                f"The grid has {size} points and budget.trials is {self.budget.trials}: "
                f"{left} {'point' if left == 1 else 'points'} will not be run. "
                f"Set budget.trials = {size} for the whole grid.",
            )
        return ()

    def to_json(self) -> str:
        """Write the resolved configuration, every default included."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: A tuner wrote it that knows other keys or values.
        """
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ConfigError(
                f"A stored study does not suit this version of tuner: {key}: {first['msg']}. "
                f"Install the version that made it, or a newer one."
            ) from error


def differences(stored: StudyConfig, wanted: StudyConfig) -> tuple[list[str], list[str]]:
    """Compare a stored study with what a study file asks for now.

    Args:
        stored: The frozen study.
        wanted: The study as the file has it.

    Returns:
        Changes that are allowed while a study lives (more trials, limits of time and gain, sampler,
        pruner, ends of a range) and changes that would make it another study, each as
        ``key: old -> new``.
    """
    old, new = _flat(stored), _flat(wanted)
    allowed: list[str] = []
    forbidden: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key):
            continue
        line = f"{key}: {_show(old.get(key))} -> {_show(new.get(key))}"
        free = key in {
            "sampler.name",
            "sampler.allow_pickle",
            "pruner.name",
            "budget.hours",
            "budget.trial_minutes",
            "budget.min_gain",
        } or (key == "budget.trials" and wanted.budget.trials > stored.budget.trials)
        is_range_end = re.fullmatch(r"space\.\w+\.(low|high)", key) and key in old and key in new
        (allowed if free or is_range_end else forbidden).append(line)
    return allowed, forbidden


def _flat(config: StudyConfig) -> dict[str, object]:
    flat: dict[str, object] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = value

    walk("", config.model_dump(mode="json", exclude={"folder"}))
    return flat


def _show(value: object) -> str:
    return "(not there)" if value is None else json.dumps(value)
