r"""The file of a packed model: a zip of plain arrays, compressed, without any code in it.

``numpy.load(FILE, allow_pickle=False)`` reads it. For each weight NAME, which is its layer's name
and its own, such as ``gru_1_forward/recurrent_kernel``, there are

* ``NAME``: its numbers, float32, float16 or int8, in its shape; or, where many of them are 0 and
  that takes less room, ``NAME.nonzero``: those that are not 0, one after another, ``NAME.places``:
  a bit for each number, set where it is not 0 (as `numpy.packbits` makes them), and
  ``NAME.shape``;
* ``NAME.scale``, of int8 numbers: what to multiply them by, float16, (rows, 1) or (1, columns).

Word vectors can be a product: ``embedding/embeddings`` is then ``embedding/embeddings.left``,
(ids, rank), times ``embedding/embeddings.right``, (rank, width), each stored as above.

``words`` holds the vocabulary by id, from id 2: UTF-8, a line feed between two words. Of a model
that takes ids there is ``ids`` instead: those that have a row of their own in the table, in the
rows' order; all others have that of unknown words.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.errors import InputError
from tuner.packing.stored import DTYPES, Stored

_SCALE, _NONZERO, _PLACES, _SHAPE = ".scale", ".nonzero", ".places", ".shape"
_PARTS = (_SCALE, _NONZERO, _PLACES, _SHAPE)
_WORDS, _IDS = "words", "ids"


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What a packed model's file holds."""

    #: Weights by name, or their factors.
    weights: Mapping[str, Stored]
    #: Words by id, from id 2; None where only ids are known.
    words: tuple[str, ...] | None
    #: Ids that have a row of their own, int64, ascending; None where there are words.
    ids: npt.NDArray[np.int64] | None


def pack(packed: Packed) -> bytes:
    """Give a packed model's file; the same model gives the same bytes."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, stored in packed.weights.items():
        arrays |= _parts(name, stored)
    if packed.words is not None:
        text = "\n".join(packed.words).encode()
        arrays[_WORDS] = np.frombuffer(text, np.uint8)
    if packed.ids is not None:
        arrays[_IDS] = packed.ids.astype(np.int32)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # of 1980, and not of now
            entry.compress_type = zipfile.ZIP_LZMA
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)
    return content.getvalue()


def unpack(content: bytes) -> Packed:
    """Read what `pack` gave.

    Raises:
        InputError: It is something else; the message is without the file's name.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        weights = {name: _stored(name, arrays) for name in sorted(_names(arrays))}
        text = arrays.get(_WORDS)
        words = None if text is None else _words(text.tobytes().decode())
    except Exception as error:  # zip, LZMA and NumPy raise anything, for a file that is damaged
        raise InputError(f"is no packed model ({type(error).__name__}: {error})") from error
    ids = arrays.get(_IDS)
    return Packed(weights=weights, words=words, ids=None if ids is None else ids.astype(np.int64))


def _parts(name: str, stored: Stored) -> dict[str, npt.NDArray[Any]]:
    numbers = stored.numbers
    nonzero = numbers[numbers != 0]
    places = np.packbits(numbers != 0)
    parts = {name: numbers}
    # Compressed, zeros that are written out take more room than their bits.
    if nonzero.nbytes + places.nbytes < numbers.nbytes:
        parts = {
            name + _NONZERO: nonzero,
            name + _PLACES: places,
            name + _SHAPE: np.array(numbers.shape, np.int64),
        }
    return parts if stored.scale is None else parts | {name + _SCALE: stored.scale}


def _words(text: str) -> tuple[str, ...]:
    words = tuple(text.split("\n"))
    if "" in words or len(set(words)) < len(words):
        raise ValueError("a word is empty or there twice")
    return words


def _names(arrays: Mapping[str, npt.NDArray[Any]]) -> set[str]:
    names = set()
    for key in arrays.keys() - {_WORDS, _IDS}:
        part = next((part for part in _PARTS if key.endswith(part)), "")
        names.add(key.removesuffix(part))
    return names


def _stored(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Stored:
    if name in arrays:
        numbers = arrays[name]
    else:
        nonzero, shape = arrays[name + _NONZERO], tuple(arrays[name + _SHAPE].tolist())
        places = np.unpackbits(arrays[name + _PLACES], count=int(np.prod(shape))).astype(bool)
        numbers = np.zeros(len(places), nonzero.dtype)
        numbers[places] = nonzero
        numbers = numbers.reshape(shape)
    scale = arrays.get(name + _SCALE)
    if numbers.dtype not in DTYPES or (numbers.dtype == np.int8) != (scale is not None):
        raise ValueError(f"{name} is of type {numbers.dtype}")
    stored = Stored(numbers=numbers, scale=scale)
    value = stored.value()
    if value.shape != numbers.shape or not np.isfinite(value).all():
        raise ValueError(f"{name} is not what its shape says, or not finite")
    return stored
