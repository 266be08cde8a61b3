"""Workers on a Ray cluster: a GPU for each, whatever dies, and an end for all of them."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import sqlalchemy
from click.testing import CliRunner

from tests.acceptance.chaos.checks import check_study
from tests.acceptance.chaos.rows import read_rows
from tests.commands import TINY, command, settings
from tests.conftest import Databases
from tests.ray_cluster import kill_nodes, ray_cluster, raylet
from tests.workers import make_worker
from tuner.cli import main
from tuner.errors import InputError
from tuner.launch.arrangement import Node, arrange
from tuner.results import progress
from tuner.storage import Database, find_study

NAME = "on-ray"
N_TRIALS = 6
SETTINGS = settings(
    "space.units=2",
    f"name={NAME}",
    f"budget.trials={N_TRIALS}",
    "budget.epochs=10000",  # no trial ends before it is told to
    "pruner.name=none",
)


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def url(postgres_databases: Databases, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh database; a password goes to where every process finds it."""
    own = sqlalchemy.make_url(postgres_databases.empty())
    if own.password is not None:
        monkeypatch.setenv("PGPASSWORD", str(own.password))
    # Without any password: `set` would leave it as it is.
    parts = (own.drivername, own.username, None, own.host, own.port, own.database, own.query)
    return sqlalchemy.URL.create(*parts).render_as_string(hide_password=False)


def workers() -> dict[tuple[str, str], list[psutil.Process]]:
    """Find the workers of the study, by node (its raylet's pid) and GPU."""
    found: dict[tuple[str, str], list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline()[1:6] == ["-P", "-m", "tuner", "work", NAME]:
                sees = process.environ()
                place = (sees["RAY_RAYLET_PID"], sees["CUDA_VISIBLE_DEVICES"])
                found.setdefault(place, []).append(process)
    return found


def places_with_one() -> dict[tuple[str, str], psutil.Process]:
    """The same once each is alone: one whose task in Ray died hands its trial back first."""
    found = workers()
    is_settled = all(len(there) == 1 for there in found.values())
    return {place: there[0] for place, there in found.items()} if is_settled else {}


def holders(url: str) -> set[int]:
    """Pids of the workers that hold trials of the study."""
    with suppress(InputError), Database.open(url) as database:
        running = progress(database, find_study(database, NAME)).running
        return {int(row.worker.rpartition(":")[2]) for row in running if row.worker}
    return set()


@contextmanager
def run(study_file: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the study on Ray."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "CUDA_"))
    }
    with subprocess.Popen(
        command("run", study_file, *SETTINGS, "--on", "ray", *words),
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def wait_until(condition: Callable[[], object], running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline, "it did not happen within two minutes"
        time.sleep(0.25)


@pytest.mark.slow
def test_workers_get_a_gpu_each_outlive_what_dies_and_hand_back_on_ctrl_c(
    url: str, study_file: Path, tmp_path: Path
) -> None:
    with ray_cluster() as cluster:
        cluster.start_head(n_gpus=1)
        lost = cluster.add_node(n_gpus=1)
        others = [cluster.add_node(n_gpus=2)]
        words = ("--address", cluster.address, "--artifacts", str(tmp_path / "artifacts"))
        environment = cluster.environment | {"TUNER_STORAGE": url}

        with run(study_file, *words, **environment) as running:
            wait_until(lambda: len(places_with_one()) == 4, running)
            others.append(cluster.add_node(n_gpus=1))  # too late for a worker of its own
            wait_until(lambda: len(holders(url)) == 4, running)
            before = places_with_one()
            assert sorted(Counter(node for node, _ in before).values()) == [1, 1, 2]
            there = str(raylet(lost))
            killed, orphaned, untouched = (w for (node, _), w in before.items() if node != there)

            kill_nodes(lost)
            killed.kill()
            psutil.Process(orphaned.ppid()).kill()  # the task of Ray's that looks after it
            gone = {killed.pid, orphaned.pid, before[there, "0"].pid}
            wait_until(lambda: len(places_with_one()) == 4 and not gone & holders(url), running)

            after = places_with_one()
            assert untouched in after.values()
            assert not gone & {worker.pid for worker in after.values()}
            assert before.keys() - after.keys() == {(there, "0")}  # one found another machine
            running.send_signal(signal.SIGINT)
            _, talk = running.communicate(timeout=60)
            assert running.returncode == 130, talk
            assert "handed back" in talk
            assert "Traceback" not in talk
            assert not workers()
            assert not holders(url)

        # A worker elsewhere does most of the rest; one trial more is for the node that is left,
        # where time ends it.
        with Database.open(url) as database:
            make_worker(database, find_study(database, NAME), "telling_its_process").run()
        kill_nodes(*others)
        while cluster.n_alive() > 1:
            time.sleep(0.1)
        changes = settings(f"budget.trials={N_TRIALS + 1}", "budget.trial_minutes=0.1")
        more = (*changes, "--workers", "2")
        with run(study_file, *words, *more, **environment) as running:
            out, talk = running.communicate(timeout=120)
        assert running.returncode == 0, talk
        assert "waiting for room: 1" in talk  # and it does not hold up the end
        assert f"Best of '{NAME}': trial" in out
        assert not workers()
        with Database.open(url) as database:
            rows = read_rows(database.engine, find_study(database, NAME).study_id)
        checks = check_study(NAME, rows, N_TRIALS + 1)
        assert [check for check in checks if not check.passed] == []


def test_what_a_worker_cannot_do_ends_the_run_on_a_cluster_of_this_machine_alone(
    url: str, study_file: Path
) -> None:
    environment = {"TUNER_STORAGE": url, "CUDA_VISIBLE_DEVICES": "-1"}
    with run(study_file, "--require-gpu", "--workers", "auto", **environment) as running:
        _, talk = running.communicate(timeout=120)

    assert running.returncode == 2, talk
    assert "each with 0 GPU and 1 thread" in talk
    assert "--require-gpu was given, but" in talk
    assert "Traceback" not in talk


@pytest.mark.parametrize(
    ("nodes", "n_workers", "gpus", "arrangement"),
    [
        # One a GPU; all get as many threads as the tightest node has for each.
        ([(8, 1), (8, 1), (8, 2)], None, None, (4, 4, 1.0, 4)),
        # A node for nothing else than the cluster itself gets none.
        ([(0, 0), (4, 0), (4, 0)], None, None, (2, 2, 0.0, 4)),
        ([(4, 0), (4, 0)], 4, None, (4, 4, 0.0, 2)),
        ([(8, 1), (8, 1)], None, 0.25, (8, 8, 0.25, 2)),
        ([(8, 1), (8, 1)], 3, 1 / 3, (3, 3, 1 / 3, 4)),
        ([(8, 1), (8, 1)], 2, 0.0, (2, 2, 0.0, 8)),
        # Fewer cores than parts of a GPU: what there is of both decides.
        ([(2, 1)], None, 0.1, (2, 2, 0.1, 1)),
        # More than find room: the rest waits.
        ([(8, 1), (8, 1)], 5, None, (5, 2, 1.0, 8)),
        # No GPU yet, as where machines are switched on when they are asked for.
        ([(4, 0)], 2, 1.0, (2, 0, 1.0, 4)),
    ],
)
def test_a_cluster_is_shared_out(
    nodes: list[tuple[int, int]],
    n_workers: int | None,
    gpus: float | None,
    arrangement: tuple[int, int, float, int],
) -> None:
    there = [Node(cpus=cpus, gpus=n_gpus, memory=0) for cpus, n_gpus in nodes]

    made = arrange(there, n_workers=n_workers, gpus_per_worker=gpus)

    assert (made.n_workers, made.n_placed, made.gpus, made.threads) == arrangement


@pytest.mark.parametrize(
    ("nodes", "n_open", "arrangement"),
    [
        # One with one thread on each core that has memory.
        ([(4, 0, 8.0), (2, 0, 8.0)], 60, (6, 6, 0.0, 1)),
        ([(4, 0, 8.0), (8, 0, 5.5)], 60, (7, 7, 0.0, 1)),
        ([(0, 0, 8.0), (4, 0, 8.0)], 3, (3, 3, 0.0, 1)),
        ([(4, 0, 8.0)], 1, (1, 1, 0.0, 1)),
        # Where there are GPUs, these say how many.
        ([(8, 1, 0.5), (8, 1, 0.5)], 60, (2, 2, 1.0, 8)),
        ([(8, 1, 0.5), (8, 1, 0.5)], 1, (1, 1, 1.0, 8)),
    ],
)
def test_auto_fills_a_cluster_without_gpus_core_by_core(
    nodes: list[tuple[int, int, float]],
    n_open: int,
    arrangement: tuple[int, int, float, int],
) -> None:
    there = [Node(cpus=cpus, gpus=gpus, memory=int(gb * 1e9)) for cpus, gpus, gb in nodes]

    made = arrange(there, n_workers="auto", gpus_per_worker=None, n_open=n_open)

    assert (made.n_workers, made.n_placed, made.gpus, made.threads) == arrangement


def test_auto_finds_no_worker_where_no_machine_has_memory_for_one() -> None:
    with pytest.raises(InputError, match=r"a core and 1\.5 GB of memory"):
        arrange([Node(cpus=8, gpus=0, memory=10**8)], n_workers="auto", gpus_per_worker=None)


def test_a_cluster_without_room_for_a_worker_needs_to_be_told_how_many() -> None:
    with pytest.raises(InputError, match="--workers N"):
        arrange([Node(cpus=8, gpus=0, memory=0)], n_workers=None, gpus_per_worker=0.5)


@pytest.mark.parametrize(
    ("words", "storage", "message"),
    [
        (["--on", "ray"], "sqlite:///{folder}/tuner.db", "other machines cannot see"),
        (["--on", "ray"], "postgresql://tuner:s3cret@localhost:1/tuner", "?password_file=FILE"),
        (["--on", "ray", "--per-gpu", "4"], None, "--gpus-per-worker 0.25"),
        (["--on", "ray", "--require-gpu", "--gpus-per-worker", "0"], None, "contradict"),
        (["--address", "auto"], None, "--address auto counts with --on ray only"),
        (["--gpus-per-worker", "0.5"], None, "--gpus-per-worker 0.5 counts with --on ray only"),
        (["--on", "ray", "--gpus-per-worker", "2"], None, "0<=x<=1"),
    ],
)
def test_what_does_not_fit_ray_is_refused_before_anything_is_stored(
    words: list[str], storage: str | None, message: str, study_file: Path
) -> None:
    url = (storage or "postgresql://tuner@localhost:1/tuner").format(folder=study_file.parent)

    done = CliRunner(env={"TUNER_STORAGE": url}).invoke(main, ["run", str(study_file), *words])

    assert done.exit_code == 2, done.stderr
    assert message in done.stderr
    assert "s3cret" not in done.stderr
    assert not (study_file.parent / "tuner.db").exists()


def test_ray_is_asked_for_where_it_is_missing(
    study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    url = "postgresql://tuner@localhost:1/tuner"

    done = CliRunner(env={"TUNER_STORAGE": url}).invoke(
        main, ["run", str(study_file), "--on", "ray"]
    )

    assert done.exit_code == 2
    assert "pip install '.[ray]'" in done.stderr
