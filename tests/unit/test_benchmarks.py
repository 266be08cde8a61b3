"""What the benchmarks of training compute, not what they measure."""

import statistics
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.benchmarks.ablation import Run, table
from tests.benchmarks.contestant import ARTICLE_PARAMS
from tests.benchmarks.machine_limit import flop_per_token
from tests.benchmarks.pruning import effect, effects, whole
from tests.benchmarks.reviews import make_up_reviews, read_reviews, write_reviews
from tests.benchmarks.search_tables import halving
from tests.benchmarks.spans import EVALUATE, REPORT, STEP, WAIT, Clock, Span
from tests.benchmarks.step_profile import group_of
from tests.benchmarks.training_speed import parse_params, spread
from tests.benchmarks.trial_profile import Course
from tests.recorded import IMDB, read_recorded, write_recorded
from tuner.domain import Range
from tuner.params import GRUParams
from tuner.simulate import Candidate, Recording
from tuner.space import Parameter, Space

ARTICLE = GRUParams(**ARTICLE_PARAMS)


def test_a_review_of_500_words_takes_the_articles_net_590_mflop() -> None:
    assert 500 * flop_per_token(ARTICLE) == pytest.approx(590e6, rel=0.001)


def test_a_second_direction_doubles_the_flop_of_one_layer_and_more_than_doubles_those_of_two() -> (
    None
):
    one = ARTICLE.model_copy(update={"layers": 1})
    both_ways = {"bidirectional": True}

    assert flop_per_token(one.model_copy(update=both_ways)) == 2 * flop_per_token(one)
    assert flop_per_token(ARTICLE.model_copy(update=both_ways)) > 2 * flop_per_token(ARTICLE)


def test_made_up_reviews_are_as_long_as_imdbs_and_half_of_them_positive() -> None:
    reviews = make_up_reviews(2_000)
    lengths = [len(text.split()) for text in reviews.texts]

    assert statistics.median(lengths) == pytest.approx(175, rel=0.1)
    assert statistics.fmean(lengths) == pytest.approx(235, rel=0.1)
    assert reviews.labels.count("pos") == 1_000
    assert make_up_reviews(2_000) == reviews


def test_reviews_are_read_as_they_were_written(tmp_path: Path) -> None:
    reviews = make_up_reviews(20)
    write_reviews(tmp_path / "reviews.jsonl", reviews)

    assert read_reviews(tmp_path / "reviews.jsonl", 100) == reviews
    assert read_reviews(tmp_path / "reviews.jsonl", 5).texts == reviews.texts[:5]


def test_params_are_read_as_in_a_study_file_and_unknown_ones_refused() -> None:
    words = ["units=64", "bidirectional=true", "pooling=mean_max", "learning_rate=2e-3"]

    assert parse_params(words) == {
        "units": 64,
        "bidirectional": True,
        "pooling": "mean_max",
        "learning_rate": 2e-3,
    }
    with pytest.raises(ValidationError, match="unit"):
        parse_params(["unit=64"])


def test_a_spread_is_told_with_its_median() -> None:
    assert spread([2.31, 2.0, 2.2], 1) == "2.2 (2.0-2.3)"


def test_a_change_is_compared_on_the_same_seeds_and_chance_is_named() -> None:
    def run(change: str, seed: int, accuracy: float, loss: float, seconds: float) -> Run:
        return Run(change=change, seed=seed, accuracy=accuracy, loss=loss, seconds=seconds)

    runs = [run("", seed, 0.8 + 0.01 * seed, 0.5, 10) for seed in range(3)]
    runs += [run("units=9", seed, 0.82 + 0.01 * seed, 0.4 + 0.1 * seed, 20) for seed in range(3)]
    runs += [run("units=9", 3, 0.1, 0.1, 0.1)]  # no default point on its seed yet

    default, change = table(runs)

    assert default == "default point: 0.8100, 0.5000"
    assert "accuracy +0.0200 +- 0.0000 (better)" in change
    assert "loss +0.0000 +- 0.0577 (not resolved)" in change
    assert "time x 2.00 (3 seeds)" in change


def test_a_span_owns_the_time_that_no_span_inside_it_owns() -> None:
    clock = Clock()
    inner = clock.timed(STEP, lambda: time.sleep(0.02))
    outer = clock.timed(WAIT, lambda: (inner(), inner()))
    outer()

    first, second, whole = (Span(**span) for span in clock.take())

    assert [first.name, second.name, whole.name] == [STEP, STEP, WAIT]
    inside = first.own + second.own
    assert whole.own == pytest.approx(whole.ended - whole.began - inside)
    assert inside >= 0.04
    assert clock.take() == []


def test_the_parts_of_a_trial_add_up_to_its_time_and_evaluations_to_their_share() -> None:
    def span(name: str, began: float, seconds: float) -> Span:
        return Span(name=name, began=began, ended=began + seconds, own=seconds)

    spans = [span(STEP, 11, 5), *(span(STEP, 16 + i, 1) for i in range(7))]
    spans += [span(EVALUATE, 25, 3), span(EVALUATE, 28, 0.5), span(EVALUATE, 29, 0.5)]
    spans += [span(EVALUATE, 30, 2), span(REPORT, 32, 0.5)]
    course = Course(name="used", began=10, ended=40, spans=tuple(spans), peak_mib=900)
    parts = dict(course.parts())

    assert sum(parts.values()) == pytest.approx(30)
    assert parts["first step, with its tracing"] == 5
    assert parts["other steps"] == 7
    assert parts["others inside the first epoch"] == 1
    assert parts["evaluate at the ends of epochs"] == 2
    assert course.to_first_step == 6
    # Three evaluations of 0.5 s each, beside eight steps of 1 s each.
    assert course.share_inside(8) == pytest.approx(3 * 0.5 / 8)


@pytest.mark.parametrize(
    ("node", "group"),
    [
        ("gru_1/while/body/_1/BiasAdd:_FusedMatMul", "products of matrices, a step of the loop"),
        ("gradient_tape/gru_1/MatMul/MatMul:MatMul", "products of matrices, all words at once"),
        ("adam/Pow:Pow", "the optimizer's update"),
        ("UnsortedSegmentSum:UnsortedSegmentSum", "word vectors: look-up and gradient"),
        ("gru_1/while/body/_1/split:SplitV", "moving numbers, in the loops"),
        ("gru_1/transpose:Transpose", "moving numbers, outside of them"),
        ("gru_1/while/body/_1/Sigmoid:Sigmoid", "gates and all other arithmetic"),
    ],
)
def test_each_operation_belongs_to_a_group(node: str, group: str) -> None:
    assert group_of(node) == group


def losses(*curves: list[float]) -> Recording:
    """Losses after each of four epochs."""
    return Recording(
        name="made up",
        space=Space(
            parameters=(Parameter(name="dropout", domain=Range(low=0.0, high=0.9), when={}),),
        ),
        direction="minimize",
        epochs=4,
        candidates=tuple(
            Candidate(
                params={"dropout": 0.9 * i / len(curves)},
                reports=tuple((4 * (k + 1), loss) for k, loss in enumerate(curve)),
            )
            for i, curve in enumerate(curves)
        ),
        best=0.0,
        poor=1.0,
        scale="",
    )


def test_a_pruner_that_ends_nobody_loses_and_saves_nothing() -> None:
    recording = whole(losses([0.5, 0.4, 0.3, 0.2], [0.9, 0.9], [0.6, 0.5, 0.4, 0.3]))
    assert len(recording.candidates) == 2
    found = effect(recording, "none", n_workers=1, seed=0)
    assert (found.loss, found.saved, found.top_ended) == (0.0, 1.0, 0)


def test_what_a_pruner_ends_wrongly_is_counted_and_what_it_loses() -> None:
    late = [0.9, 0.9, 0.9, 0.1]  # the best, and the worst until its last epoch
    found = effect(
        losses(late, *([0.5 - i / 100] * 4 for i in range(29))), "asha", n_workers=30, seed=0
    )
    assert found.loss == pytest.approx(0.22 - 0.1)
    assert 1 <= found.top_ended <= 4
    assert found.saved > 1.5


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    recording = losses([0.5, 0.4, 0.3, 0.2], [0.9, 0.9])
    write_recorded(recording, tmp_path / "recording.jsonl")
    assert read_recorded(tmp_path / "recording.jsonl") == recording


@pytest.mark.parametrize("n_workers", [1, 8])
def test_on_real_trainings_the_default_rule_saves_half_and_loses_little(n_workers: int) -> None:
    recording = whole(read_recorded(IMDB))
    n_trials = len(recording.candidates)
    assert n_trials >= 60

    found = effects(recording, "asha", n_workers=n_workers, n_orders=20, n_trials=n_trials)

    # A value of theirs has a standard error of 0.01; the ten best lie within half of that.
    assert statistics.fmean(order.loss for order in found) <= 0.002
    assert statistics.fmean(order.saved for order in found) >= 2


def test_plain_halving_reports_as_it_goes() -> None:
    one = losses([0.8, 0.6, 0.4, 0.2])
    assert halving(one, 0, n_workers=1, costs=(0.25, 0.5, 1.0, 9.0)) == (0.8, 0.6, 0.2, 0.2)
