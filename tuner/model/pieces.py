"""Where the words of texts are, and how values are put into another order by that."""

from collections.abc import Callable
from typing import TypeAlias

import keras
from keras import ops

from tuner.params import GRUParams

Tensor: TypeAlias = keras.KerasTensor

#: A score that no word has.
LOWEST = -1e9


def piece_length(params: GRUParams) -> int:
    """Say how many words a piece has; 0 where no text is longer than that, and all are whole."""
    return params.chunk_length if params.chunk_length < params.max_length else 0


class Pieces:
    """Texts as the recurrent layers read them: whole, or cut into pieces that lie side by side.

    Each piece is a row of its own, read from its first word to its last one, or back; what is
    behind a text's end is padding. A whole text is one piece.

    Args:
        ids: Token ids, padded on the right with 0; int32, (batch, time), each row with at least
            one other than 0.
        length: Words of a piece, or 0 for whole texts.
    """

    def __init__(self, ids: Tensor, length: int) -> None:
        self._length = length
        #: The ids, padded to full pieces: int32, (batch, time).
        self.ids = _padded(ids, length) if length else ids
        #: Words a text: int32, (batch, 1).
        self.lengths = _count(self.ids)
        text_starts, text_positions = _places(self.ids)
        self._by_text = text_starts + text_positions  # (batch, time)
        self._text_starts = text_starts  # (batch, 1)
        lengths, starts, positions = self.lengths, text_starts, text_positions
        if length:
            row_starts, numbers = _places(self.ids[:, ::length])
            self._pieces = row_starts + numbers  # (batch, pieces of a text)
            rows = ops.reshape(self.ids, (-1, length))
            lengths = _count(rows)  # 0 behind a text's end
            starts, positions = _places(rows)
        real = positions < lengths
        # Gathering along time is a gather of rows from a (batch * time, features) table. On a CPU
        # it is many times faster than ops.take_along_axis, which spells out an index a feature.
        self._mirrored = starts + ops.where(real, lengths - 1 - positions, positions)
        #: Whether a position holds a word: bool, (pieces, length, 1).
        self.real = ops.expand_dims(real, axis=2)

    def cut(self, values: Tensor) -> Tensor:
        """Cut texts into pieces: (batch, time, features) to (pieces, length, features)."""
        if not self._length:
            return values
        return ops.reshape(values, (-1, self._length, values.shape[-1]))

    def reverse(self, values: Tensor) -> Tensor:
        """Reverse each piece within its words: (pieces, length, features), padding stays."""
        return ops.take(_table(values), self._mirrored, axis=0)

    def last(self, values: Tensor, *, backward: bool) -> Tensor:
        """Take the value where a direction has read all it reads of a text.

        Args:
            values: A value for each word: (pieces, length, features).
            backward: Whether that is at the text's first word, not at its last one.

        Returns:
            (batch, features).
        """
        rows = self._text_starts if backward else self._text_starts + self.lengths - 1
        return ops.take(_table(values), ops.reshape(rows, (-1,)), axis=0)

    def together(self, values: Tensor, reduce: Callable[..., Tensor]) -> Tensor:
        """Make one vector a text of one vector a piece: (pieces, features) to (batch, features)."""
        if not self._length:
            return values
        return reduce(ops.take(values, self._pieces, axis=0), axis=1)

    def softmax(self, scores: Tensor) -> Tensor:
        """Make weights of the words' scores, which sum to 1 in each text: padding weighs 0.

        Args:
            scores: float32, (pieces, length, 1), in text order.

        Returns:
            float32, (pieces, length, 1).
        """
        # float32 has no exp() of so low a number but 0.
        scores = ops.where(self.real, scores, LOWEST)
        if not self._length:
            return ops.softmax(scores, axis=1)
        by_text = ops.take(ops.reshape(scores, (-1,)), self._by_text, axis=0)  # (batch, time)
        return ops.reshape(ops.softmax(by_text, axis=1), (-1, self._length, 1))


def _padded(ids: Tensor, length: int) -> Tensor:
    """Pad to a multiple of the length, by as little as possible."""
    wide = ops.pad(ids, ((0, 0), (0, length - 1)))
    _, pieces = _places(ids[:1, ::length])  # (1, pieces of a text)
    columns = ops.reshape(pieces, (-1, 1)) * length + ops.arange(length)
    return ops.take(wide, ops.reshape(columns, (-1,)), axis=1)


def _places(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Say where each row begins, counted through all elements, and each element's number in it.

    Returns:
        A column, int32, (rows, 1), and int32, (rows, columns). Add them in this order: where Keras
        knows that there is one row, it takes a whole row that is added for a bias, and an exported
        net has integers for a bias, which LiteRT does not know.
    """
    ones = ops.ones_like(ids)
    starts = (ops.cumsum(ones[:, :1], axis=0) - 1) * ops.sum(ones, axis=1, keepdims=True)
    return starts, ops.cumsum(ones, axis=1) - 1


def _count(ids: Tensor) -> Tensor:
    return ops.sum(ops.cast(ids != 0, "int32"), axis=1, keepdims=True)


def _table(values: Tensor) -> Tensor:
    return ops.reshape(values, (-1, values.shape[-1]))  # (pieces * length, features)
