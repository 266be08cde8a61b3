"""The final training goes as far as the search would have, and the test set's readings count."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Never

import keras
import numpy as np
import pytest

from tests.conftest import StudyMaker
from tests.integration.test_confirm import searched
from tests.integration.test_training import VOCABULARY, texts
from tuner.checkpoints import Array
from tuner.config import StudyConfig
from tuner.data.encoded import Encoded
from tuner.data.prepared import Prepared
from tuner.data.summary import Summary
from tuner.deliver.card import write_card
from tuner.deliver.final import Plan, PlannedModel, Stage, make_plan, together, train_models
from tuner.deliver.refit import Order, refit
from tuner.deliver.saving import describe_models
from tuner.errors import DataError, InputError, StudyNotFoundError
from tuner.metrics import STEPS_PER_EPOCH, accuracy
from tuner.model import variables_of
from tuner.params import GRUParams
from tuner.storage import (
    Database,
    StoredStudy,
    begin_reading,
    check_unread,
    create_study,
    delete_study,
    end_reading,
    list_readings,
)
from tuner.training import fit
from tuner.yardstick import fit_yardstick

TRAIN, VALIDATION = texts(150, seed=0), texts(50, seed=1)
PARAMS = GRUParams(
    units=3,
    embedding=4,
    bidirectional=False,
    batch_size=16,
    schedule="cosine",
    warmup=0.1,
    learning_rate=0.02,
)


def prepared(fingerprint: str = "f" * 32) -> Prepared:
    return Prepared(
        train=TRAIN,
        validation=VALIDATION,
        units=np.arange(len(VALIDATION)),
        words=tuple(f"w{i}" for i in range(VOCABULARY - 2)),
        fingerprint=fingerprint,
        summary=Summary(
            n_examples=200,
            classes=(("neg", 100), ("pos", 100)),
            median_words=5,
            p95_words=9,
            n_groups=None,
            notes=(),
        ),
    )


def plan(config: StudyConfig, *, epochs: int, seeds: Sequence[int] = (0,)) -> Plan:
    return Plan(
        study=StoredStudy(study_id=1, key="key", config=config, shape=None),
        trials=(0,),
        models=tuple(
            PlannedModel(params=PARAMS, micro_batches=1, seed=seed, epochs=epochs) for seed in seeds
        ),
        metrics={},
        epochs_from="asked for",
        fingerprint="f" * 32,
    )


class Weights(keras.callbacks.Callback):
    """Remembers a model's weights at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.by_epoch: dict[int, list[Array]] = {}

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        del logs  # Keras passes it by name
        if (epoch + 1) % STEPS_PER_EPOCH == 0:
            weights = [variable.numpy() for variable in variables_of(self.model)]
            self.by_epoch[(epoch + 1) // STEPS_PER_EPOCH] = weights


def same(one: Sequence[Array], other: Sequence[Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_final_training_is_the_searchs_up_to_where_it_stops(toy: StudyMaker) -> None:
    config = toy("budget.epochs=3")
    whole = Weights()
    fit(
        PARAMS,
        together(prepared()),
        VALIDATION,
        vocabulary=VOCABULARY,
        n_classes=2,
        epochs=3,
        seed=0,
        metric="val_accuracy",
        callbacks=[whole],
    )

    stages: list[Stage] = []
    first, other = train_models(
        plan(config, epochs=2, seeds=(0, 1)), prepared(), tell=stages.append
    )

    assert same(first.weights, whole.by_epoch[2])
    assert not same(first.weights, whole.by_epoch[3])
    assert not same(first.weights, other.weights)
    assert first.reports == ()
    assert [(stage.model, stage.epochs, stage.of_epochs) for stage in stages] == [
        (model, step / STEPS_PER_EPOCH, 2) for model in (1, 2) for step in range(1, 9)
    ]


def test_models_of_several_trials_are_trained_and_told_each_as_its_trial_was(
    toy: StudyMaker, tmp_path: Path
) -> None:
    wider = PARAMS.model_copy(update={"units": 2 * PARAMS.units, "truncate": "end"})
    several = replace(
        plan(toy("budget.epochs=3"), epochs=1),
        trials=(4, 9),
        models=(
            PlannedModel(params=PARAMS, micro_batches=1, seed=0, epochs=1),
            PlannedModel(params=wider, micro_batches=2, seed=1, epochs=2),
        ),
    )

    results = list(train_models(several, prepared()))

    manifest = describe_models(several, prepared(), results)
    assert (manifest.origin.trial, manifest.origin.other_trials) == (4, (9,))
    assert [(m.params, m.seed, m.epochs) for m in manifest.members] == [
        (PARAMS, 0, 1),
        (wider, 1, 2),
    ]
    sizes = [result.n_parameters for result in results]
    assert sizes[0] < sizes[1]
    write_card(manifest)(tmp_path / "card")
    card = (tmp_path / "card").read_text()
    assert f"with {sizes[0]:,} and {sizes[1]:,} parameters each" in card
    assert "trials 4 and 9" in card
    assert "for 1 and 2 of 3 epochs" in card
    assert f"| `units` | {PARAMS.units} | {wider.units} |" in card
    assert f"the last {PARAMS.max_length} and first {PARAMS.max_length} words are read" in card


def test_averaged_weights_are_those_of_a_training_that_is_judged() -> None:
    params = PARAMS.model_copy(update={"ema_decay": 0.9})
    with_validation, without = (
        fit(
            params,
            TRAIN,
            validation,
            vocabulary=VOCABULARY,
            n_classes=2,
            epochs=1,
            seed=0,
            metric="val_accuracy",
        )
        for validation in (VALIDATION, None)
    )

    assert with_validation.best_epoch == 1
    assert same(without.weights, with_validation.weights)


def test_training_and_validation_examples_stay_what_they_are_together() -> None:
    both = together(prepared())

    assert len(both) == len(TRAIN) + len(VALIDATION)
    for part, first in ((TRAIN, 0), (VALIDATION, len(TRAIN))):
        again: Encoded = both.subset(np.arange(first, first + len(part)))
        assert np.array_equal(again.ids, part.ids)
        assert np.array_equal(again.offsets, part.offsets)
        assert np.array_equal(again.labels, part.labels)


def test_what_cannot_be_trained_again_is_refused_before_it_is_tried(
    database: Database, toy: StudyMaker
) -> None:
    study = searched(database, toy)

    with pytest.raises(
        InputError, match=r"--top 9: 'toy' has 6 trials to choose from\. Give 6 or fewer"
    ):
        make_plan(database, study, top=9)
    with pytest.raises(InputError, match="Trial 1 does not tell its best epoch"):
        make_plan(database, study, top=2)
    with pytest.raises(InputError, match="--epochs 9: the study's trials were planned for"):
        make_plan(database, study, epochs=9)


def test_other_data_than_the_studys_is_refused(toy: StudyMaker) -> None:
    with pytest.raises(DataError, match="not what this study learned from"):
        next(train_models(plan(toy(), epochs=1), prepared(fingerprint="0" * 32)))


# --- the yardstick -------------------------------------------------------------------------------


def pairs(n: int, *, seed: int) -> Encoded:
    """Make texts of four words in which only the order of two tells the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n).astype(np.int32)
    middle = np.where(labels[:, None] == 1, [2, 3], [3, 2])
    others = rng.integers(4, 12, size=(n, 2))
    ids = np.concatenate([others[:, :1], middle, others[:, 1:]], axis=1).astype(np.int32)
    return Encoded(ids=ids.ravel(), offsets=np.arange(0, 4 * n + 1, 4), labels=labels)


def test_the_yardstick_sees_pairs_of_words() -> None:
    yardstick = fit_yardstick(pairs(200, seed=0), n_ids=12, n_classes=2)

    fresh = pairs(100, seed=1)
    found = yardstick.predict(fresh)
    assert found.shape == (100, 2)
    assert found.sum(axis=1) == pytest.approx(1)
    assert accuracy(fresh.labels, found) == 1


def test_the_yardstick_gives_a_class_without_examples_no_probability() -> None:
    found = fit_yardstick(pairs(50, seed=0), n_ids=12, n_classes=3).predict(pairs(5, seed=1))

    assert found.shape == (5, 3)
    assert np.all(found[:, 2] == 0)


def test_the_yardstick_bears_texts_of_which_it_knows_no_word() -> None:
    yardstick = fit_yardstick(pairs(50, seed=0), n_ids=20, n_classes=2)
    strange = Encoded(
        ids=np.array([19], np.int32), offsets=np.array([0, 1]), labels=np.zeros(1, np.int32)
    )

    assert np.isfinite(yardstick.predict(strange)).all()


def refit_in_vain(config: StudyConfig, target: Path) -> None:
    """Refit a study of which nothing may be trained, noted or written."""
    order = Order(
        plan=replace(plan(config, epochs=1), fingerprint=None),
        target=target,
        replace=False,
        reads_test=True,
        again=False,
        data_root=None,
    )

    def never(*_: object) -> Never:
        pytest.fail("it was begun")

    try:
        refit(order, open_database=never, say=never, tell=never)
    finally:
        assert not target.exists()


def test_texts_are_refused_for_models_that_take_ids_before_these_are_trained(
    toy: StudyMaker, tmp_path: Path
) -> None:
    reviews = np.empty(40, object)
    reviews[:] = [[1, 2, i + 1] for i in range(40)]
    np.savez(tmp_path / "imdb.npz", x_train=reviews, y_train=np.arange(40) % 2)
    (tmp_path / "test.csv").write_text("text,label\nfine,positive\n")
    where = f"data.path={tmp_path / 'imdb.npz'}", f"data.test={tmp_path / 'test.csv'}"

    with pytest.raises(DataError, match=r"data\.test = .*holds texts, .* take ids"):
        refit_in_vain(toy("data.source=imdb", *where), tmp_path / "artifact")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("text,sentiment\nfine,positive\n", "no column 'label'"),
        ("text,label\nfine,Positive\n", "class 'Positive' does not occur in the training"),
        ("text,label\nfine,\n", "the label is missing"),
    ],
)
def test_a_test_set_that_cannot_be_used_costs_no_training_and_no_reading(
    toy: StudyMaker, tmp_path: Path, content: str, why: str
) -> None:
    (tmp_path / "test.csv").write_text(content)
    config = toy(f"data.test={tmp_path / 'test.csv'}", "data.examples=40")

    with pytest.raises(DataError, match=why):
        refit_in_vain(config, tmp_path / "artifact")


# --- readings of the test set --------------------------------------------------------------------


def test_a_second_reading_of_the_test_set_must_be_asked_for(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    check_unread(database, study, again=False)

    first = begin_reading(database, study, trial=4, n_models=3, again=False)
    with pytest.raises(InputError, match=r"was read already, at .* for trial 4"):
        check_unread(database, study, again=False)
    with pytest.raises(InputError, match="was read already"):
        begin_reading(database, study, trial=5, n_models=1, again=False)
    second = begin_reading(database, study, trial=5, n_models=1, again=True)
    end_reading(database, study, first, {"accuracy": 0.75})

    found = list_readings(database, study)
    assert [reading.number for reading in found] == [1, 2]
    assert [reading.metrics for reading in found] == [{"accuracy": 0.75}, {}]
    assert found[1] == second
    assert database.storage.get_study_user_attrs(study.study_id).keys() == {"tuner:test_readings"}


def test_readings_belong_to_a_study_and_go_with_it(database: Database, toy: StudyMaker) -> None:
    study, other = (create_study(database, toy(f"name={name}")).study for name in ("a", "b"))
    begin_reading(database, study, trial=0, n_models=1, again=False)

    assert list_readings(database, other) == ()
    delete_study(database, study)
    with pytest.raises(StudyNotFoundError):
        begin_reading(database, study, trial=0, n_models=1, again=False)
    assert list_readings(database, create_study(database, toy("name=a")).study) == ()
