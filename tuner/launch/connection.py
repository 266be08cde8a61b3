"""Ray as we want it: quiet, with a token, and telling nobody that it runs."""

import importlib.util
import logging
import os
import secrets
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tuner.errors import InputError
from tuner.gpus import discover
from tuner.processor import usable_cores

#: Bytes of memory for Ray's store of a local cluster, nearly its least: nothing is put there.
_STORE_BYTES = 100 * 2**20
#: What keeps Ray from sending statistics home, from taking `uv run` as a wish to upload the
#: current folder, and from a warning about tasks without GPUs, for which we decide.
_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def load_ray(address: str) -> Any:
    """Import Ray, set up as we want it.

    Whoever reaches a cluster without a token can run anything on it. A new one gets a token of its
    own, which ends with it; Ray would leave one in the home folder, for others to read.

    Args:
        address: Of a cluster, or ``"local"`` for a new one.

    Raises:
        InputError: It is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError("--on ray needs Ray. Install it in tuner's folder: pip install '.[ray]'")
    settings = dict(_RAY_SETTINGS)
    has_token = bool({"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys())
    if address == "local" and not has_token:
        settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    elif has_token or (Path.home() / ".ray" / "auth_token").exists():
        settings["RAY_AUTH_MODE"] = "token"  # a cluster without tokens does not mind
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    return importlib.import_module("ray")


def connect(ray: Any, address: str) -> None:
    """Connect this process to a cluster, or start one on this machine.

    Args:
        ray: What `load_ray` gave.
        address: Of a cluster, or ``"local"`` for a new one.

    Raises:
        InputError: That fails.
    """
    settings: dict[str, Any] = {}
    if address == "local":
        settings = {
            "num_cpus": usable_cores(),
            "num_gpus": len(discover(os.environ).found),
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except Exception as error:  # whatever is wrong with a cluster, Ray raises all kinds
        raise InputError(
            f"Ray cannot be used at --address {address} ({error}). Start a cluster with "
            f"`ray start --head` and this version of Python and Ray, and put its token, where "
            f"it has one, into RAY_AUTH_TOKEN; or leave out --address."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray sets its own


def _knock(address: str) -> None:
    """See that somebody listens, where an address says on which port: Ray would try for minutes.

    Raises:
        OSError: Nobody does.
    """
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.hostname and place.port:
        socket.create_connection((place.hostname, place.port), timeout=10.0).close()
