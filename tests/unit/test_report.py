"""The report's words, colours and axes."""

import itertools
import json
import math
import re
from pathlib import Path

import pytest

from tuner.config import StudyConfig
from tuner.report import plot, words
from tuner.report.toml import study_file_text
from tuner.study_file import load_study_file

STYLES = Path(plot.__file__).parent / "templates" / "page.css"


@pytest.mark.parametrize("path", sorted(Path("studies").glob("*.toml")), ids=lambda path: path.stem)
def test_the_study_file_in_a_report_makes_the_same_study(path: Path, tmp_path: Path) -> None:
    config = load_study_file(path)[0]
    copy = tmp_path / "copy.toml"
    copy.write_text(study_file_text(config))

    again = load_study_file(copy)[0]

    assert again.model_copy(update={"folder": config.folder}) == config


def test_text_of_any_kind_survives_in_the_study_file(tmp_path: Path) -> None:
    odd = 'é "quoted" \\ \x01\x7f 😀.csv'
    config = StudyConfig.model_validate(
        {
            "name": "odd",
            "data": {"source": odd},
            "budget": {"trials": 1, "epochs": 1, "hours": 1e-05},
            "space": {"units": {"choices": [2, 4], "when": {"layers": [1]}}, "layers": [1, 2]},
            "folder": tmp_path,
        }
    )
    (tmp_path / "odd.toml").write_text(study_file_text(config))

    assert load_study_file(tmp_path / "odd.toml")[0] == config


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_from_its_background() -> None:
    named = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", STYLES.read_text()))

    for text, ground in itertools.product(("ink", "muted", "link"), ("paper", "shade")):
        assert contrast(named[text], named[ground]) >= 4.5, (text, ground)
    assert (named["ink"], named["muted"], named["paper"]) == (plot.INK, plot.MUTED, plot.PAPER)


def test_marks_in_plots_stand_out_and_differ_in_more_than_colour() -> None:
    for state, colour in plot.COLOURS.items():
        # White text lies on the bars.
        assert contrast(colour, plot.PAPER) >= 4.5, state
    assert len(set(plot.SYMBOLS.values())) == len(plot.SYMBOLS)


def config(metric: str = "val_accuracy") -> StudyConfig:
    settings = (f"metric={metric}",)
    return load_study_file(Path("studies/quickstart.toml"), settings)[0]


def test_one_value_that_went_wrong_does_not_hide_all_others() -> None:
    losses = [0.5 + 0.01 * i for i in range(30)] + [1e9]

    (low, high), outside = plot.value_range(losses, config("val_loss"))

    assert low < 0.5
    assert high < 10
    assert outside == 1


def test_the_good_end_of_the_values_is_always_seen() -> None:
    accuracies = [0.5] * 50 + [0.99]

    (low, high), outside = plot.value_range(accuracies, config())

    assert high > 0.99
    assert low < 0.5
    assert outside == 0


def test_equal_values_have_an_axis_too() -> None:
    (low, high), _ = plot.value_range([0.0, 0.0], config())

    assert low < 0 < high


def test_labels_show_tags_instead_of_obeying_them() -> None:
    assert plot.safe("<b>&") == "&lt;b&gt;&amp;"


def test_what_is_not_finite_is_a_gap() -> None:
    assert [plot.finite(value) for value in (0.5, math.nan, -math.inf)] == [0.5, None, None]
    json.dumps(plot.gapped([[1, 2], [3]]), allow_nan=False)
    assert plot.gapped([[1, 2], [3]]) == [1, 2, None, 3, None]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (1e7, "2,777 h 46 min")],
)
def test_durations_are_written_in_two_units(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.91239, "0.9124"), (1.0, "1"), (0.0001234, "0.000123"), (1e12, "1e+12"), (math.inf, "inf")],
)
def test_numbers_are_short(value: float, said: str) -> None:
    assert words.number(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(True, "true"), (0.6, "0.6"), (0.00334901, "0.003349"), (64, "64")]
)
def test_settings_read_as_in_a_study_file(value: bool | float, said: str) -> None:
    assert words.setting(value) == said


def test_small_shares_keep_a_digit() -> None:
    said = [words.share(n, 1000) for n in (0, 4, 120, 1000)]

    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in said] == [
        *("0 %", "0.4 %", "12 %", "100 %")
    ]
