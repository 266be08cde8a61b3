"""`cache`: what prepared data this machine keeps, and removing it."""

import json

import click

from tuner.cli.group import say
from tuner.cli.words import duration
from tuner.data.cache import KeptData, data_folder, kept_data, remove_entries
from tuner.errors import InputError

#: Settings that are told, where they are not what they are in most studies.
_USUAL = {"vocabulary": None, "seed": 0, "validation": 0.2, "group": None, "fold": None}


def print_cache(form: str) -> None:
    """Print one line for each data that is kept.

    Raises:
        InputError: The cache cannot be read.
    """
    try:
        kept = kept_data()
    except OSError as error:
        raise _unusable(error) from error
    for data in kept:
        click.echo(json.dumps(_values(data)) if form == "json" else _line(data))
    say(f"{_size(sum(data.n_bytes for data in kept))} in {len(kept)} files in {data_folder()}")


def clear_cache(days: float) -> None:
    """Remove what was not used for some days.

    Raises:
        InputError: Something cannot be removed.
    """
    try:
        n_files, n_bytes = remove_entries(older_than=days * 24 * 3600.0)
    except OSError as error:
        raise _unusable(error) from error
    say(
        f"Removed {n_files} files, {_size(n_bytes)}. Trainers that use them keep them to their end."
    )


def _line(data: KeptData) -> str:
    told = [
        f"{name} {data.settings[name]}"
        for name, usual in _USUAL.items()
        if data.settings.get(name) not in (None, usual)
    ]
    return (
        f"{data.source}: {', '.join([f'{data.n_examples} examples', *told])}; "
        f"{_size(data.n_bytes)}, used {duration(data.idle_seconds)} ago"
    )


def _values(data: KeptData) -> dict[str, object]:
    return {
        "file": str(data.path),
        "source": data.source,
        "examples": data.n_examples,
        "settings": dict(data.settings),
        "bytes": data.n_bytes,
        "idle_seconds": round(data.idle_seconds, 1),
    }


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


def _unusable(error: OSError) -> InputError:
    return InputError(
        f"{error.filename}: {error.strerror}. Run it as the user whose cache this is, or name "
        f"another one with TUNER_CACHE."
    )
