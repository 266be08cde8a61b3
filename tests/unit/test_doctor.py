"""What the doctor makes of what it sees, without a machine that is ill."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tuner.doctor.finding import Finding, examine, exit_code, ok, unchecked, warn
from tuner.doctor.folders import check_artifacts, check_cache, check_shared, other_machines
from tuner.doctor.gpus import (
    Driver,
    check_gpus,
    check_gru,
    check_tensorflow_gpus,
    read_driver,
    why_unseen,
)
from tuner.doctor.machine import check_memory
from tuner.doctor.mounts import Mount, mount_of
from tuner.doctor.probing import Probed, missing_libraries
from tuner.doctor.software import check_packages, check_tensorflow, check_tensorflow_packages
from tuner.doctor.storage import (
    check_clock,
    check_connections,
    check_encryption,
    check_file_system,
    check_rights,
)
from tuner.doctor.study import compare_data
from tuner.errors import InputError, StorageUnavailableError
from tuner.gpus import Gpu, Gpus
from tuner.storage.inspection import Rights, Server
from tuner.worker.memory import MemoryGroup
from tuner.worker.messages import Ready, Unusable

GIB = 2**30

# --- findings ------------------------------------------------------------------------------------


def away() -> Iterator[Finding]:
    yield ok("storage", "found before")
    raise StorageUnavailableError("no answer")


def strange() -> Iterator[Finding]:
    raise ZeroDivisionError("nobody thought of that")
    yield


def refused() -> Iterator[Finding]:
    raise InputError("wrong, do it right")
    yield


def test_a_check_that_raises_fails_and_does_not_hide_the_others() -> None:
    found = list(
        examine(
            [
                ("first", strange),
                ("storage", away),
                ("third", refused),
                ("last", lambda: [ok("last", "fine")]),
            ]
        )
    )

    assert [(finding.name, finding.status) for finding in found] == [
        ("first", "fail"),
        ("storage", "ok"),
        ("storage", "fail"),
        ("third", "fail"),
        ("last", "ok"),
    ]
    assert "ZeroDivisionError: nobody thought of that" in found[0].text
    assert "report it" in found[0].mend
    assert found[3].text == "wrong, do it right"


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ((), 0),
        ((lambda: [warn("a", "b", "c"), unchecked("d", "e")],), 0),
        ((away,), 3),
        ((away, refused), 2),
        ((strange,), 2),
    ],
)
def test_the_exit_code_tells_whether_something_failed_and_whether_only_the_storage_is_away(
    checks: tuple[Any, ...], code: int
) -> None:
    assert exit_code(list(examine(("check", check) for check in checks))) == code


# --- software ------------------------------------------------------------------------------------


def install(folder: Path, name: str, version: str) -> None:
    """Put a package's metadata where Python finds it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_two_packages_that_bring_tensorflow_are_one_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "tensorflow", "2.21.0")
    install(tmp_path, "tensorflow-cpu", "2.21.0")
    monkeypatch.syspath_prepend(str(tmp_path))

    (found,) = check_tensorflow_packages()

    assert found.status == "fail"
    assert "tensorflow 2.21.0 and tensorflow-cpu 2.21.0 are both installed" in found.text
    assert "pip uninstall -y tensorflow tensorflow-cpu" in found.mend


def test_a_package_outside_the_range_that_tuner_needs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "optuna", "4.2.1")
    monkeypatch.syspath_prepend(str(tmp_path))

    (found,) = check_packages()

    assert found.status == "fail"
    assert found.text == "optuna is 4.2.1, tuner needs >=5.0."


@pytest.mark.parametrize(
    ("probed", "words"),
    [
        (Probed(death="signal SIGSEGV"), "`import tensorflow` ended with signal SIGSEGV."),
        (
            Probed(death="exit code 1", words="ImportError: libfoo.so: cannot open"),
            "ended with exit code 1: ImportError: libfoo.so: cannot open.",
        ),
        (Probed(death="no answer in 180 s"), "ended with no answer in 180 s."),
    ],
)
def test_how_tensorflow_died_is_told(probed: Probed, words: str) -> None:
    (found,) = check_tensorflow(probed)

    assert found.status == "fail"
    assert words in found.text
    assert found.mend


def test_a_processor_that_lacks_instructions_is_named_as_the_reason() -> None:
    (found,) = check_tensorflow(Probed(death="signal SIGILL"))

    assert "AVX" in found.mend


# --- GPUs ----------------------------------------------------------------------------------------

H100 = Gpus(found=(Gpu(uuid="GPU-1", name="NVIDIA H100", memory_mb=81559),), why_none="")
NONE = Gpus(found=(), why_none="this machine has no NVIDIA driver")
DRIVER = Driver(version="550.54.15", cuda=(12, 4), generations={"GPU-1": (9, 0)})
BUILD = Probed(
    tensorflow="2.21.0",
    cuda="12.5.1",
    cudnn="9",
    built_for=("sm_60", "sm_70", "sm_80", "sm_89", "compute_90"),
    gpus=(),
)
#: What TensorFlow 2.21 wrote on a machine with a driver and without CUDA's libraries.
LOG = """\
I0000 00:00:1795471151.5 3844 dso_loader.cc:133] Successfully opened dynamic library libcuda.so.1
I0000 00:00:1795471151.6 3844 dso_loader.cc:144] Could not load dynamic library 'libcudart.so.12'; \
dlerror: libcudart.so.12: cannot open shared object file: No such file or directory; \
LD_LIBRARY_PATH: fake
I0000 00:00:1795471151.7 3844 dso_loader.cc:144] Could not load dynamic library \
'libcusolver.so.11'; dlerror: libnvJitLink.so.12: cannot open shared object file: No such file or \
directory
I0000 00:00:1795471151.8 3844 dso_loader.cc:144] Could not load dynamic library 'libcudart.so.12'; \
dlerror: libcudart.so.12: cannot open shared object file: No such file or directory
I0000 00:00:1795471151.9 3844 dso_loader.cc:144] Could not load dynamic library 'libcudnn.so.9'; \
dlerror: /opt/libcudnn.so.9: undefined symbol: cudnnMystery
"""


def changed(probed: Probed, **fields: Any) -> Probed:
    return Probed(**{**vars(probed), **fields})


def test_the_libraries_that_tensorflow_misses_are_read_from_its_log() -> None:
    assert missing_libraries(LOG) == ("libcudart.so.12", "libnvJitLink.so.12", "libcudnn.so.9")


@pytest.mark.parametrize(
    ("probed", "driver", "why", "mend"),
    [
        (changed(BUILD, cuda=None), DRIVER, "built without CUDA", r"\[gpu\]"),
        (
            BUILD,
            Driver(version="470.57.02", cuda=(11, 4), generations={"GPU-1": (7, 0)}),
            r"driver 470\.57\.02 is too old .* CUDA 11\.4 at most",
            "Update the NVIDIA driver",
        ),
        (
            changed(BUILD, missing=("libcuda.so.1",)),
            DRIVER,
            "libcuda.so.1",
            "NVIDIA_DRIVER_CAPABILITIES",
        ),
        (
            changed(BUILD, missing=("libcudart.so.12", "libcufft.so.11")),
            DRIVER,
            "libcudart.so.12, libcufft.so.11 cannot be loaded",
            r"\[gpu\]",
        ),
        (
            changed(BUILD, complaint="failed call to cuInit: CUDA_ERROR_UNKNOWN."),
            DRIVER,
            "failed call to cuInit: CUDA_ERROR_UNKNOWN$",
            "nvidia-smi",
        ),
        (BUILD, None, "it does not say why", "nvidia-smi"),
    ],
)
def test_why_tensorflow_sees_no_gpu_is_told_exactly(
    probed: Probed, driver: Driver | None, why: str, mend: str
) -> None:
    found = why_unseen(probed, driver, ())

    assert re.search(why, found[0])
    assert re.search(mend, found[1])


def test_libraries_that_pip_installed_where_nobody_looks_are_pointed_to(tmp_path: Path) -> None:
    (tmp_path / "libcusolver.so.11").touch()

    why, mend = why_unseen(changed(BUILD, missing=("libcusolver.so.11",)), DRIVER, (str(tmp_path),))

    assert "libcusolver.so.11 cannot be loaded, though pip installed it" in why
    assert f"LD_LIBRARY_PATH={tmp_path}" in mend


HIDDEN = Gpus(found=(), why_none="CUDA_VISIBLE_DEVICES=-1 hides every GPU")


@pytest.mark.parametrize(
    ("gpus", "everywhere", "status", "words"),
    [
        (H100, H100, "ok", "1: NVIDIA H100 (81559 MiB), driver 550.54.15 for CUDA 12.4"),
        (HIDDEN, H100, "warn", "1 here, but CUDA_VISIBLE_DEVICES=-1 hides every GPU"),
        (HIDDEN, NONE, "ok", "none: this machine has no NVIDIA driver"),
    ],
)
def test_gpus_that_a_setting_hides_are_told_apart_from_those_that_are_not_there(
    gpus: Gpus, everywhere: Gpus, status: str, words: str
) -> None:
    (found,) = check_gpus(gpus, everywhere, DRIVER)

    assert found.status == status
    assert words in found.text


@pytest.mark.parametrize(
    ("gpus", "probed", "statuses"),
    [
        (NONE, BUILD, ["unchecked"]),
        (H100, Probed(death="signal SIGSEGV"), ["unchecked"]),
        (H100, BUILD, ["fail"]),
        (H100, changed(BUILD, gpus=("NVIDIA H100",)), ["ok"]),
    ],
)
def test_what_tensorflow_sees_is_compared_with_what_is_there(
    gpus: Gpus, probed: Probed, statuses: list[str]
) -> None:
    found = check_tensorflow_gpus(gpus, probed, DRIVER)

    assert [finding.status for finding in found] == statuses


def test_instances_of_a_gpu_are_not_missed_where_a_process_can_see_one_only() -> None:
    slices = tuple(Gpu(uuid=f"MIG-{n}", name="NVIDIA H100", memory_mb=9856) for n in range(7))
    probed = changed(BUILD, gpus=("NVIDIA H100 MIG 1g.10gb",))

    (found,) = check_tensorflow_gpus(Gpus(found=slices, why_none=""), probed, DRIVER)

    assert found.status == "ok"
    assert "sees 1: NVIDIA H100 MIG 1g.10gb; 6 more" in found.text


@pytest.mark.parametrize(
    ("generation", "status", "words"),
    [((12, 0), "warn", "12.0, which is newer"), ((5, 2), "fail", "5.2, which is older")],
)
def test_a_gpu_generation_that_tensorflow_was_not_built_for_is_told(
    generation: tuple[int, int], status: str, words: str
) -> None:
    generations = {"GPU-1": (9, 0), "GPU-2": generation}
    driver = Driver(version="570", cuda=(12, 8), generations=generations)
    other = Gpu(uuid="GPU-2", name="another one", memory_mb=2048)
    both = Gpus(found=(*H100.found, other), why_none="")
    probed = changed(BUILD, gpus=("NVIDIA H100", "another one"))

    _, found = check_tensorflow_gpus(both, probed, driver)

    assert found.status == status
    assert "built for compute capability 6.0 to 9.0" in found.text
    assert words in found.text
    # What CUDA_VISIBLE_DEVICES hides, such as the screen's, is no matter.
    (alone,) = check_tensorflow_gpus(H100, changed(BUILD, gpus=("NVIDIA H100",)), driver)
    assert alone.status == "ok"


@pytest.mark.parametrize(
    ("gpus", "probed", "status"),
    [
        (NONE, BUILD, "unchecked"),
        (H100, BUILD, "unchecked"),
        (H100, changed(BUILD, gpus=("H100",), differences=(2e-6,)), "ok"),
        (H100, changed(BUILD, gpus=("H100",), differences=(0.2,)), "fail"),
        (H100, changed(BUILD, gpus=("H100",), death="signal SIGABRT", words="cuDNN"), "fail"),
    ],
)
def test_a_gru_of_cudnns_that_differs_from_the_generic_one_or_dies_fails(
    gpus: Gpus, probed: Probed, status: str
) -> None:
    (found,) = check_gru(gpus, probed)

    assert found.status == status


class Nvml:
    """Stands for NVIDIA's library, which is not where there is no driver."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers

    def nvmlInit(self) -> None:  # noqa: N802 - as NVIDIA calls it
        if not self.answers:
            raise self.NVMLError

    def __getattr__(self, name: str) -> Any:
        return {
            "nvmlShutdown": lambda: None,
            "nvmlSystemGetCudaDriverVersion_v2": lambda: 12080,
            "nvmlSystemGetDriverVersion": lambda: "570.86.10",
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
            "nvmlDeviceGetCudaComputeCapability": lambda handle: [(9, 0), (12, 0)][handle],
        }[name]


def test_the_driver_tells_its_version_its_cuda_and_the_generations_of_its_gpus() -> None:
    assert read_driver(Nvml()) == Driver(
        version="570.86.10", cuda=(12, 8), generations={"GPU-0": (9, 0), "GPU-1": (12, 0)}
    )
    assert read_driver(Nvml(answers=False)) is None


# --- memory --------------------------------------------------------------------------------------


def container(folder: Path, *, limit: int, ends_together: bool = False) -> MemoryGroup:
    """A container as the kernel shows it, version 2."""
    group = folder / "sys-fs-cgroup" / "pod"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text("1000\n")
    (group / "memory.oom.group").write_text(f"{int(ends_together)}\n")
    membership = folder / "membership"
    membership.write_text("0::/pod\n")
    return MemoryGroup(root=folder / "sys-fs-cgroup", membership=membership)


@pytest.mark.parametrize(
    ("limit", "cores", "status", "words"),
    [
        (GIB // 2, 4, "fail", "0.5 GB (a limit"),
        (3 * 10**9, 4, "warn", "1 worker 3.0 GB, 2 workers 1.5 GB each, 3 workers 1.0 GB each"),
        (4 * 10**9, 2, "ok", "1 worker 4.0 GB, 2 workers 2.0 GB each"),
    ],
)
def test_the_memory_of_a_container_is_shared_out_among_workers(
    tmp_path: Path, limit: int, cores: int, status: str, words: str
) -> None:
    (found,) = check_memory(container(tmp_path, limit=limit), cores=cores)

    assert found.status == status
    assert words in found.text


def test_a_container_that_ends_as_a_whole_when_memory_runs_out_is_told(tmp_path: Path) -> None:
    _, found = check_memory(container(tmp_path, limit=10**10, ends_together=True), cores=1)

    assert (found.name, found.status) == ("out of memory", "warn")


# --- folders -------------------------------------------------------------------------------------

MOUNTED = [
    Mount(point=Path("/"), kind="ext4"),
    Mount(point=Path("/home"), kind="nfs4"),
    Mount(point=Path("/home/ana/fast"), kind="xfs"),
    Mount(point=Path("/homes"), kind="btrfs"),
    Mount(point=Path("/scratch"), kind="ext4"),
    Mount(point=Path("/scratch"), kind="lustre"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/tuner.db", "ext4"),
        ("/home/ana/tuner.db", "nfs4"),
        ("/home/ana/fast/tuner.db", "xfs"),
        ("/homes/ana/tuner.db", "btrfs"),
        ("/scratch/tuner.db", "lustre"),
    ],
)
def test_a_path_is_on_the_innermost_mount_and_there_on_the_last(path: str, kind: str) -> None:
    for order in itertools.permutations(MOUNTED[:4]):
        mount = mount_of(Path(path), [*order, *MOUNTED[4:]])
        assert mount is not None
        assert mount.kind == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "ceph"])
def test_sqlite_on_a_network_file_system_fails(kind: str) -> None:
    found = check_file_system(Path("/data/tuner.db"), [Mount(point=Path("/data"), kind=kind)])

    assert found.status == "fail"
    assert f"is on {kind} (/data), a network file system: SQLite is not safe there" in found.text
    assert "Postgres" in found.mend


def test_sqlite_on_a_disk_of_this_machine_is_fine() -> None:
    assert check_file_system(Path("/var/tuner.db"), MOUNTED).status == "ok"
    assert check_file_system(Path("/var/tuner.db"), []).status == "unchecked"


def test_a_file_in_the_place_of_the_artifacts_folder_fails(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("not a folder")

    (found,) = check_artifacts(tmp_path / "artifacts" / "deeper")

    assert found.status == "fail"
    assert f"{tmp_path / 'artifacts'} is a file" in found.text
    assert "--artifacts" in found.mend


def test_a_folder_that_nobody_may_write_into_fails() -> None:
    (found,) = check_cache(Path("/proc/1/nothing"))

    assert found.status == "fail"
    assert "nothing can be written into" in found.text
    assert "TUNER_CACHE" in found.mend


def test_looking_at_a_folder_leaves_nothing_there(tmp_path: Path) -> None:
    (found,) = check_artifacts(tmp_path / "not" / "yet")

    assert found.status != "fail"
    assert "not there yet" in found.text
    assert list(tmp_path.iterdir()) == []


def test_other_machines_are_told_apart_from_other_containers_of_this_one() -> None:
    seen = {"a/boot-1/pid:1", "a-2/boot-1/pid:2", "b/boot-2/pid:1", "b-2/boot-2/pid:7"}

    assert other_machines(seen, "a/boot-1/pid:1") == ["b", "b-2"]


def test_a_local_artifacts_folder_is_a_drawback_once_other_machines_work(tmp_path: Path) -> None:
    (found,) = check_shared(tmp_path, others=["a", "b", "c", "d", "e"])

    assert found.status == "warn"
    assert "workers of a, b, c and 2 more use the database too" in found.text
    assert "begins anew" in found.text
    assert [finding.status for finding in check_shared(tmp_path, others=[])] == ["ok"]


# --- databases -----------------------------------------------------------------------------------


def server(**fields: Any) -> Server:
    rights = Rights(
        user="ana",
        has_tables=True,
        may_create=False,
        may_read=True,
        may_write=True,
        may_delete=False,
    )
    known: dict[str, Any] = {
        "version": "15.8",
        "rights": rights,
        "host": "db.example.com",
        "is_encrypted": True,
        "ssl_mode": "verify-full",
        "n_connections": 12,
        "max_connections": 97,
    }
    return Server(**{**known, **fields})


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "ok"),
        ({"ssl_mode": "require"}, "warn"),
        ({"ssl_mode": "prefer", "is_encrypted": False}, "warn"),
        ({"ssl_mode": "prefer", "is_encrypted": False, "host": "/run/postgresql"}, "ok"),
        ({"ssl_mode": "prefer", "is_encrypted": False, "host": "127.0.0.1"}, "ok"),
        ({"ssl_mode": "prefer", "is_encrypted": False, "host": "localhost"}, "ok"),
    ],
)
def test_a_server_elsewhere_has_to_prove_who_it_is(fields: dict[str, Any], status: str) -> None:
    found = check_encryption(server(**fields))

    assert found.status == status
    assert ("verify-full" in found.mend) == (status == "warn")


@pytest.mark.parametrize(("used", "status"), [(12, "ok"), (78, "warn")])
def test_a_server_that_is_almost_full_is_told(used: int, status: str) -> None:
    assert check_connections(server(n_connections=used)).status == status


@pytest.mark.parametrize(
    ("ahead", "status", "words"),
    [(0.4, "ok", "0.40 s"), (7.26, "warn", "7.3 s behind"), (-90.0, "warn", "90.0 s ahead of")],
)
def test_clocks_that_differ_by_seconds_are_told_with_what_they_harm(
    ahead: float, status: str, words: str
) -> None:
    found = check_clock(ahead)

    assert found.status == status
    assert words in found.text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"may_write": True, "may_delete": True}, "ok"),
        ({"may_write": True}, "ok"),
        ({}, "warn"),
        ({"may_read": False}, "fail"),
        ({"has_tables": False, "may_create": True}, "ok"),
        ({"has_tables": False}, "fail"),
    ],
)
def test_what_a_role_is_good_for_is_told(fields: dict[str, Any], status: str) -> None:
    known: dict[str, Any] = {
        "user": "ana",
        "has_tables": True,
        "may_create": False,
        "may_read": True,
        "may_write": False,
        "may_delete": False,
    }

    assert check_rights(Rights(**{**known, **fields})).status == status


# --- studies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "known", "status", "words"),
    [
        (Ready(fingerprint="f1", device="cpu", notes=()), None, "ok", "fingerprint f1"),
        (Ready(fingerprint="f1", device="cpu", notes=()), "f1", "ok", "the same"),
        (Ready(fingerprint="f1", device="cpu", notes=()), "f2", "fail", "f1 here, f2 in the study"),
        (Unusable(message="no such file"), "f1", "fail", "no such file"),
    ],
)
def test_data_is_compared_with_what_the_study_began_with(
    answer: Ready | Unusable, known: str | None, status: str, words: str
) -> None:
    found = compare_data(answer, "demo, prepared in 1 s", known=known)

    assert found.status == status
    assert words in found.text
