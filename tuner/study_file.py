"""Read a study file (TOML) into a `StudyConfig`, explain a bad one, write lines for one."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tuner.bucket import Bucket
from tuner.config import StudyConfig
from tuner.domain import Fixed, describe
from tuner.errors import ConfigError, suggestion
from tuner.urls import is_url

#: Without a storage anywhere, studies live here, relative to the current folder.
DEFAULT_STORAGE = "sqlite:///studies/tuner.db"
#: Where checkpoints of studies on a server lie, relative to the current folder.
DEFAULT_ARTIFACTS = Path("studies/artifacts")
#: Fields of a study that are no keys of a file.
_OURS = {"folder", "confirms"}


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
    for key in _OURS & raw.keys():
        known = ", ".join(_known_keys(()))
        raise ConfigError(f"{path}: {key}: unknown key. Expected some of: {known}.")
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
    is_place = key.strip() in _PATH_KEYS and isinstance(value, str)
    if is_place and value not in {"", "imdb", "demo"} and not is_url(value):
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
    "float_parsing": "a number",
    "finite_number": "a finite number",
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
    known = set(_model_at(location).model_fields) - _OURS
    return sorted(known | ({"storage"} if not location else set()))


def _literals(location: Sequence[int | str]) -> tuple[str, ...]:
    return get_args(_model_at(location[:-1]).model_fields[str(location[-1])].annotation)


def _purpose(location: Sequence[int | str]) -> str:
    field = str(location[-1])
    examples = {
        "data": 'Say which examples to learn from: [data] with source = "demo".',
        "source": 'Expected "demo", "imdb", a file or folder, or the URL of a file.',
        "budget": "Say how much to spend: [budget] with trials = 20 and epochs = 5.",
        "trials": "Expected a whole number of trials, such as trials = 20.",
        "epochs": "Expected a whole number of epochs, such as epochs = 5.",
        "space": "Say what to tune: [space] with units = [32, 64], for example.",
    }
    return examples.get(field, "It is needed.")


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
            line = f"{parameter.name} = {json.dumps(values[parameter.name])}"
            fixed = isinstance(parameter.domain, Fixed)
            lines.append(line if fixed else f"{line}  # was {describe(parameter.domain)}")
    return "\n".join(lines)


def choose_storage(
    *, flag: str | None, environment: Mapping[str, str], study_file: str | None
) -> str:
    """Decide where studies live: ``--storage``, ``TUNER_STORAGE``, the study file, the default."""
    return flag or environment.get("TUNER_STORAGE") or study_file or DEFAULT_STORAGE


def choose_artifacts(
    *, flag: str | None, environment: Mapping[str, str], storage: str
) -> Path | Bucket:
    """Decide where checkpoints lie: ``--artifacts``, ``TUNER_ARTIFACTS``, the default.

    Args:
        flag: ``--artifacts``.
        environment: Where ``TUNER_ARTIFACTS`` is looked for.
        storage: URL of the studies' storage. By default a SQLite file has the folder beside it:
            ``studies/tuner.artifacts`` belongs to ``studies/tuner.db``. A server has no folder
            here, so that it is `DEFAULT_ARTIFACTS`.

    Returns:
        An absolute path, whose folder need not be there; or a folder in an object store.

    Raises:
        InputError: A URL of an object store holds a secret, or is none.
    """
    chosen = flag or environment.get("TUNER_ARTIFACTS")
    if chosen and is_url(chosen):
        return Bucket(url=chosen)
    if chosen:
        return Path(chosen).expanduser().resolve()
    scheme, _, rest = storage.partition(":///")
    file = rest.partition("?")[0]
    is_file = scheme.partition("+")[0] == "sqlite" and file
    return (Path(file).with_suffix(".artifacts") if is_file else DEFAULT_ARTIFACTS).resolve()
