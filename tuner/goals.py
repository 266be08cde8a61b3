"""What a study is judged by: one metric or several objectives, and what a model may be at most."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from tuner.errors import suggestion
from tuner.metrics import METRICS, Direction
from tuner.sizes import SIZES, Limits, Shape


class Goals(BaseModel):
    """The keys of a study file that say what is good, and what is good enough."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    metric: str = "val_accuracy"
    """Validation metric that decides: which epoch counts, which trial ends early; of several
    objectives the first. Its direction follows from it."""
    metrics: tuple[str, ...] | None = None
    """All objectives where there are several: `metric`, then further metrics and sizes."""
    constraints: dict[str, int | float] = {}
    """Size of a model to the most that it may be; a larger one is never trained."""

    @model_validator(mode="before")
    @classmethod
    def _metric_is_the_first_of_several(cls, raw: Any) -> Any:
        metrics = raw.get("metrics") if isinstance(raw, Mapping) else None
        if not isinstance(metrics, list | tuple) or not metrics or not isinstance(metrics[0], str):
            return raw  # and is told what a list of names is
        if raw.get("metric", metrics[0]) != metrics[0]:
            raise ValueError(
                f"metric: expected one of `metric` and `metrics`. Received metric = "
                f"{raw['metric']!r} and metrics = {list(metrics)!r}."
            )
        return {**raw, "metric": metrics[0], "metrics": tuple(metrics)}

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        if value in SIZES:
            raise ValueError(
                f"a size alone would have the smallest model. Received {value!r}, expected one of: "
                f"{', '.join(METRICS)}; others may follow it in `metrics`."
            )
        if value not in METRICS:
            raise ValueError(
                f"unknown metric. Received {value!r}, expected one of: {', '.join(METRICS)}."
                f"{suggestion(value, METRICS)}"
            )
        return value

    @field_validator("metrics", mode="before")
    @classmethod
    def _known_objectives(cls, value: object) -> object:
        if value is None:
            return None
        known = [*METRICS, *SIZES]
        if not isinstance(value, tuple) or not value or not all(isinstance(n, str) for n in value):
            raise ValueError(
                f"expected a list of names, the most important metric first. Received {value!r}."
            )
        for name in value[1:]:  # the first one is `metric`
            if name not in known:
                raise ValueError(
                    f"unknown objective. Received {name!r}, expected some of: {', '.join(known)}."
                    f"{suggestion(name, known)}"
                )
        if len(set(value)) < len(value):
            raise ValueError(f"expected each name once. Received {list(value)!r}.")
        return value if len(value) > 1 else None

    @field_validator("constraints", mode="before")
    @classmethod
    def _known_limits(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
                f"expected a table such as {{ bytes = 2_000_000 }}. Received {value!r}."
            )
        for name, limit in value.items():
            if name not in SIZES:
                raise ValueError(
                    f"unknown size. Received {name!r}, expected some of: {', '.join(SIZES)}."
                    f"{suggestion(name, SIZES)}"
                )
            is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
            if not is_number or not math.isfinite(limit) or limit <= 0:
                raise ValueError(f"{name}: expected a number greater than 0. Received {limit!r}.")
        return value

    @property
    def direction(self) -> Direction:
        """Whether the metric is to be maximised or minimised."""
        return METRICS[self.metric].direction

    @property
    def objectives(self) -> tuple[str, ...]:
        """Name all that is judged, `metric` first."""
        return self.metrics or (self.metric,)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Which way is better, for each of `objectives`."""
        return tuple(
            METRICS[name].direction if name in METRICS else "minimize" for name in self.objectives
        )

    @property
    def sizes(self) -> tuple[str, ...]:
        """Name the sizes that objectives or limits ask for."""
        return tuple(name for name in SIZES if name in {*self.objectives, *self.constraints})

    def limits(self, shape: Shape) -> Limits:
        """Give the limits of models that learn from data of a shape."""
        return Limits(largest=self.constraints, shape=shape)
