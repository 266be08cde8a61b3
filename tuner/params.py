"""The hyperparameters of one trial."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tuner.domain import Scalar

Pooling = Literal["last", "max", "mean", "mean_max", "attention"]
Schedule = Literal["constant", "cosine", "linear"]
Precision = Literal["float32", "mixed_float16"]


class GRUParams(BaseModel):
    """Every hyperparameter of one trial; the defaults are a good first guess.

    The network is Embedding, dropout, GRU layers, pooling over time, dropout, Dense.

    References:
        Cho et al. 2014, arXiv:1406.1078 (the GRU); Loshchilov and Hutter 2019, arXiv:1711.05101
        (`weight_decay`, cosine); Miyato et al. 2017, arXiv:1605.07725 (`adversarial`); Johnson and
        Zhang 2016, arXiv:1602.02373 (`chunk_length`); Pascanu et al. 2013, arXiv:1211.5063
        (`clip_norm`); Polyak and Juditsky 1992 (`ema_decay`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    learning_rate: Annotated[float, Field(gt=0, le=10)] = 2e-3
    """Step size of Adam, the largest that `schedule` reaches."""
    schedule: Schedule = "cosine"
    """How the step size falls to 0 until the trial's last epoch, or that it does not."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the trial's gradient steps in which the step size grows from 0 at first."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Examples a gradient step."""
    units: Annotated[int, Field(ge=1, le=8_192)] = 64
    """Width of each GRU layer, in each direction."""
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    """Number of GRU layers, one on top of the other."""
    bidirectional: bool = True
    """Whether each layer also reads the text from its end."""
    pooling: Pooling = "mean_max"
    """How a text's GRU outputs over time become one vector."""
    embedding: Annotated[int, Field(ge=1, le=8_192)] = 64
    """Width of the word vectors."""
    word_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of words that training reads as unknown ones."""
    embedding_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of word-vector dimensions dropped, the same over a whole text."""
    layer_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of outputs dropped between GRU layers; nothing to drop with one layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Share of the pooled vector dropped before the classifier."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of each weight, times the step size, taken off at a gradient step (AdamW)."""
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the whole gradient, longer ones are cut to it; 0 for no limit."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread evenly over all classes."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share that the running average of the weights keeps at a gradient step; 0 for no average."""
    adversarial: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Size of the worst change of its word vectors that a text is also trained with, as a share of
    their norm; 0 for none."""
    max_length: Annotated[int, Field(ge=1, le=100_000)] = 400
    """Words of a text that are read, at most."""
    truncate: Literal["start", "end"] = "start"
    """Which end of a longer text is cut off."""
    chunk_length: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Words of the pieces that a text is cut into and that are read side by side; 0 for none."""
    reset_after: bool = True
    """Reset gate after the recurrent product (cuDNN's GRU) or before it (the 2014 paper's)."""
    class_weights: bool = False
    """Whether rare classes weigh more in the loss, so that each class weighs the same in all."""
    precision: Precision = "float32"
    """What a GPU computes in; ``mixed_float16`` is quicker for wide nets on recent ones."""


#: Every hyperparameter's default.
DEFAULTS: dict[str, Scalar] = GRUParams().model_dump()
