"""The doctor on real machines: well ones, and ones that were made ill."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from tests import postgres
from tests.conftest import StudyMaker
from tuner.doctor.finding import Finding
from tuner.doctor.probe import gru_difference
from tuner.doctor.probing import probe
from tuner.doctor.storage import StorageVisit
from tuner.doctor.study import StudyVisit, check_extras, check_refusal, check_versions
from tuner.gpus import discover
from tuner.host import this_process
from tuner.places import cuda_libraries
from tuner.storage import Database, create_study, end_study, other_versions
from tuner.storage.openings import read_openings
from tuner.storage.refusals import refuse
from tuner.study_file import load_study_file
from tuner.worker.process import trainer_environment

TINY = """
name   = "tiny"
metric = "val_accuracy"

[data]
source   = "demo"
examples = 60

[budget]
trials = 2
epochs = 1

[space]
units = [4, 8]
"""


def doctor(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNER_")}
    kept |= {"XDG_CACHE_HOME": str(cwd / "cache"), **environment}
    return subprocess.run(
        [sys.executable, "-m", "tuner", "doctor", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=kept,
        timeout=240,
    )


def by_name(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {finding["check"]: finding for finding in found}


def statuses(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.name: finding.status for finding in findings}


# --- the whole of it -----------------------------------------------------------------------------


def test_a_fresh_machine_is_fine_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)

    done = doctor("tiny.toml", "--format", "json", cwd=tmp_path)

    found = by_name(done)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no database yet" in found["storage"]["found"]
    assert found["TensorFlow"]["found"].startswith("2.")
    assert "fingerprint" in found["data"]["found"]
    # Prepared data is kept, as a worker does.
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.toml", "cache"}


def test_where_only_the_storage_is_away_the_exit_code_is_3_and_no_password_is_shown(
    tmp_path: Path,
) -> None:
    url = "postgresql://tuner:hush@127.0.0.1:1/tuner"

    done = doctor("tiny", "--format", "json", cwd=tmp_path, TUNER_STORAGE=url)

    found = by_name(done)
    assert done.returncode == 3, done.stdout + done.stderr
    assert found["storage"]["status"] == "fail"
    assert found["password"]["status"] == "warn"
    assert "password_file" in found["password"]["mend"]
    assert found["study"]["status"] == found["data"]["status"] == "unchecked"
    assert "hush" not in done.stdout + done.stderr


def broken_tensorflow(folder: Path, source: str) -> str:
    """A folder for PYTHONPATH whose TensorFlow comes first."""
    (folder / "tensorflow").mkdir()
    (folder / "tensorflow" / "__init__.py").write_text(source)
    return str(folder)


SEGFAULT = "import ctypes\nctypes.string_at(0)\n"


def test_a_tensorflow_that_crashes_is_told_and_does_not_end_the_doctor(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("not a folder")

    done = doctor(
        "--artifacts",
        "artifacts",
        cwd=tmp_path,
        PYTHONPATH=broken_tensorflow(tmp_path, SEGFAULT),
    )

    lines = {line[6:26].strip(): line for line in done.stdout.splitlines()}
    assert done.returncode == 2, done.stdout + done.stderr
    assert lines["TensorFlow"].startswith("FAIL")
    assert "ended with signal SIGSEGV" in lines["TensorFlow"]
    assert lines["artifacts"].startswith("FAIL")
    assert "artifacts is a file. Move it away" in lines["artifacts"]
    assert lines["storage"].startswith("ok")
    assert "2 failed" in done.stderr


# --- TensorFlow ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "death", "words"),
    [
        (SEGFAULT, "signal SIGSEGV", ""),
        ("raise ImportError('libfoo.so: no such file')", "exit code 1", "libfoo.so: no such file"),
        ("import time\ntime.sleep(600)", "no answer in 1 s", ""),
    ],
)
def test_whatever_importing_tensorflow_does_is_survived_and_told(
    tmp_path: Path, source: str, death: str, words: str
) -> None:
    path = broken_tensorflow(tmp_path, source)
    environment = trainer_environment({**os.environ, "PYTHONPATH": path}, threads=1)

    probed = probe(environment, timeout=1.0 if "sleep" in source else 60.0)

    assert probed.death == death
    assert words in probed.words
    assert not probed.tensorflow
    assert not [child for child in psutil.Process().children() if is_probe(child)]


def is_probe(process: psutil.Process) -> bool:
    return "tuner.doctor.probe" in process.cmdline()


#: A driver as far as NVIDIA's library and TensorFlow ask before they load CUDA's libraries.
DRIVER = """
#include <stdio.h>
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *v, unsigned n) { strncpy(v, "550.54.15", n); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { *v = 12040; return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)1; return 0; }
int nvmlDeviceGetName(void *h, char *v, unsigned n) { strncpy(v, "NVIDIA Sham", n); return 0; }
int nvmlDeviceGetUUID(void *h, char *v, unsigned n) { strncpy(v, "GPU-5ha", n); return 0; }
int nvmlDeviceGetCudaComputeCapability(void *h, int *a, int *b) { *a = 9; *b = 0; return 0; }
int nvmlDeviceGetMemoryInfo(void *h, unsigned long long *m) { m[0] = 1ull << 34; return 0; }
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *v, int n, int d) { strncpy(v, "NVIDIA Sham", n); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 9 : a == 76 ? 0 : 1; return 0; }
int cuDevicePrimaryCtxGetState(int d, unsigned *f, int *a) { *f = 0; *a = 0; return 0; }
int cuGetErrorName(int e, const char **s) { *s = "sham"; return 0; }
int cuGetErrorString(int e, const char **s) { *s = "sham"; return 0; }
"""


@pytest.fixture
def sham_driver(tmp_path: Path) -> Path:
    """A folder with a driver that shows a GPU, for the loader."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a driver with")
    if discover({}).found or cuda_libraries(sys.path):
        pytest.skip("a machine with CUDA has nothing to miss")
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "driver.c").write_text(DRIVER)
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-o", folder / name, folder / "driver.c"], check=True
        )
    return folder


def test_where_tensorflow_sees_no_gpu_the_missing_libraries_are_named(
    tmp_path: Path, sham_driver: Path
) -> None:
    kept = {"CUDA_VISIBLE_DEVICES": "0", "LD_LIBRARY_PATH": str(sham_driver)}

    done = doctor("--format", "json", cwd=tmp_path, **kept)

    found = by_name(done)
    assert done.returncode == 2
    assert found["GPUs"]["found"] == ("1: NVIDIA Sham (16384 MiB), driver 550.54.15 for CUDA 12.4")
    unseen = found["TensorFlow's GPUs"]
    assert unseen["found"].startswith("it sees 0 of 1: ")
    assert {"libcudart.so.12", "libcudnn.so.9", "libcusolver.so.11"} <= set(
        unseen["found"].removeprefix("it sees 0 of 1: ").split(" cannot")[0].split(", ")
    )
    assert ".[gpu]" in unseen["mend"]


def test_the_two_ways_to_compute_a_gru_are_compared_by_outputs_and_gradients() -> None:
    assert gru_difference("/CPU:0", use_cudnn=False) < 1e-6


# --- storage -------------------------------------------------------------------------------------


def test_an_empty_database_of_each_kind_is_fine(empty_url: str) -> None:
    visit = StorageVisit(empty_url, {})

    found = statuses(visit.check())

    assert set(found.values()) == {"ok"}
    assert visit.database is None


def test_a_database_of_each_kind_with_our_tables_is_opened(storage_url: str) -> None:
    visit = StorageVisit(storage_url, {})

    found = statuses(visit.check())
    visit.close()

    assert found["tables"] == "ok"
    assert visit.database is not None


def test_tables_of_another_version_fail_with_the_way_out(storage_url: str) -> None:
    with Database.open(storage_url) as database, database.transaction() as session:
        session.execute(text("UPDATE tuner_schema SET version = 3"))
    visit = StorageVisit(storage_url, {})

    found = {finding.name: finding for finding in visit.check()}

    assert found["tables"].status == "fail"
    assert "tuner upgrade" in found["tables"].text
    assert visit.database is None


def test_what_each_role_of_a_server_is_good_for_is_seen() -> None:
    try:
        with postgres.own_server() as running:
            administrator = postgres.Administrator(running.url)
            Database.open(running.url, create=True).close()
            administrator.run(
                "CREATE ROLE ana LOGIN IN ROLE tuner_reader",
                "CREATE ROLE w1 LOGIN IN ROLE tuner_worker",
                "CREATE ROLE eve LOGIN",
            )
            seen = {}
            for user in ("tuner", "w1", "ana", "eve"):
                visit = StorageVisit(administrator.seen_by(user), {})
                seen[user] = {finding.name: finding for finding in visit.check()}
                visit.close()
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test Postgres")
        pytest.skip(f"{error}: install Postgres")

    assert {user: found["role"].status for user, found in seen.items()} == {
        "tuner": "ok",
        "w1": "ok",
        "ana": "warn",
        "eve": "fail",
    }
    assert "delete studies too" in seen["tuner"]["role"].text
    assert "delete studies" not in seen["w1"]["role"].text
    assert "tuner_worker" in seen["ana"]["role"].mend
    assert "tables" not in seen["eve"]


def test_a_storage_that_is_no_database_fails(tmp_path: Path) -> None:
    done = doctor_without_tensorflow(tmp_path, TUNER_STORAGE="mysql://somewhere/tuner")

    assert "expected sqlite:///FILE or postgresql://" in by_name(done)["storage"]["found"]
    assert done.returncode == 2


def doctor_without_tensorflow(
    folder: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The whole doctor, quickly: TensorFlow ends at once."""
    path = broken_tensorflow(folder, "raise SystemExit(7)")
    return doctor("--format", "json", *words, cwd=folder, PYTHONPATH=path, **environment)


# --- a study -------------------------------------------------------------------------------------


def test_a_study_that_is_not_as_it_began_is_told(database: Database, toy: StudyMaker) -> None:
    stored = create_study(database, toy()).study
    other_versions(database, stored, {"keras": "1.0", "python": "2.7"})
    (opening,) = read_openings(database, this_process())
    refuse(database, opening, host=socket.gethostname(), reason="No reviews.csv here.")
    refuse(database, opening, host="elsewhere", reason="Nor here.")
    end_study(database, stored, reason="stopped", message="`tuner stop` ended it.")

    found = {
        **{finding.name: finding for finding in StudyVisit("toy", None).check(database, "")},
        **{finding.name: finding for finding in check_versions(database, stored)},
        **{finding.name: finding for finding in check_refusal(database, stored)},
    }

    assert found["study"].status == "warn"
    assert "`tuner stop` ended it." in found["study"].text
    assert found["versions"].status == "warn"
    assert "keras 1.0 -> " in found["versions"].text
    assert found["refusals"].status == "warn"
    assert found["refusals"].text.endswith("refused it 0 min ago: No reviews.csv here.")


def test_looking_at_a_study_that_has_not_begun_records_nothing(
    database: Database, toy: StudyMaker
) -> None:
    stored = create_study(database, toy()).study

    found = statuses(check_versions(database, stored))

    assert found == {"versions": "ok"}
    assert other_versions(database, stored, {"keras": "1.0"}) == {}


def test_a_study_that_is_not_there_fails_and_one_with_a_file_is_not_stored_yet(
    database: Database, toy: StudyMaker
) -> None:
    (missing,) = StudyVisit("toyy", None).check(database, "")
    (unstored,) = StudyVisit("toy", toy()).check(database, "")

    assert missing.status == "fail"
    assert "There is no study 'toyy'" in missing.text
    assert unstored.status == "ok"
    assert "not stored yet" in unstored.text


def test_a_package_that_only_this_data_needs_is_named(
    toy_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = load_study_file(toy_file, ["data.source=reviews.parquet"])
    assert statuses(check_extras(config)) == {"extras": "ok"}

    hidden: Any = None
    monkeypatch.setitem(sys.modules, "pyarrow", hidden)

    (found,) = check_extras(config)
    assert found.status == "fail"
    assert ".[parquet]" in found.mend
