"""The answer that the dashboard's script asks for again and again: one study with its trials.

optuna-dashboard's own answer knows no constraints, asks for a best trial where there is none, and
takes seconds for thousands of trials, at every poll of a study that is done. This is the same
answer from the same serializer, with our best trials and note, and each finished trial is
serialized once.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from optuna_dashboard._inmemory_cache import InMemoryCache, get_cached_extra_study_property
from optuna_dashboard._note import get_note_from_system_attrs
from optuna_dashboard._serializer import serialize_frozen_trial, serialize_study_detail

from tuner.dashboard.note import study_note
from tuner.dashboard.shelf import Seen

#: Attributes of a study that belong to one of its trials: notes, and artifacts of old versions.
_OF_A_TRIAL = re.compile(r"dashboard:(?:artifacts:)?(\d+):")


def study_answer(seen: Seen, after: int) -> bytes:
    """Write the answer.

    Args:
        seen: The study.
        after: So many trials, from the first, are known to whoever asks.

    Returns:
        JSON.
    """
    writer: _Writer = seen.kept.setdefault("detail", _Writer(seen.study_id))
    return writer.write(seen, after)


class _Writer:
    """Writes the answers about one study, and keeps what does not change of them."""

    def __init__(self, study_id: int) -> None:
        self._study_id = study_id
        #: Trial number to the trial, the attributes that belong to it, and its JSON.
        self._written: dict[int, tuple[FrozenTrial, dict[str, Any], bytes]] = {}
        self._shape = _Shape(study_id)

    def write(self, seen: Seen, after: int) -> bytes:
        study, trials = seen.study, seen.trials.trials
        best = seen.trials.best
        own = _attributes_by_trial(study.system_attrs)
        intersection, union, names, has_reports = self._shape.of(trials)
        head = serialize_study_detail(
            study,
            [],
            [],
            intersection,
            union,
            names,
            has_reports,
            get_plotly_graph_objects(study.system_attrs),
            [],
        )
        written = get_note_from_system_attrs(study.system_attrs, None)
        body = study_note(seen.ours, seen.trials.counts, best, written["body"])
        head["note"] = {"version": written["version"], "body": body}
        del head["trials"], head["best_trials"]
        shown = b",".join(self._trial(trial, own) for trial in trials[after:])
        chosen = b",".join(self._trial(trial, own) for trial in best)
        start = json.dumps(head).encode()[:-1]
        return start + b', "trials": [' + shown + b'], "best_trials": [' + chosen + b"]}"

    def _trial(self, trial: FrozenTrial, own: dict[int, dict[str, Any]]) -> bytes:
        attributes = own.get(trial._trial_id, {})
        known = self._written.get(trial.number)
        if known is not None and known[0] is trial and known[1] == attributes:
            return known[2]
        # Given all of a study's attributes, each trial would be looked for in all of them.
        facts = serialize_frozen_trial(self._study_id, trial, attributes)
        for name in ("datetime_start", "datetime_complete"):
            if name in facts:  # with its zone: people look at it from others
                facts[name] = datetime.fromisoformat(facts[name]).astimezone().isoformat()
        text = json.dumps(facts).encode()
        if trial.state.is_finished():
            self._written[trial.number] = trial, attributes, text
        return text


def _attributes_by_trial(attributes: dict[str, Any]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if match := _OF_A_TRIAL.match(key):
            found.setdefault(int(match[1]), {})[key] = value
    return found


_Space = list[tuple[str, BaseDistribution]]


class _Shape:
    """What params and attributes the trials of a study have.

    optuna-dashboard works that out, from one trial of each kind: it takes a tenth of a
    millisecond a trial, at every poll of a study in which nothing runs.
    """

    def __init__(self, study_id: int) -> None:
        self._study_id = study_id
        self._kinds: dict[object, FrozenTrial] = {}
        self._done = 0
        self._found: tuple[_Space, _Space, list[tuple[str, bool]], bool] = ([], [], [], False)

    def of(
        self, trials: Sequence[FrozenTrial]
    ) -> tuple[_Space, _Space, list[tuple[str, bool]], bool]:
        before = len(self._kinds)
        for trial in trials[self._done :]:
            self._kinds.setdefault(_kind(trial), trial)
        # Trials before the first one that runs never change.
        is_open = (i for i in range(self._done, len(trials)) if not trials[i].state.is_finished())
        self._done = next(is_open, len(trials))
        if len(self._kinds) != before:
            examples = sorted(self._kinds.values(), key=lambda trial: trial.number)
            self._found = get_cached_extra_study_property(InMemoryCache(), self._study_id, examples)
        return self._found


def _kind(trial: FrozenTrial) -> object:
    return (
        trial.state == TrialState.FAIL,
        bool(trial.intermediate_values),
        # The objects: equal ones are the same, as long as the study is.
        tuple((name, id(domain)) for name, domain in trial.distributions.items()),
        tuple((key, type(value) in {int, float}) for key, value in trial.user_attrs.items()),
    )
