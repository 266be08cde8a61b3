"""Tables of learning curves in npz files, such as those of TaskSet.

A file holds ``names`` (text of shape ``(parameters,)``), ``configs`` (numbers of shape
``(trainings, parameters)``) and ``valid``, the validation losses in nats (numbers of shape
``(trainings, points)``; what is not finite has diverged). The first point is that of the untrained
net and never used. Each other one is a report, and counts as the end of an epoch.

References:
    Metz et al. 2020, arXiv:2002.11887 (TaskSet).
"""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.domain import Range
from tuner.errors import InputError
from tuner.metrics import STEPS_PER_EPOCH
from tuner.simulate.recording import Candidate, Recording
from tuner.space import Parameter, Space

Numbers: TypeAlias = NDArray[np.float64]

#: Validation loss of a net that has learned nothing about two classes of equal size.
CHANCE = math.log(2)


def table_files(path: Path) -> list[Path]:
    """List the tables at a path: a file, or the npz files of a folder, by name.

    Raises:
        InputError: The folder has none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.npz"))
    if not files:
        raise InputError(f"{path}: no table there. Expected a folder with .npz files, or one file.")
    return files


def read_table(path: Path) -> Recording:
    """Read one table; no code in it is run.

    Raises:
        InputError: It is no table of learning curves; the message says why.
    """
    arrays = _arrays(path)
    names = [str(name) for name in arrays["names"].ravel()]
    configs, losses = (_numbers(path, key, arrays[key]) for key in ("configs", "valid"))
    n, n_points = losses.shape
    if configs.shape != (n, len(names)) or n_points < 3 or n < 2 or not names:
        raise InputError(
            f"{path}: the shapes do not fit. Expected configs (trainings, parameters), names "
            f"(parameters,), valid (trainings, points), at least 2 trainings and 3 points. "
            f"Received configs {configs.shape}, {len(names)} names, valid {losses.shape}."
        )
    if not np.isfinite(configs).all():
        raise InputError(f"{path}: configs holds a value that is not finite.")
    curves = losses[:, 1:]
    trained = np.logical_and.accumulate(np.isfinite(curves), axis=1)  # until it diverges
    best = float(curves[trained].min(initial=np.inf))
    if not best < CHANCE:
        raise InputError(
            f"{path}: the best validation loss is {best:.4f}. Expected one below ln 2 = "
            f"{CHANCE:.4f}, the loss of a guess between two classes."
        )
    return Recording(
        name=path.stem,
        space=Space(
            parameters=tuple(
                Parameter(name=name, domain=_range(column), when={})
                for name, column in zip(names, configs.T, strict=True)
            )
        ),
        direction="minimize",
        epochs=n_points - 1,
        candidates=tuple(
            Candidate(
                params=dict(zip(names, config.tolist(), strict=True)),
                reports=_reports(curve[: min(n_points - 1, int(finite.sum()) + 1)]),
            )
            for config, curve, finite in zip(configs, curves, trained, strict=True)
        ),
        best=best,
        poor=CHANCE,
        scale="0 is the table's best validation loss, 1 is ln 2, the loss of a guess",
    )


def _reports(curve: Numbers) -> tuple[tuple[int, float], ...]:
    return tuple(((k + 1) * STEPS_PER_EPOCH, float(loss)) for k, loss in enumerate(curve))


def _range(column: Numbers) -> Range:
    """Take the scale on which the values lie more evenly around the middle."""
    low, middle, high = float(column.min()), float(np.median(column)), float(column.max())
    if low <= 0 or low == high:
        return Range(low=low, high=high)
    plain = (middle - low) / (high - low)
    log = math.log(middle / low) / math.log(high / low)
    return Range(low=low, high=high, log=abs(log - 0.5) < abs(plain - 0.5))


def _arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    wanted = ("names", "configs", "valid")
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: holds a single array. Expected an .npz file.")
            missing = [key for key in wanted if key not in file.files]
            if missing:
                raise InputError(
                    f"{path}: lacks {', '.join(missing)}. Expected the arrays "
                    f"{', '.join(wanted)}. Received {', '.join(file.files) or 'none'}."
                )
            return {key: file[key] for key in wanted}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not a table of plain arrays: {error} Expected an .npz file without Python "
            f"objects, which could run code when they are loaded."
        ) from error


def _numbers(path: Path, key: str, array: NDArray[Any]) -> Numbers:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: {key}: expected numbers in rows and columns. Received {array.dtype} of "
            f"shape {array.shape}."
        )
    return array.astype(np.float64)
