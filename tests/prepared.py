"""Prepared data for tests of its cache, also in processes of their own."""

import time
from pathlib import Path

from tuner.config import DataConfig
from tuner.data.cache import cached
from tuner.data.origin import origin_of
from tuner.data.prepare import Prepared, prepare


def reviews(path: Path | str, *, seed: int = 0) -> Prepared:
    """Prepare a file of reviews as all these tests do."""
    return prepare(DataConfig(source=str(path), vocabulary=50), seed=seed, folder=Path())


def prepare_slowly(path: Path, told: Path) -> None:
    """Prepare another study's data, taking half a second; tell of it in a file."""
    config = DataConfig(source=str(path), vocabulary=50)

    def tell(what: str, fingerprint: str) -> None:
        with told.open("a") as file:
            file.write(f"{what} {fingerprint}\n")

    def build() -> Prepared:
        tell("built", "it")
        time.sleep(0.5)
        return prepare(config, seed=1, folder=Path())

    prepared = cached(origin_of(config, seed=0, folder=Path()), build)
    tell("has", prepared.fingerprint)
