"""A Ray cluster whose nodes are process trees of this machine, with GPUs that are not there."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

#: Times that a node is started: Ray gives it 30 s, too few where other tests keep a machine busy.
N_STARTS = 3
#: What a node says once it belongs to the cluster.
_STARTED = "Ray runtime started."
#: Ray notices within two seconds that a node is lost, where it would take its time, and starts no
#: processes before there is something to do.
_QUICK = {
    "enable_worker_prestart": False,
    "prestart_worker_first_driver": False,
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 4,
}
#: Asks a cluster how many of its nodes live.
_COUNT_NODES = (
    "import ray; ray.init({!r}, log_to_driver=False); "
    "print('alive:', sum(node['Alive'] for node in ray.nodes()))"
)


class RayCluster:
    """Nodes as `ray start` makes them.

    Args:
        folder: For Ray's files; its name is short, for sockets are in it.
        environment: What the nodes see.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        #: What lets a driver in.
        self.environment = {**environment, **token}
        self._folder = folder
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start_head(self, *, n_gpus: int) -> None:
        """Start the node that the cluster cannot be without."""
        port = self.address.rpartition(":")[2]
        self._start(
            *("--head", f"--port={port}", "--include-dashboard=false", *_resources(n_gpus)),
            *(f"--temp-dir={self._folder / 'ray'}", f"--system-config={json.dumps(_QUICK)}"),
        )

    def add_node(self, *, n_gpus: int) -> subprocess.Popen[bytes]:
        """Start another node."""
        return self._start(f"--address={self.address}", *_resources(n_gpus))

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        for _ in range(N_STARTS):
            node, said = self._try(*words)
            if _STARTED in said:
                self._nodes.append(node)
                return node
        raise AssertionError(said)

    def _try(self, *words: str) -> tuple[subprocess.Popen[bytes], str]:
        """Start a node, and wait until it belongs to the cluster or has given up."""
        common = ("--object-store-memory=80000000", "--block")
        path = self._folder / "log"
        with path.open("wb") as log:
            node = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", *words, *common],
                stdout=log,
                stderr=log,
                env={**self.environment, "RAY_USAGE_STATS_ENABLED": "0"},
            )
        while _STARTED not in (said := path.read_text()) and node.poll() is None:
            time.sleep(0.1)
        return node, said

    def n_alive(self) -> int:
        """Count the nodes that the cluster takes for alive: it notices late that one is lost."""
        asked = subprocess.run(
            [sys.executable, "-c", _COUNT_NODES.format(self.address)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        said = next(line for line in asked.stdout.splitlines() if line.startswith("alive:"))
        return int(said.removeprefix("alive:"))

    def stop(self) -> None:
        """End all nodes."""
        for node in reversed(self._nodes):
            node.send_signal(signal.SIGTERM)
        for node in reversed(self._nodes):
            with suppress(subprocess.TimeoutExpired):
                node.wait(10)
        kill_nodes(*self._nodes)


def _resources(n_gpus: int) -> tuple[str, str]:
    return (f"--num-gpus={n_gpus}", f"--num-cpus={n_gpus}")


def raylet(node: subprocess.Popen[bytes]) -> int:
    """Give the pid of a node's raylet, by which its tasks tell where they are."""
    children = psutil.Process(node.pid).children(recursive=True)
    (found,) = [child.pid for child in children if child.name() == "raylet"]
    return found


def kill_nodes(*nodes: subprocess.Popen[bytes]) -> None:
    """Kill all processes of nodes at once, as when machines lose their power."""
    processes = []
    for node in nodes:
        if node.poll() is not None:
            continue
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(node.pid)
            processes += [root, *root.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for node in nodes:
        node.wait()


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Give a cluster without nodes, and end what was added to it."""
    hidden = ("CUDA_VISIBLE_DEVICES", "RAY_")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "TUNER_CACHE" or not name.startswith(hidden)
    }
    with tempfile.TemporaryDirectory(prefix="tuner-ray-", dir="/tmp") as name:
        cluster = RayCluster(Path(name), environment)
        try:
            yield cluster
        finally:
            cluster.stop()
