"""Trainings that were recorded once: curves of real ones, too long to repeat in a test.

`imdb.jsonl` holds the trials of `studies/imdb.toml` on 5,000 reviews, split by film, none of them
pruned. To record others, and keep them::

    tuner run studies/imdb.toml --workers auto --set pruner.name=none --set data.examples=5000 \\
        --set data.source=reviews.jsonl.gz --set data.group=movie
    python -m tests.recorded imdb imdb.jsonl [--storage sqlite:///studies/tuner.db]
"""

import json
from pathlib import Path
from typing import Any

from tuner.simulate import Candidate, Recording
from tuner.space_table import parse_space

#: The trials of `studies/imdb.toml` on 5,000 reviews, split by film.
IMDB = Path(__file__).with_name("imdb.jsonl")


def write_recorded(recording: Recording, path: Path) -> None:
    """Keep a recording, a line a training."""
    head = {
        "name": recording.name,
        "space": {p.name: p.to_value() for p in recording.space.parameters},
        "direction": recording.direction,
        "epochs": recording.epochs,
        "best": recording.best,
        "poor": recording.poor,
        "scale": recording.scale,
    }
    trainings = [
        {"params": c.params, "reports": [(step, round(value, 4)) for step, value in c.reports]}
        for c in recording.candidates
    ]
    lines = (json.dumps(value) for value in (head, *trainings))
    path.write_text("".join(f"{line}\n" for line in lines))


def read_recorded(path: Path) -> Recording:
    """Read what `write_recorded` kept."""
    head, *trainings = map(json.loads, path.read_text().splitlines())
    fields: dict[str, Any] = head | {"space": parse_space(head["space"])}
    candidates = tuple(
        Candidate(
            params=training["params"],
            reports=tuple((step, value) for step, value in training["reports"]),
        )
        for training in trainings
    )
    return Recording(**fields, candidates=candidates)
