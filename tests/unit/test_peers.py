"""The benchmark against peers, with contestants that train nothing."""

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from optuna.trial import FixedTrial

from tests.benchmarks.peers.__main__ import Harness
from tests.benchmarks.peers.contest import ContestError, Time, run
from tests.benchmarks.peers.data import lay_out, lay_out_test
from tests.benchmarks.peers.field import CONTESTANTS, Contestant, turns
from tests.benchmarks.peers.measured import Measurement, Results, Setting
from tests.benchmarks.peers.ours import Follower, command
from tests.benchmarks.peers.protocol import VALIDATION, Job, Journal, read_journal
from tests.benchmarks.peers.standings import standings
from tests.benchmarks.reviews import make_up_reviews
from tests.large_study import fill
from tuner.config import DataConfig, StudyConfig
from tuner.data.prepare import prepare
from tuner.domain import Choice, Range
from tuner.results import learning_curves, trials
from tuner.storage import Database
from tuner.study_file import load_study_file

SETTING = Setting(reviews="abc", n_reviews=60, words=50, minutes=8.0)
REVIEWS = make_up_reviews(60)


def contestant(part: str) -> Contestant:
    return Contestant(
        name=part, title=f"the {part} one", module="tests.fake_contestant", words=(part,)
    )


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        table=1,
        journal=str(tmp_path / "journal.jsonl"),
        began=0.0,
        data=str(tmp_path),
        scratch=str(tmp_path),
        words=50,
        seed=0,
        cores=1,
    )


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(REVIEWS, None, setting=SETTING, folder=tmp_path / "out")


def run_until_it_tells(who: Contestant, job: Job, records: Path) -> Time:
    """Give it as much time as it needs to start here."""
    for seconds in (1.0, 4.0, 16.0):
        with suppress(ContestError):
            return run(who, job, seconds=seconds, records=records)
    return run(who, job, seconds=60.0, records=records)


def test_a_contestant_that_is_killed_loses_nothing_and_leaves_nobody(
    job: Job, tmp_path: Path
) -> None:
    found = run_until_it_tells(contestant("endless"), job, tmp_path)

    assert [each.value for each in found.course.evaluations] == [0.6]
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_contestant_that_ends_early_has_told_all_with_the_time_since_its_start(
    job: Job, tmp_path: Path
) -> None:
    found = run(contestant("quick"), job, seconds=60, records=tmp_path)

    assert [each.value for each in found.course.evaluations] == [0.6, 0.75, 0.5]
    assert (found.pick.value, found.pick.epoch) == (0.75, 2)
    assert found.pick.params == {"units": 64, "layers": 1}
    assert (found.course.count("complete"), found.course.count("pruned")) == (1, 1)
    assert all(0 < each.seconds < found.seconds for each in found.course.evaluations)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("broken", "told of 1 evaluations and ended with exit code 3(?s:.)*the roof is on fire"),
        ("silent", "told of 0 evaluations and ended with exit code 0"),
    ],
)
def test_a_contestant_that_fails_is_shown_with_its_words_and_not_measured(
    harness: Harness, part: str, told: str
) -> None:
    with pytest.raises(ContestError, match=told):
        harness.measure(contestant(part), 1, 0)

    assert not harness.results.of(1, SETTING)


def test_what_was_measured_is_not_measured_again(harness: Harness, tmp_path: Path) -> None:
    first = harness.measure(contestant("quick"), 1, 2)
    again = Harness(REVIEWS, None, setting=SETTING, folder=tmp_path / "out")
    (tmp_path / "out/1-quick-2/journal.jsonl").unlink()

    assert again.measure(contestant("quick"), 1, 2) == first
    assert not (tmp_path / "out/1-quick-2/journal.jsonl").exists()
    assert again.results.get(2, "quick", 2, SETTING) is None
    assert again.results.get(1, "quick", 2, replace(SETTING, words=60)) is None


def test_of_two_measurements_of_the_same_the_later_one_counts(tmp_path: Path) -> None:
    results = Results(tmp_path / "measured.jsonl")
    results.add(measured("optuna", 0, [(60, 0.8)]))
    results.add(measured("optuna", 0, [(60, 0.8)], test_accuracy=0.79))

    (read,) = Results(tmp_path / "measured.jsonl").of(1, SETTING)

    assert read.test_accuracy == 0.79
    assert read == results.get(1, "optuna", 0, SETTING)


def test_lines_of_a_journal_are_read_by_time_and_half_a_line_is_not(job: Job) -> None:
    late, early = Journal(replace(job, began=-1e6)), Journal(replace(job, began=0.0))
    late.evaluated("b", epoch=1, value=0.7, params={})
    early.evaluated("a", epoch=1, value=0.7, params={"layers": 2})
    with Path(job.journal).open("a") as file:
        file.write('{"seconds": 1, "trial": "c", "state": "comp')

    course = read_journal(Path(job.journal))

    assert [each.trial for each in course.evaluations] == ["a", "b"]
    assert course.pick == course.evaluations[0]  # of equals the first
    assert not course.endings


def test_everybody_has_a_turn_with_one_seed_before_the_next_seed() -> None:
    order = [(seed, table, who.name) for seed, table, who in turns(CONTESTANTS, (1, 2), 2)]

    assert len(order) == len(set(order)) == 2 * (7 + 6)
    assert order[0] == (0, 1, "article")
    assert order[6] == (0, 1, "tuner-own")
    # Whoever is first finds the machine's caches empty: that is another one each time.
    assert order[7] == (0, 2, "optuna")
    assert order[12] == (0, 2, "article")
    assert [order[place] for place in (13, 20)] == [(1, 1, "bayesian"), (1, 2, "hyperband")]
    assert [seed for seed, _, _ in order] == 13 * [0] + 13 * [1]


def test_all_get_the_split_that_tuner_makes_of_the_same_file(tmp_path: Path) -> None:
    lay_out(tmp_path, REVIEWS, seed=3)
    lay_out_test(tmp_path, make_up_reviews(8, seed=9))
    parts = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("reviews", "training", "validation", "test")
    }
    data = prepare(
        DataConfig(source="reviews.jsonl", validation=VALIDATION), seed=3, folder=tmp_path
    )

    assert (len(parts["training"]), len(parts["validation"])) == (48, 12)
    assert [row["label"] for row in parts["training"]] == data.train.labels.tolist()
    assert [row["label"] for row in parts["validation"]] == data.validation.labels.tolist()
    lengths = [len(row["text"].split()) for row in parts["validation"]]
    assert lengths == data.validation.lengths.tolist()
    assert {row["label"] for row in parts["test"]} == {0, 1}


def test_ours_tunes_what_the_peers_tune_and_otherwise_its_own_space(job: Job) -> None:
    lay_out(Path(job.data), REVIEWS, seed=0)

    def config_of(kind: str) -> StudyConfig:
        words = command(kind, job, Path(job.scratch) / "tuner.db")
        settings = [word for before, word in itertools.pairwise(words) if before == "--set"]
        return load_study_file(Path(words[4]), settings)[0]

    peers, own = config_of("peers"), config_of("own")
    recommended = load_study_file(Path("studies/imdb.toml"), [])[0]

    tuned = {p.name for p in peers.space.parameters if isinstance(p.domain, Range | Choice)}
    assert tuned == {"units", "learning_rate", "batch_size", "layers", "dropout"}
    point = peers.space.suggest(FixedTrial(peers.space.default_point()))
    assert (point.pooling, point.bidirectional, point.max_length) == ("last", False, 50)
    assert [p for p in own.space.parameters if p.name != "max_length"] == [
        p for p in recommended.space.parameters if p.name != "max_length"
    ]
    assert own.space.suggest(FixedTrial(own.space.default_point())).max_length == 50
    assert own.budget.epochs == peers.budget.epochs == recommended.budget.epochs
    assert own.data.vocabulary == peers.data.vocabulary
    assert (own.sampler, own.pruner) == (peers.sampler, peers.pruner)


def test_ours_is_followed_through_the_views_of_its_database(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "tuner.db"
    follower = Follower(path, Journal(job))
    follower.look()  # there is nothing yet
    with Database.open(f"sqlite:///{path}", create=True) as database:
        follower.look()  # there is no study yet
        study = fill(database, n_trials=12, n_reports=9, n_running=2, name="peers")
        follower.look()
        follower.look()
        course = read_journal(Path(job.journal))
        curves, rows = learning_curves(database, study), trials(database, study)

    told = {(int(each.trial), each.epoch): each.value for each in course.evaluations}
    assert len(told) == len(course.evaluations)  # each once
    reported = {
        (trial, step // 4): value
        for trial, curve in curves.items()
        for step, value in curve
        if step % 4 == 0
    }
    assert told == pytest.approx(reported, abs=1e-6)
    params = {int(each.trial): each.params for each in course.evaluations}
    assert params == {row.number: row.params for row in rows if row.number in params}
    assert {int(each.trial): each.state for each in course.endings} == {
        row.number: row.state for row in rows if row.state != "running"
    }


def measured(
    name: str,
    seed: int,
    evaluations: Sequence[tuple[float, float]],
    *,
    pruned: int = 0,
    test_accuracy: float | None = None,
) -> Measurement:
    return Measurement(
        table=1,
        contestant=name,
        seed=seed,
        setting=SETTING,
        seconds=480.0,
        evaluations=tuple(evaluations),
        trials={"complete": 3, "pruned": pruned, "failed": 0},
        params={"units": 64},
        epoch=2,
        test_accuracy=test_accuracy,
        versions={"keras": "3"},
    )


def test_a_measurement_tells_the_best_so_far_and_when_an_accuracy_was_reached() -> None:
    one = measured("optuna", 0, [(50, 0.7), (100, 0.6), (200, 0.8)])

    assert math.isnan(one.best_at(49))
    assert (one.best_at(60), one.best_at(150), one.final) == (0.7, 0.7, 0.8)
    assert (one.seconds_to(0.65), one.seconds_to(0.8), one.seconds_to(0.81)) == (50, 200, math.inf)


def test_the_table_has_medians_and_the_time_until_the_best_peer_is_reached() -> None:
    peer = [[(50, 0.7), (400, 0.80)], [(55, 0.7), (300, 0.82)], [(65, 0.7), (440, 0.81)]]
    weak = [[(70, 0.78)], [(70, 0.79)], [(70, 0.815)]]
    ours = [[(20, 0.75), (40, 0.80)], [(20, 0.75), (60, 0.83)], [(20, 0.75), (110, 0.90)]]
    measurements = [
        *(measured("bayesian", n, told, test_accuracy=0.8) for n, told in enumerate(peer)),
        *(measured("optuna", n, told, pruned=n) for n, told in enumerate(weak)),
        *(measured("tuner", n, told) for n, told in enumerate(ours)),
    ]

    title, about, packages, _, heads, *lines = standings(1, CONTESTANTS, measurements, SETTING)

    assert title.startswith("Everyone as its users write it")
    assert "60 reviews, 50 words, 8 minutes" in about
    assert about.endswith("Best peer: KerasTuner, Bayesian.")
    assert packages == "keras 3"
    assert heads.split()[:8] == ["1", "min", "2", "min", "4", "min", "8", "min"]
    cells = [line.split("  ") for line in lines]
    rows = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in cells}
    assert rows == {
        # At 1 minute one of three seeds has an evaluation: the median has none.
        "plain Optuna": [
            *("-", "0.790", "0.790", "0.790 (0.780-0.815)", "-", "4", "1"),
            *("never (but 1 of 3)", "-", "3"),
        ],
        "KerasTuner, Bayesian": [
            *("0.700", "0.700", "0.700", "0.810 (0.800-0.820)", "0.800 (0.800-0.800)", "3", "0"),
            *("400", "1.00", "3"),
        ],
        "tuner, the peers' space": [
            *("0.800", "0.830", "0.830", "0.830 (0.800-0.900)", "-", "3", "0"),
            *("60", "0.20", "3"),
        ],
    }


def test_a_table_without_peers_says_so() -> None:
    ours = measured("tuner", 0, [(9, 0.8)])
    _, about, _, _, _, line = standings(1, CONTESTANTS, [ours], SETTING)

    assert about.endswith("Best peer: none measured.")
    assert line.endswith(
        "0.800  0.800 (0.800-0.800)     -       3       0                     -            -      1"
    )


def test_measurements_of_different_packages_are_told() -> None:
    old = measured("tuner", 0, [(9, 0.8)])
    new = dataclasses.replace(measured("optuna", 0, [(9, 0.8)]), versions={"keras": "4"})

    _, _, packages, *_ = standings(1, CONTESTANTS, [old, new], SETTING)

    assert packages == "keras 3 and 4 (not the same for all: measure again)"
