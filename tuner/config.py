"""Read a study file (TOML) into a frozen `StudyConfig`, and explain a bad one."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

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

from tuner.errors import ConfigError
from tuner.metrics import METRICS, Direction
from tuner.space import Space, describe, suggestion
from tuner.space_table import parse_space

SamplerName = Literal["tpe", "random", "grid"]
PrunerName = Literal["asha", "none"]

#: Without a storage anywhere, studies live here, relative to the current folder.
DEFAULT_STORAGE = "sqlite:///studies/tuner.db"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataConfig(_Table):
    """The ``[data]`` table: which examples a study learns from."""

    source: Annotated[str, Field(min_length=1)]
    """``"demo"``, ``"imdb"``, or a file or folder."""
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

    trials: Annotated[int, Field(ge=1, le=1_000_000)]
    """Trials in all, over all workers."""
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    """Passes over the training examples, at most, in one trial."""


class SamplerConfig(_Table):
    """The ``[sampler]`` table: who proposes the next point."""

    name: SamplerName = "tpe"
    """``tpe`` learns from finished trials, ``random`` does not, ``grid`` takes each point once."""


class PrunerConfig(_Table):
    """The ``[pruner]`` table: who ends hopeless trials early."""

    name: PrunerName = "asha"
    """``asha`` keeps the best third at each rung; ``none`` trains every trial to its end."""


class StudyConfig(_Table):
    """A whole study: what is tuned, on what, for how long and how.

    Frozen in the database when the study is created; `to_json` and `from_json` are that form.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    """Name in the database."""
    metric: str = "val_accuracy"
    """Validation metric that decides; its direction follows from it."""
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

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        if value not in METRICS:
            raise ValueError(
                f"unknown metric. Received {value!r}, expected one of: {', '.join(METRICS)}."
                f"{suggestion(value, METRICS)}"
            )
        return value

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

    @property
    def direction(self) -> Direction:
        """Whether the metric is to be maximised or minimised."""
        return METRICS[self.metric].direction

    @property
    def n_slots(self) -> int:
        """Trials that can be run: the budget, or all points of a smaller finite space."""
        size = self.space.size()
        return self.budget.trials if size is None else min(self.budget.trials, size)

    def notes(self) -> tuple[str, ...]:
        """Say what a person should know before the study runs."""
        size = self.space.size()
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
        """Read what `to_json` wrote."""
        return cls.model_validate(json.loads(text))


def load_study_file(path: Path, overrides: Sequence[str] = ()) -> tuple[StudyConfig, str | None]:
    """Read a study file.

    Args:
        path: A TOML file.
        overrides: ``key=value`` pairs, keys dotted (``budget.trials=6``), values in TOML or bare
            text. A relative path given here starts at the current folder, not at the file's.

    Returns:
        The study, and the storage that the file names, if any.

    Raises:
        ConfigError: With file and key, what was received, what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a byte-order mark
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such study file.{_near_files(path)}") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}. Expected a study file in TOML."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8."
        ) from error
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error
    for override in overrides:
        _apply(raw, override)
    storage = raw.pop("storage", None)
    if storage is not None and not isinstance(storage, str):
        raise ConfigError(f"{path}: storage: expected a URL in quotes. Received {storage!r}.")
    if "folder" in raw:  # a field of ours, not a key of the file
        known = ", ".join(_known_keys(()))
        raise ConfigError(f"{path}: folder: unknown key. Expected some of: {known}.")
    raw.setdefault("name", path.stem)
    try:
        config = StudyConfig.model_validate(raw | {"folder": str(path.parent.resolve())})
    except ValidationError as error:
        lines = [f"{path}: {line}" for line in _explain(error)]
        raise ConfigError("\n".join(lines)) from error
    return config, storage


def _near_files(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent} either."
    there = [p.name for p in sorted(path.parent.glob("*.toml"))]
    hint = suggestion(path.name, there)
    return hint or (f" In that folder are: {', '.join(there)}." if there else "")


_PATH_KEYS = {"data.source", "data.path", "data.test"}


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts) or not text.strip():
        raise ConfigError(
            f"--set {override}: expected key=value, such as budget.trials=6 or space.units=[32,64]."
        )
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # bare text, so that a shell needs no quotes inside quotes
    if key.strip() in _PATH_KEYS and isinstance(value, str) and value not in {"", "imdb", "demo"}:
        value = str(Path(value).expanduser().resolve())
    table = raw
    for i, part in enumerate(parts[:-1], start=1):
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            outer = ".".join(parts[:i])
            raise ConfigError(
                f"--set {override}: {outer} is {inner!r} in the study file, not a table. "
                f"Set the whole of it: --set {outer}=..."
            )
        table = inner
    table[parts[-1]] = value


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "string_too_short": "text that is not empty",
}
_LIMITS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


def _explain(error: ValidationError) -> list[str]:
    """One line a mistake: key, received, expected, and the nearest known word."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        received = f"Received {item['input']!r}"
        match item["type"]:
            case "extra_forbidden":
                known = _known_keys(item["loc"][:-1])
                word = str(item["loc"][-1])
                expected = ", ".join(known)
                lines.append(
                    f"{key}: unknown key.{suggestion(word, known)} Expected some of: {expected}."
                )
            case "missing":
                lines.append(f"{key}: missing. {_purpose(item['loc'])}")
            case "value_error":
                message = item["msg"].removeprefix("Value error, ")
                lines.append(f"{key}: {message}" if key and not _has_key(message, key) else message)
            case "literal_error":
                known = list(_literals(item["loc"]))
                names = ", ".join(known)
                hint = suggestion(str(item["input"]), known)
                lines.append(f"{key}: expected one of: {names}. {received}.{hint}")
            case "string_pattern_mismatch":
                lines.append(
                    f"{key}: expected up to 128 letters, digits, '.', '_' and '-', starting with a "
                    f"letter or digit. {received}. A file without a name takes its own."
                )
            case other:
                expected = _EXPECTED.get(other) or re.sub(
                    r"^Input should be (a )?(valid )?", "", item["msg"]
                )
                if other in _LIMITS:
                    expected = f"a number {expected}"
                lines.append(f"{key}: expected {expected}. {received}.")
    return lines


def _has_key(message: str, key: str) -> bool:
    return message.startswith((f"{key}.", f"{key}:"))


def _model_at(location: Sequence[int | str]) -> type[BaseModel]:
    model: type[BaseModel] = StudyConfig
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model


def _known_keys(location: Sequence[int | str]) -> list[str]:
    known = set(_model_at(location).model_fields) - {"folder"}
    return sorted(known | ({"storage"} if not location else set()))


def _literals(location: Sequence[int | str]) -> tuple[str, ...]:
    return get_args(_model_at(location[:-1]).model_fields[str(location[-1])].annotation)


def _purpose(location: Sequence[int | str]) -> str:
    field = str(location[-1])
    examples = {
        "data": 'Say which examples to learn from: [data] with source = "demo".',
        "source": 'Expected "demo", "imdb", or a file or folder.',
        "budget": "Say how much to spend: [budget] with trials = 20 and epochs = 5.",
        "trials": "Expected a whole number of trials, such as trials = 20.",
        "epochs": "Expected a whole number of epochs, such as epochs = 5.",
        "space": "Say what to tune: [space] with units = [32, 64], for example.",
    }
    return examples.get(field, "It is needed.")


# --- comparing a study file with the stored study ----------------------------------------------


def differences(stored: StudyConfig, wanted: StudyConfig) -> tuple[list[str], list[str]]:
    """Compare a stored study with what a study file asks for now.

    Args:
        stored: The frozen study.
        wanted: The study as the file has it.

    Returns:
        Changes that are allowed while a study lives (more trials, sampler, pruner, ends of a
        range) and changes that would make it another study, each as ``key: old -> new``.
    """
    old, new = _flat(stored), _flat(wanted)
    allowed: list[str] = []
    forbidden: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key):
            continue
        line = f"{key}: {_show(old.get(key))} -> {_show(new.get(key))}"
        free = key in {"sampler.name", "pruner.name"} or (
            key == "budget.trials" and wanted.budget.trials > stored.budget.trials
        )
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


def study_file_lines(config: StudyConfig, values: Mapping[str, object]) -> str:
    """Write the ``[space]`` lines that would fix a trial's hyperparameters.

    Args:
        config: The study.
        values: Hyperparameter to value.

    Returns:
        TOML text.
    """
    lines = ["[space]"]
    for parameter in config.space.parameters:
        if parameter.name in values:
            tuned = f"  # from {describe(parameter.domain)}"
            value = json.dumps(values[parameter.name])
            lines.append(f"{parameter.name} = {value}{tuned}")
    return "\n".join(lines)


def choose_storage(
    *, flag: str | None, environment: Mapping[str, str], study_file: str | None
) -> str:
    """Decide where studies live: ``--storage``, ``TUNER_STORAGE``, the study file, the default."""
    return flag or environment.get("TUNER_STORAGE") or study_file or DEFAULT_STORAGE
