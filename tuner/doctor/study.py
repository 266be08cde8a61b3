"""One study: is it stored, and could this machine train it?"""

import importlib.util
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tuner.config import StudyConfig
from tuner.data.download import localized
from tuner.doctor.finding import Finding, fail, ok, unchecked, warn
from tuner.errors import StudyNotFoundError
from tuner.host import versions
from tuner.results import progress
from tuner.storage import Database, StoredStudy, find_study, known_fingerprint, other_versions
from tuner.storage.refusals import read_refusals
from tuner.strategy.samplers import MODULES
from tuner.urls import is_url, is_web
from tuner.worker.messages import Prepare, Ready, Unusable
from tuner.worker.process import TrainerProcess
from tuner.worker.worker import GRU_OBJECTIVE

#: Packages that only some data needs: the module, the extra with it.
_PARQUET = ("pyarrow", "parquet")
_REMOTE = ("fsspec", "remote")


class StudyVisit:
    """One study, and what is found of it.

    Args:
        name: Of the study.
        config: What its study file says; None where it was named without one.
    """

    def __init__(self, name: str, config: StudyConfig | None) -> None:
        self._name = name
        #: What would be trained, as far as is known.
        self.config = config
        #: The study, once it was found in the storage.
        self.stored: StoredStudy | None = None

    def check(self, database: Database | None, why_none: str) -> Iterator[Finding]:
        """See whether the study is there, and whether workers would find anything to do.

        Args:
            database: Where it should be.
            why_none: Why there is no database.

        Raises:
            StorageUnavailableError: The database went away.
        """
        if database is None:
            yield unchecked("study", why_none)
            return
        try:
            self.stored = find_study(database, self._name)
        except StudyNotFoundError as error:
            if self.config is None:
                yield Finding(name="study", status="fail", text=str(error))
            else:
                yield ok("study", f"{self._name!r} is not stored yet; `tuner create` stores it")
            return
        self.config = self.stored.config
        now = progress(database, self.stored)
        done = f"{self._name!r}, {now.slots.done} of {now.slots.total} trials done"
        if now.ended == "gain":  # as the study file wants it
            yield ok("study", f"{done}, ended {now.message}")
        elif now.ended is not None:
            yield warn("study", f"{done}, ended: {now.message}", "`tuner run FILE` goes on.")
        elif now.is_over:
            yield ok("study", f"{done}: it is over; `tuner extend` gives it more")
        else:
            yield ok("study", f"{done}, {now.slots.held} running")


def check_extras(config: StudyConfig) -> Iterator[Finding]:
    """See whether the packages are there that only this study's data or sampler needs."""
    needed = {
        extra
        for place in (config.data.source, config.data.test, config.data.path)
        if place is not None
        for extra in _extras_of(place)
    }
    sampler = config.sampler.name
    needed |= {(module, sampler) for module in MODULES.get(sampler, ())}
    missing = sorted({name for module, name in needed if importlib.util.find_spec(module) is None})
    if missing:
        yield fail(
            "extras",
            f"the study needs {', '.join(missing)}, which is not installed.",
            f"`pip install '.[{','.join(missing)}]'` in tuner's folder.",
        )
    elif needed:
        yield ok("extras", f"{', '.join(sorted({name for _, name in needed}))} installed")


def _extras_of(place: str) -> Iterator[tuple[str, str]]:
    if place.lower().endswith(".parquet"):
        yield _PARQUET
    if is_url(place) and not is_web(place):
        yield _REMOTE


def check_data(
    config: StudyConfig,
    environment: Mapping[str, str],
    *,
    data_root: Path | None,
    known: str | None,
) -> Iterator[Finding]:
    """Let a trainer prepare the data, as it would for a worker.

    Args:
        config: The study.
        environment: The worker's.
        data_root: Folder in which relative data paths are looked up first.
        known: Fingerprint of the data that the study began with; None where it has not.

    Raises:
        DataError: The data cannot be fetched.
        TrainerDiedError: The trainer died over it.
    """
    begin = time.monotonic()
    answer = _prepare(config, environment, data_root=data_root)
    seconds = time.monotonic() - begin
    yield compare_data(answer, f"{config.data.source}, prepared in {seconds:.0f} s", known=known)


def compare_data(answer: Ready | Unusable, data: str, *, known: str | None) -> Finding:
    """Say whether a trainer found the data that the study began with.

    Args:
        answer: The trainer's.
        data: What it prepared, for people.
        known: Fingerprint of the data that the study began with; None where it has not.
    """
    if isinstance(answer, Unusable):
        return Finding(name="data", status="fail", text=answer.message)
    if known is None:
        return ok("data", f"{data}, fingerprint {answer.fingerprint}")
    if known == answer.fingerprint:
        return ok("data", f"{data}, the same that the study began with")
    return fail(
        "data",
        f"{data}, but it is not what the study began with: fingerprint {answer.fingerprint} "
        f"here, {known} in the study.",
        "Restore the file, or name another data root with TUNER_DATA.",
    )


def _prepare(
    config: StudyConfig, environment: Mapping[str, str], *, data_root: Path | None
) -> Ready | Unusable:
    prepare = Prepare(
        config=localized(config).to_json(),
        data_root=str(data_root) if data_root else None,
        threads=1,
    )
    wake, wakes = os.pipe()
    try:
        with TrainerProcess(GRU_OBJECTIVE, prepare, environment=environment, wake=wake) as trainer:
            while True:
                message = trainer.receive(60.0)
                if isinstance(message, Ready | Unusable):
                    return message
    finally:
        os.close(wake)
        os.close(wakes)


def check_versions(database: Database, study: StoredStudy) -> Iterator[Finding]:
    """Compare the packages here with those that the study began with."""
    others = other_versions(database, study, versions(), record=False)
    if not others:
        yield ok("versions", "as the study began, or it has not begun")
        return
    listed = ", ".join(f"{name} {was} -> {here}" for name, (was, here) in others.items())
    yield warn(
        "versions",
        f"the study began with others: {listed}. Values may differ between them.",
        "Install those, where values must compare to the last digit.",
    )


def check_refusal(database: Database, study: StoredStudy) -> Iterator[Finding]:
    """See whether standing workers of this machine have refused the study."""
    with database.transaction() as session:
        refused = read_refusals(session, study.study_id)
    here = [refusal for refusal in refused if refusal.host == socket.gethostname()]
    for refusal in here:
        yield warn(
            "refusals",
            f"a standing worker of this machine refused it {refusal.seconds_ago / 60:.0f} min ago: "
            f"{refusal.reason}",
            "It tries again by itself, some minutes later.",
        )
    if not here:
        yield ok("refusals", "no standing worker of this machine has refused it lately")


def fingerprint_of(database: Database | None, study: StoredStudy | None) -> str | None:
    """Read what data a study began with; None where it has not, or is not stored."""
    if database is None or study is None:
        return None
    return known_fingerprint(database, study)
