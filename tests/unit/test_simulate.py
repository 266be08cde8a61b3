"""Recorded trainings replayed: what is spent, in which order, what is chosen, what is told."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands import ask
from tuner.config import PrunerName, SamplerName
from tuner.domain import Choice, Fixed, Point, Range
from tuner.errors import InputError
from tuner.simulate import Candidate, Recording, Replay, Replayed, read_table, replay, table_files
from tuner.simulate.nearest import Nearest
from tuner.simulate.regret import interval
from tuner.space import Parameter, Space

LINE = Space(parameters=(Parameter(name="x", domain=Range(low=0.0, high=1.0), when={}),))


def recorded(*curves: Sequence[float], best: float = 0.0, poor: float = 1.0) -> Recording:
    """Losses at the end of each epoch, of trainings that lie on a line."""
    return Recording(
        name="made up",
        space=LINE,
        direction="minimize",
        epochs=max(map(len, curves)),
        candidates=tuple(
            Candidate(
                params={"x": i / max(1, len(curves) - 1)},
                reports=tuple((4 * (k + 1), loss) for k, loss in enumerate(curve)),
            )
            for i, curve in enumerate(curves)
        ),
        best=best,
        poor=poor,
        scale="",
    )


def run(
    recording: Recording,
    *costs: float,
    n_workers: int = 1,
    pruner: PrunerName = "none",
    sampler: SamplerName = "random",
    seed: int = 0,
) -> Replayed:
    asked = Replay(sampler=sampler, pruner=pruner, n_workers=n_workers, seed=seed, costs=costs)
    return replay(recording, asked)


# --- cost and order ----------------------------------------------------------------------------


def test_a_report_counts_at_the_cost_of_all_that_led_to_it() -> None:
    alike = recorded([0.8, 0.6, 0.4, 0.2], [0.8, 0.6, 0.4, 0.2])

    one = run(alike, 0.2, 0.25, 0.49, 0.5, 1.0, 1.5, 9.0)

    assert one.regrets == (1.0, 0.8, 0.8, 0.6, 0.2, 0.2, 0.2)
    assert (one.cost, one.n_trials, one.is_exhausted) == (2.0, 2, True)


def test_two_workers_share_the_cost_and_report_in_turn() -> None:
    alike = recorded([0.8, 0.6, 0.4, 0.2], [0.8, 0.6, 0.4, 0.2])

    two = run(alike, 0.25, 0.5, 0.75, 1.0, 1.75, 2.0, n_workers=2)

    assert two.regrets == (0.8, 0.8, 0.6, 0.6, 0.2, 0.2)


def test_more_workers_than_trainings_wait_in_vain() -> None:
    assert run(recorded([0.8, 0.2], [0.8, 0.2]), math.inf, n_workers=5).cost == 2.0


def test_what_was_looked_at_last_is_what_ends_a_replay() -> None:
    result = run(recorded(*[[0.8, 0.2]] * 10), 1.0)
    assert result.cost == 1.5  # the report after it
    assert not result.is_exhausted


def test_values_beyond_the_ends_of_the_scale_have_regret_0_and_1() -> None:
    assert run(recorded([3.0, 2.0], [3.0, 2.0]), 1.0).regrets == (1.0,)
    assert run(recorded([-1.0, -1.0], [-1.0, -1.0]), 1.0).regrets == (0.0,)


def test_the_best_complete_trial_is_told_beside_the_best_report() -> None:
    result = run(recorded([0.3, 0.5], [0.4, 0.6]), math.inf)
    assert result.final_regret == 0.3  # of its best epoch, as a worker's trial


# --- endings -----------------------------------------------------------------------------------


def test_a_diverged_training_costs_what_it_took_and_gives_no_value() -> None:
    recording = recorded([0.9, math.nan], [0.9, math.inf], [0.8, 0.7, 0.6, 0.5])
    result = run(recording, math.inf)
    assert result.cost == 2.0  # twice a half, and a whole one
    assert (result.regrets, result.final_regret) == ((0.5,), 0.5)


def test_the_rule_ends_trials_and_saves_their_cost() -> None:
    falling = [[0.9 - 0.1 * i, 0.5 - 0.05 * i] for i in range(8)]  # two epochs: one rung
    result = run(recorded(*falling), math.inf, pruner="asha")

    assert result.is_exhausted
    assert result.n_trials == 8
    assert 4.5 <= result.cost < 8.0
    assert result.final_regret == pytest.approx(0.15)  # the best was not ended


def test_who_passed_a_rung_first_ends_at_the_next_report_when_others_overtook_it() -> None:
    good, bad = [0.5 - epoch / 100 for epoch in range(27)], [0.9] * 27  # rungs at 1, 3 and 9
    curves = [good, good, good, bad, good, good, good, good]
    costs = {
        run(recorded(*curves), math.inf, pruner="asha", n_workers=8, seed=seed).cost
        for seed in range(12)
    }
    # The bad one is the first to report, and ends after its second report; or it is not.
    assert sorted(costs) == pytest.approx([7 + 1 / 27, 7 + 2 / 27])


def test_a_training_that_was_ended_when_it_was_recorded_ends_there() -> None:
    result = run(recorded([0.5, 0.4, 0.3, 0.2], [0.6]), math.inf)
    assert (result.cost, result.final_regret) == (1.25, 0.2)
    assert result.completed == (0,)


# --- what is chosen ----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_and_another_seed_another_order() -> None:
    rng = np.random.default_rng(0)
    recording = recorded(*rng.random((30, 4)).tolist())
    costs = (0.5, 1.0, 2.0, 4.0)

    def regrets(seed: int) -> tuple[float, ...]:
        return run(recording, *costs, sampler="tpe", pruner="asha", n_workers=4, seed=seed).regrets

    assert regrets(1) == regrets(1)
    assert len({regrets(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize("n_workers", [1, 4])
def test_tpe_finds_the_good_end_of_a_line_sooner_than_chance(n_workers: int) -> None:
    line = recorded(*[[abs(i - 80) / 100] for i in range(101)])  # one epoch, the best at 0.8

    def mean(sampler: SamplerName) -> float:
        results = [
            run(line, 25.0, sampler=sampler, n_workers=n_workers, seed=seed) for seed in range(6)
        ]
        return float(np.mean([result.regrets[0] for result in results]))

    assert mean("tpe") < 0.5 * mean("random")


SPACE = Space(
    parameters=(
        Parameter(name="learning_rate", domain=Range(low=1e-4, high=1.0, log=True), when={}),
        Parameter(name="layers", domain=Choice(choices=(1, 2)), when={}),
        Parameter(name="layer_dropout", domain=Range(low=0.0, high=0.5), when={"layers": (2,)}),
        Parameter(name="units", domain=Fixed(value=8), when={}),
    )
)


@pytest.mark.parametrize(
    ("point", "free", "expected"),
    [
        ({"learning_rate": 2e-4, "layers": 1}, "111", 0),
        ({"learning_rate": 0.009, "layers": 1}, "111", 0),  # half a cube away, and the other more
        ({"learning_rate": 0.9, "layers": 2, "layer_dropout": 0.3}, "111", 1),
        ({"learning_rate": 0.9, "layers": 2, "layer_dropout": 0.1}, "111", 2),
        ({"learning_rate": 0.9, "layers": 2, "layer_dropout": 0.1}, "110", 1),
        ({"learning_rate": 0.9, "layers": 2, "layer_dropout": 0.1}, "100", 0),
    ],
)
def test_the_nearest_in_the_unit_cube_is_chosen_of_those_that_are_free(
    point: Point, free: str, expected: int
) -> None:
    points: list[Point] = [
        {"learning_rate": 1e-4, "layers": 1},
        {"learning_rate": 1.0, "layers": 2, "layer_dropout": 0.5},
        {"learning_rate": 1.0, "layers": 2, "layer_dropout": 0.0},
    ]
    mask = np.array([mark == "1" for mark in free])
    assert Nearest(SPACE, points).find(point, mask) == expected


def test_an_interval_holds_the_mean_and_is_the_same_each_time() -> None:
    values = [0.1, 0.2, 0.4, 0.3]
    low, high = interval(values)
    assert 0.1 <= low < 0.25 < high <= 0.4
    assert interval(values) == (low, high)
    assert interval([0.3]) == (0.3, 0.3)


# --- tables ------------------------------------------------------------------------------------


def write_table(path: Path, n: int = 6, other: Mapping[str, Any] | None = None) -> Path:
    rng = np.random.default_rng(0)
    losses = np.concatenate([np.full((n, 1), 0.01), 0.7 - 0.5 * rng.random((n, 5))], axis=1)
    arrays = {
        "names": np.array(["learning_rate", "beta"]),
        "configs": np.stack([10.0 ** np.linspace(-5, 0, n), np.linspace(0.1, 0.9, n)], axis=1),
        "valid": losses.astype(np.float32),
    } | dict(other or {})
    kept: dict[str, Any] = {key: value for key, value in arrays.items() if value is not None}
    np.savez(path, **kept)
    return path


def test_a_table_is_read_without_its_first_point_and_until_it_diverges(tmp_path: Path) -> None:
    losses = np.full((3, 4), 0.6)
    losses[0, 0] = 0.001
    losses[1, 2:] = [np.nan, 0.1]
    losses[2, 3] = 0.4
    table = read_table(write_table(tmp_path / "t.npz", n=3, other={"valid": losses}))

    assert [c.reports for c in table.candidates] == [
        ((4, 0.6), (8, 0.6), (12, 0.6)),
        ((4, 0.6), (8, pytest.approx(math.nan, nan_ok=True))),
        ((4, 0.6), (8, 0.6), (12, 0.4)),
    ]
    assert (table.name, table.epochs, table.direction) == ("t", 3, "minimize")
    assert (table.best, table.poor) == (0.4, math.log(2))
    rate, beta = (parameter.domain for parameter in table.space.parameters)
    assert isinstance(rate, Range)
    assert (rate.high, rate.log) == (1.0, True)
    assert rate.low == pytest.approx(1e-5)
    assert beta == Range(low=0.1, high=0.9, log=False)


def test_a_folder_gives_its_tables_by_name(tmp_path: Path) -> None:
    for name in ("b.npz", "a.npz", "c.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in table_files(tmp_path)] == ["a.npz", "b.npz"]
    assert table_files(tmp_path / "b.npz") == [tmp_path / "b.npz"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"Expected a folder with \.npz files"):
        table_files(tmp_path / "none")


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("it-ran"),))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"valid": np.array([_Harmful()])}, "not a table of plain arrays: Object arrays"),
        ({"valid": None}, "lacks valid. Expected the arrays names, configs, valid"),
        ({"configs": None, "names": None}, "lacks names, configs"),
        ({"valid": np.full((4, 6), 0.5)}, r"shapes do not fit.*Received configs \(6, 2\)"),
        ({"valid": np.full((6, 2), 0.5)}, "at least 2 trainings and 3 points"),
        ({"names": np.array(["one"])}, "1 names"),
        ({"valid": np.full(6, 0.5)}, r"valid: expected numbers in rows and columns.*shape \(6,\)"),
        ({"valid": np.full((6, 5), "x")}, "valid: expected numbers"),
        ({"configs": np.full((6, 2), np.nan)}, "configs holds a value that is not finite"),
        ({"valid": np.full((6, 5), 0.7)}, "best validation loss is 0.7000. Expected one below"),
        ({"valid": np.full((6, 5), np.nan)}, "best validation loss is inf"),
    ],
)
def test_a_malformed_table_is_refused_with_the_reason(
    tmp_path: Path, other: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_table(tmp_path / "t.npz", other=other)
    with pytest.raises(InputError, match=reason):
        read_table(path)
    assert not Path("it-ran").exists()


@pytest.mark.parametrize("content", [b"", b"no table", b"\x80\x04N."])
def test_what_is_no_npz_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a table of plain arrays"):
        read_table(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_table(tmp_path / "nowhere.npz")


def test_a_grid_is_replayed_in_its_order_and_needs_an_end(tmp_path: Path) -> None:
    grid = Space(parameters=(Parameter(name="x", domain=Choice(choices=(0.0, 0.5, 1.0)), when={}),))
    three = replace(recorded([0.9], [0.2], [0.5]), space=grid)

    found = [run(three, 1, 2, 3, sampler="grid", seed=seed).regrets for seed in range(3)]

    assert found == [(0.9, 0.2, 0.2)] * 3
    with pytest.raises(InputError, match="has no end, and a grid runs each point"):
        run(recorded([0.9], [0.2]), 1, sampler="grid")


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_a_line_per_table_and_cost_the_same_from_any_number_of_processes(
    tmp_path: Path,
) -> None:
    paths = [write_table(tmp_path / f"{name}.npz") for name in ("a", "b")]
    words = ("simulate", tmp_path, "--workers", "2", "--seeds", "1", "--costs", "2,1")

    done = ask(*words, "--format", "json", storage=None)

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    asked = Replay(sampler="tpe", pruner="asha", n_workers=2, seed=0, costs=(1.0, 2.0))
    assert lines == [
        {
            "table": path.stem,
            "cost": cost,
            "workers": 2,
            "sampler": "tpe",
            "pruner": "asha",
            "regret": regret,
            "low": regret,
            "high": regret,
        }
        for path in paths
        for cost, regret in zip((1.0, 2.0), replay(read_table(path), asked).regrets, strict=True)
    ]
    assert "2 of 2 replays" in done.stderr
    assert "1 is ln 2" in done.stderr


def test_the_command_takes_other_samplers_and_pruners(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.npz")
    words = ("simulate", path, "--seeds", "1", "--sampler", "random", "--pruner", "median")
    done = ask(*words, storage=None)
    assert done.returncode == 0, done.stderr
    assert "random" in done.stdout
    assert "median" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--costs", "5,x"], "--costs: expected numbers above 0"),
        (["--costs", "0"], "--costs: expected numbers above 0"),
        (["--costs", "inf"], "--costs: expected numbers above 0"),
        (["--sampler", "tpi"], "--sampler: expected one of: tpe, "),
        (["--pruner", "asho"], "Received 'asho'. Did you mean `asha`?"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(
    tmp_path: Path, words: list[str], message: str
) -> None:
    done = ask("simulate", write_table(tmp_path / "a.npz"), *words, storage=None)
    assert done.returncode == 2
    assert message in done.stderr
