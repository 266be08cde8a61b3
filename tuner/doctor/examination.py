"""All checks in their order, from Python to the study."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tuner.bucket import Bucket
from tuner.config import StudyConfig
from tuner.doctor import folders, gpus, machine, software, study
from tuner.doctor.finding import Check, Finding, examine, unchecked
from tuner.doctor.probing import Probed, probe
from tuner.doctor.storage import StorageVisit
from tuner.gpus import Gpus, discover, seen_together
from tuner.host import cache_folder, this_process
from tuner.processor import usable_cores
from tuner.storage.inspection import machines
from tuner.worker.process import trainer_environment


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What is to be examined."""

    #: Of the process: workers would get it.
    environment: Mapping[str, str]
    #: URL of the storage.
    storage: str
    #: Where checkpoints go.
    artifacts: Path | Bucket
    #: Folder in which relative data paths are looked up first.
    data_root: Path | None
    #: Name of the study; None for none.
    study: str | None
    #: What its study file says; None where it was named without one.
    config: StudyConfig | None


class Examination:
    """Looks at a machine, its storage and a study.

    Args:
        patient: What to look at.
    """

    def __init__(self, patient: Patient) -> None:
        self._patient = patient
        self._storage = StorageVisit(patient.storage, patient.environment)
        self._study = study.StudyVisit(patient.study or "", patient.config)
        self._gpus = Gpus(found=(), why_none="")
        self._driver: gpus.Driver | None = None
        self._probed = Probed()

    def run(self) -> Iterator[Finding]:
        """Give each finding as soon as it is there."""
        with closing(self._storage):
            yield from examine(self._checks())

    def _checks(self) -> Iterator[tuple[str, Check]]:
        yield "Python", software.check_python
        yield "packages", software.check_packages
        yield "TensorFlow package", software.check_tensorflow_packages
        yield "GPUs", self._check_gpus
        yield "TensorFlow", self._check_tensorflow
        yield "TensorFlow's GPUs", self._check_tensorflow_gpus
        yield "cuDNN's GRU", lambda: gpus.check_gru(self._gpus, self._probed)
        yield "cores", machine.check_cores
        yield "memory", machine.check_memory
        yield "open files", machine.check_open_files
        yield "storage", self._storage.check
        yield "artifacts", lambda: folders.check_artifacts(self._patient.artifacts)
        yield "artifacts shared", self._check_shared
        yield "cache", lambda: folders.check_cache(cache_folder())
        if self._patient.study is not None:
            yield "study", lambda: self._study.check(self._storage.database, self._storage.why_none)
            yield "versions", self._check_versions
            yield "refusals", self._check_refusal
            yield "extras", self._check_extras
            yield "data", self._check_data

    def _check_gpus(self) -> Iterator[Finding]:
        self._gpus, everywhere = discover(self._patient.environment), discover({})
        self._driver = gpus.read_driver() if everywhere.found else None
        yield from gpus.check_gpus(self._gpus, everywhere, self._driver)

    def _check_tensorflow(self) -> Iterator[Finding]:
        visible = ",".join(gpu.uuid for gpu in seen_together(self._gpus.found))
        environment = trainer_environment(
            self._patient.environment, threads=usable_cores(), gpu=visible
        )
        self._probed = probe(environment)
        yield from software.check_tensorflow(self._probed)

    def _check_tensorflow_gpus(self) -> Iterator[Finding]:
        yield from gpus.check_tensorflow_gpus(self._gpus, self._probed, self._driver)

    def _check_shared(self) -> Iterator[Finding]:
        database = self._storage.database
        if database is None:
            yield unchecked("artifacts shared", self._storage.why_none)
        elif database.engine.dialect.name == "sqlite":
            yield unchecked("artifacts shared", "a SQLite file is for the workers of one machine")
        else:
            others = folders.other_machines(machines(database), this_process().machine)
            yield from folders.check_shared(self._patient.artifacts, others=others)

    def _check_versions(self) -> Iterator[Finding]:
        if self._storage.database is not None and self._study.stored is not None:
            yield from study.check_versions(self._storage.database, self._study.stored)

    def _check_refusal(self) -> Iterator[Finding]:
        if self._storage.database is not None and self._study.stored is not None:
            yield from study.check_refusal(self._storage.database, self._study.stored)

    def _check_extras(self) -> Iterator[Finding]:
        if self._study.config is not None:
            yield from study.check_extras(self._study.config)

    def _check_data(self) -> Iterator[Finding]:
        config = self._study.config
        if config is None:
            yield unchecked("data", "the study is not known")
        elif not self._probed.tensorflow:
            yield unchecked("data", "it takes TensorFlow to prepare it")
        else:
            known = study.fingerprint_of(self._storage.database, self._study.stored)
            patient = self._patient
            yield from study.check_data(
                config, patient.environment, data_root=patient.data_root, known=known
            )
