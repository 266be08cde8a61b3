"""A finished trial trained once more, beside the study, to see whether all comes out the same."""

import contextlib
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuner.data.download import localized
from tuner.errors import InputError, TrainerError
from tuner.gpus import Gpu
from tuner.host import versions
from tuner.metrics import STEPS_PER_EPOCH
from tuner.results import TrialDetails, show_trial
from tuner.storage import Database, StoredStudy, known_fingerprint
from tuner.worker.conversation import Conversation
from tuner.worker.messages import Failed, Finished, Prepare, Ready, Reported, Train, Unusable
from tuner.worker.process import TrainerDiedError, TrainerProcess

log = logging.getLogger(__name__)

#: Seconds without a step after which the trainer counts as hung.
HANG_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One report, then and now."""

    #: When, in quarters of an epoch.
    step: int
    #: What the trial reported; None where it did not.
    then: float | None
    #: What was reported now; None where nothing was.
    now: float | None

    @property
    def is_equal(self) -> bool:
        """Whether both are the same, bit for bit."""
        return _same(self.then, self.now)

    @property
    def difference(self) -> float | None:
        """By how much they differ; None where one is missing."""
        return None if self.then is None or self.now is None else self.now - self.then


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What came out of training a trial again."""

    #: The trial.
    trial: TrialDetails
    #: Every report.
    steps: tuple[Step, ...]
    #: The objective; None where there is none, or the trial was pruned.
    value: float | None
    #: Further objectives by name; empty where there are none, or no value.
    further: Mapping[str, float]
    #: Why there is no value now, in a few words; empty where there is, or should be none.
    failure: str
    #: How it failed then, likewise.
    failure_then: str
    #: What is another now than then, for people: data, device, versions.
    differences: tuple[str, ...]

    @property
    def value_then(self) -> float | None:
        """The objective then; None of a trial that is not complete."""
        return self.trial.row.value if self.trial.row.state == "complete" else None

    @property
    def is_equal(self) -> bool:
        """Whether all is as it was, bit for bit."""
        return (
            all(step.is_equal for step in self.steps)
            and _same(self.value_then, self.value)
            and all(_same(self.trial.row.further[name], v) for name, v in self.further.items())
            and self.failure == self.failure_then
        )


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    value: float | None
    failure: str
    further: Sequence[float] = ()


def reproduce(
    database: Database,
    study: StoredStudy,
    number: int,
    *,
    objective: str,
    threads: int,
    gpus: Sequence[Gpu] = (),
    data_root: Path | None,
    environment: Mapping[str, str],
) -> Reproduction:
    """Train a finished trial again, without touching its record.

    A pruned trial is trained until its last report. The trainer is one of its own, with the
    threads that the trial had and on a GPU of its model; no checkpoint is read or written.

    Args:
        database: Where the study is.
        study: The study.
        number: The trial's.
        objective: ``module:function`` that makes the objective.
        threads: For a trial that does not tell how many it had.
        gpus: What there is, for a trial of a GPU.
        data_root: Folder in which relative data paths are looked up first.
        environment: What the trainer's environment is chosen from.

    Raises:
        InputError: There is no such trial, it has not ended, it has no slot, or the study cannot
            be trained here.
        TrainerError: The trainer answered in a way that it never should.
    """
    trial = show_trial(database, study, number)
    _check(trial, study)
    prepare = Prepare(
        config=localized(study.config).to_json(),
        data_root=str(data_root) if data_root else None,
        threads=int(trial.attributes.get("threads", threads)),
        gpu=_gpu(trial, gpus),
    )
    confirms, slot = study.config.confirms, trial.row.slot
    order = Train(
        token=0,
        params=trial.row.params,
        micro_batches=trial.micro_batches,
        task=None if confirms is None or slot is None else asdict(confirms.task(slot)),
    )
    reports: dict[int, float] = {}
    with _trainer(objective, prepare, environment) as trainer:
        ready = _wait(trainer)
        outcome = _train(trainer, order, trial, reports)
    return Reproduction(
        trial=trial,
        steps=tuple(
            Step(step=step, then=trial.reports.get(step), now=reports.get(step))
            for step in sorted(trial.reports.keys() | reports.keys())
        ),
        value=outcome.value,
        further=dict(zip(study.config.objectives[1:], outcome.further, strict=False)),
        failure=outcome.failure,
        failure_then=_failure_then(trial),
        differences=_differences(trial, ready, known_fingerprint(database, study)),
    )


def _gpu(trial: TrialDetails, gpus: Sequence[Gpu]) -> str:
    """Choose one of the model that the trial had, else any; none for a trial of the processor."""
    device = trial.attributes.get("device", "cpu")
    if device == "cpu" or not gpus:
        return ""
    return next((gpu for gpu in gpus if gpu.name == device), gpus[0]).uuid


def _check(trial: TrialDetails, study: StoredStudy) -> None:
    row, name = trial.row, study.config.name
    if row.state in {"running", "waiting"}:
        raise InputError(
            f"Trial {row.number} of {name!r} has not ended, it is {row.state}. Wait for its end "
            f"(`tuner status {name}`), or choose one of `tuner trials {name}`."
        )
    if row.state == "pruned" and row.last_step is None and not _failure_then(trial):
        raise InputError(
            f"Trial {row.number} of {name!r} was pruned before its first report: there is nothing "
            f"to compare. Choose another one of `tuner trials {name}`."
        )
    if row.slot is None:
        why = "its slot was given to another trial" if row.superseded else "tuner did not run it"
        raise InputError(
            f"Trial {row.number} of {name!r} cannot be trained again: {why}, and nobody knows its "
            f"whole set of hyperparameters. Choose another one of `tuner trials {name}`."
        )


@contextlib.contextmanager
def _trainer(
    objective: str, prepare: Prepare, environment: Mapping[str, str]
) -> Iterator[TrainerProcess]:
    wake_reads, wake_writes = os.pipe()  # nobody wakes us
    try:
        with TrainerProcess(
            objective, prepare, environment=environment, wake=wake_reads
        ) as trainer:
            yield trainer
    finally:
        os.close(wake_reads)
        os.close(wake_writes)


def _wait(trainer: TrainerProcess) -> Ready:
    while (message := trainer.receive(60.0)) is None:
        pass
    if isinstance(message, Unusable):
        raise InputError(message.message)
    if not isinstance(message, Ready):
        raise TrainerError(f"The trainer said {message!r} before it was ready.")
    return message


def _train(
    trainer: TrainerProcess, order: Train, trial: TrialDetails, reports: dict[int, float]
) -> _Outcome:
    """Train, and put the reports into a dictionary."""
    ends_with = _last_step(trial)
    try:
        talk = Conversation(trainer, order, hang_seconds=HANG_SECONDS)
        while True:
            match talk.receive(60.0):
                case Reported(step=step, value=value):
                    reports[step] = value
                    log.info("epoch %g: %.6f", step / STEPS_PER_EPOCH, value)
                    if step == ends_with:
                        return _Outcome(value=None, failure="")
                case Finished(value=value, further=further):
                    return _Outcome(value=value, failure="", further=further)
                case Failed(reason=reason, infeasible=infeasible, failed_at=failed_at):
                    return _Outcome(value=None, failure=reason if infeasible else failed_at)
    except TrainerDiedError as error:
        return _Outcome(value=None, failure=f"trainer {error.how}")


def _last_step(trial: TrialDetails) -> int | None:
    """Give the report at which to stop; None for a training that goes to its own end."""
    is_stopped = trial.row.state == "pruned" and not _failure_then(trial)
    return trial.row.last_step if is_stopped else None


def _failure_then(trial: TrialDetails) -> str:
    """Say how a trial failed: by an exception, or so that the sampler was to learn from it."""
    facts: Mapping[str, Any] = trial.attributes
    if trial.row.state == "failed":
        return str(facts.get("failed_at", "ended from outside"))
    reason = str(facts.get("reason", "")).partition(":")[0]
    return "" if trial.row.state == "complete" or reason in {"", "pruned", "time"} else reason


def _differences(trial: TrialDetails, ready: Ready, fingerprint: str | None) -> tuple[str, ...]:
    """Say what is not as it was, of all that a value depends on."""
    found: list[str] = []
    then = dict(trial.attributes)
    if ready.fingerprint and fingerprint and ready.fingerprint != fingerprint:
        found.append(f"data: fingerprint {fingerprint} -> {ready.fingerprint}")
    if "device" in then and then["device"] != ready.device:
        found.append(f"device: {then['device']} -> {ready.device}")
    if "threads" not in then:
        found.append("threads: the trial does not tell how many it had")
    recorded = str(then.get("versions", ""))
    were = dict(words.rsplit(" ", 1) for words in recorded.split(", ") if " " in words)
    here = versions()
    found += [
        f"{name}: {were.get(name, 'none')} -> {here.get(name, 'none')}"
        for name in sorted(were.keys() | here.keys())
        if were.get(name) != here.get(name)
    ]
    return tuple(found)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))
