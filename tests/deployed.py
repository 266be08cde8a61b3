"""What the files say that run tuner elsewhere."""

import functools
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE = ROOT / "docker-compose.yml"
GPU = DEPLOY / "compose.gpu.yml"
KUBERNETES = DEPLOY / "kubernetes" / "tuner.yaml"
SLURM = DEPLOY / "slurm" / "tuner.sbatch"
#: Exit code of bad input, which no restart mends.
HOPELESS = 2


def checked_by(tool: str, *words: str | Path) -> None:
    """Run a checker that lies beside our Python."""
    path = shutil.which(tool, path=sysconfig.get_path("scripts"))
    assert path is not None, f"{tool} is not installed"
    done = subprocess.run([path, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def filled_in(value: Any) -> Any:
    """Put defaults into the places of ``${NAME:-default}``."""
    if isinstance(value, dict):
        return {name: filled_in(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled_in(inner) for inner in value]
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) if isinstance(value, str) else value


@functools.cache
def compose(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = filled_in(yaml.safe_load(path.read_text()))
    return loaded


@functools.cache
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose(COMPOSE)["services"]
    return found


@functools.cache
def resources() -> dict[tuple[str, str], dict[str, Any]]:
    """All of the Kubernetes file, by kind and name."""
    loaded = yaml.safe_load_all(KUBERNETES.read_text())
    return {(one["kind"], one["metadata"]["name"]): one for one in loaded}


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for (_kind, name), one in resources().items():
        if "template" in one.get("spec", {}):
            yield name, one["spec"]["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods():
        (container,) = pod["containers"]
        yield name, container
