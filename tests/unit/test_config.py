"""A study file becomes a frozen configuration, and every mistake in it is explained."""

import tomllib
from pathlib import Path

import pytest

from tests.conftest import StudyMaker
from tuner.bucket import Bucket
from tuner.config import StudyConfig, differences
from tuner.domain import point_key
from tuner.errors import ConfigError
from tuner.metrics import METRICS
from tuner.params import GRUParams
from tuner.study_file import (
    DEFAULT_STORAGE,
    choose_artifacts,
    choose_storage,
    load_study_file,
    study_file_lines,
)

STUDIES = Path(__file__).parents[2] / "studies"
SHIPPED = sorted(STUDIES.glob("*.toml"))

#: Every kind of domain, every table.
FULL = """
name    = "full"
metric  = "val_loss"
seed    = 7
storage = "sqlite:///elsewhere.db"

[data]
source     = "reviews.csv"
text       = "review"
label      = "stars"
group      = "film"
test       = "test.csv"
examples   = 5000
vocabulary = 9_000
validation = 0.25

[budget]
trials = 40
epochs = 3

[space]
learning_rate     = { low = 3e-4, high = 1e-2, log = true }
units             = { low = 32, high = 128, step = 8 }
layers            = [1, 2]
pooling           = "last"
bidirectional     = [true, false]
embedding_dropout = { low = 0.0, high = 0.6, step = 0.1 }
layer_dropout     = { low = 0.0, high = 0.5, when = { layers = 2 } }
embedding         = { choices = [32, 64], when = { layers = [1, 2], bidirectional = true } }

[sampler]
name = "random"

[pruner]
name = "none"
"""


@pytest.fixture
def full(tmp_path: Path) -> StudyConfig:
    path = tmp_path / "full.toml"
    path.write_text(FULL)
    return load_study_file(path)[0]


def explanation(path: Path, *overrides: str) -> str:
    """What a person reads, without the file that stands before each line."""
    with pytest.raises(ConfigError) as caught:
        load_study_file(path, overrides)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return "\n".join(line.removeprefix(f"{path}: ") for line in lines)


# --- what is there -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_study_file_loads_and_teaches(path: Path) -> None:
    config, storage = load_study_file(path)
    assert config.name == path.stem
    assert storage is None
    assert config.notes() == ()
    assert StudyConfig.from_json(config.to_json()) == config
    assert path.read_text().startswith("# ")


def test_there_are_shipped_study_files() -> None:
    assert {path.stem for path in SHIPPED} >= {"article", "imdb", "quickstart"}


def test_the_article_has_exactly_the_27_points_of_its_grid() -> None:
    config, _ = load_study_file(STUDIES / "article.toml")
    points = {point_key(point) for point in config.space.points()}
    assert points == {
        point_key({"units": units, "learning_rate": rate, "batch_size": batch})
        for units in (64, 128, 256)
        for rate in (0.001, 0.01, 0.1)
        for batch in (32, 64, 128)
    }
    assert len(points) == config.space.size() == config.n_slots == config.budget.trials == 27
    assert config.sampler.name == "grid"


def test_the_article_trains_with_nothing_but_adam() -> None:
    config, _ = load_study_file(STUDIES / "article.toml")
    params = config.space.complete(config.space.filled({}))
    assert (params.schedule, params.clip_norm, params.weight_decay) == ("constant", 0.0, 0.0)


def test_what_a_file_leaves_out_has_a_default(toy_file: Path) -> None:
    toy_file.write_text('[data]\nsource = "demo"\n[budget]\ntrials = 2\nepochs = 1\n[space]\n')
    config, storage = load_study_file(toy_file)
    assert (config.name, config.metric, config.direction) == ("toy", "val_accuracy", "maximize")
    assert (config.seed, config.sampler.name, config.pruner.name) == (0, "tpe", "asha")
    assert config.folder == toy_file.parent
    assert storage is None


def test_every_value_of_a_file_arrives(full: StudyConfig) -> None:
    assert full.data.model_dump(exclude_none=True) == tomllib.loads(FULL)["data"]
    assert (full.name, full.metric, full.direction, full.seed) == (
        "full",
        "val_loss",
        "minimize",
        7,
    )
    assert (full.budget.trials, full.budget.epochs) == (40, 3)
    assert (full.sampler.name, full.pruner.name) == ("random", "none")
    assert [p.name for p in full.space.parameters][-2:] == ["layer_dropout", "embedding"]


def test_the_storage_of_a_file_is_handed_over_and_never_stored(tmp_path: Path) -> None:
    path = tmp_path / "full.toml"
    path.write_text(FULL)
    config, storage = load_study_file(path)
    assert storage == "sqlite:///elsewhere.db"
    assert "elsewhere" not in config.to_json()


def test_a_file_with_a_byte_order_mark_loads(toy_file: Path) -> None:
    toy_file.write_bytes(b"\xef\xbb\xbf" + toy_file.read_bytes())
    assert load_study_file(toy_file)[0].name == "toy"


def test_a_configuration_is_frozen(full: StudyConfig) -> None:
    with pytest.raises(ValueError, match="frozen"):
        full.seed = 1  # type: ignore[misc]


# --- settings on the command line ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("budget.trials=9", "budget.trials", 9),
        (" budget.trials = 1_000 # many", "budget.trials", 1000),
        ("seed=0x10", "seed", 16),
        ("metric=val_loss", "metric", "val_loss"),
        ('metric="val_loss"', "metric", "val_loss"),
        ("metric='val_loss'", "metric", "val_loss"),
        ("name=other-study.2", "name", "other-study.2"),
        ("sampler.name=random", "sampler.name", "random"),
        ("data.validation=0.5", "data.validation", 0.5),
        ("data.text=review text", "data.text", "review text"),
        ("data.text=a=b", "data.text", "a=b"),
        ("space.units=64", "space.units", 64),
        ("space.units=[32, 64]", "space.units", [32, 64]),
        ("space.pooling=['max']", "space.pooling", ["max"]),
        ("space.pooling=max", "space.pooling", "max"),
        ("space.bidirectional=true", "space.bidirectional", True),
        (
            "space.dropout={ low = 0.1, high = 0.2 }",
            "space.dropout",
            {"low": 0.1, "high": 0.2},
        ),
        ("space.dropout.high=0.4", "space.dropout.high", 0.4),
        ("space.learning_rate.log=false", "space.learning_rate", {"low": 1e-4, "high": 1.0}),
        ("data.source=imdb", "data.source", "imdb"),
    ],
)
def test_a_setting_takes_a_dotted_key_and_a_toml_value_or_bare_text(
    toy: StudyMaker, setting: str, key: str, value: object
) -> None:
    found: object = toy(setting).model_dump(mode="json")
    for part in key.split("."):
        assert isinstance(found, dict)
        found = found[part]
    assert found == value


def test_settings_apply_in_order_and_the_last_one_wins(toy: StudyMaker) -> None:
    config = toy("budget.trials=9", "budget.epochs=2", "budget.trials=8")
    assert (config.budget.trials, config.budget.epochs) == (8, 2)


def test_a_setting_can_name_the_storage(toy_file: Path) -> None:
    storage = load_study_file(toy_file, ["storage=sqlite:///here.db"])[1]
    assert storage == "sqlite:///here.db"


@pytest.mark.parametrize(
    ("settings", "key", "file"),
    [
        (["data.source=mine/reviews.csv"], "source", "mine/reviews.csv"),
        (["data.source='reviews.csv'"], "source", "reviews.csv"),
        (["data.source=.."], "source", ".."),
        (["data.test=test.csv"], "test", "test.csv"),
        (["data.source=imdb", "data.path=imdb.npz"], "path", "imdb.npz"),
    ],
)
def test_a_relative_path_in_a_setting_starts_at_the_current_folder(
    toy: StudyMaker,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    settings: list[str],
    key: str,
    file: str,
) -> None:
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    assert getattr(toy(*settings).data, key) == str((here / file).resolve())


def test_an_absolute_path_in_a_setting_stays_and_a_home_is_found(
    toy: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert toy("data.source=/data/reviews.csv").data.source == "/data/reviews.csv"
    assert toy("data.source=~/reviews.csv").data.source == "/home/somebody/reviews.csv"


def test_a_relative_path_in_a_file_is_left_for_the_folder_of_the_file(full: StudyConfig) -> None:
    assert full.data.source == "reviews.csv"
    assert full.data.test == "test.csv"


@pytest.mark.parametrize("name", ["source", "path", "test", "text"])
def test_imdb_and_demo_and_columns_are_no_paths_in_a_setting(toy: StudyMaker, name: str) -> None:
    config = toy("data.source=imdb", f"data.{name}=imdb")
    assert getattr(config.data, name) == "imdb"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("budget.trials", "expected key=value, such as budget.trials=6 or space.units=[32,64]."),
        ("=5", "expected key=value, such as "),
        ("budget..trials=5", "expected key=value, such as "),
        ("data.source=", "expected key=value, such as "),
        (
            "budget.trials.x=4",
            "budget.trials is 6 in the study file, not a table. "
            "Set the whole of it: --set budget.trials=...",
        ),
        ("metric.name.x=4", "metric is 'val_accuracy' in the study file, not a table. "),
    ],
)
def test_a_setting_of_the_wrong_form_is_explained(
    toy_file: Path, setting: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study_file(toy_file, [setting])
    assert str(caught.value).startswith(f"--set {setting}: {message}")


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "metrik=val_loss",
            "metrik: unknown key. Did you mean `metric`? Expected some of: budget, constraints, "
            "data, metric, metrics, name, pruner, sampler, seed, space, storage.",
        ),
        ("folder=x", "folder: unknown key. Expected some of: budget, constraints, data, "),
        (
            "data.sorce=x",
            "data.sorce: unknown key. Did you mean `source`? Expected some of: examples, group, "
            "label, path, source, test, text, validation, vocabulary.",
        ),
        (
            "budget.trial=3",
            "budget.trial: unknown key. Did you mean `trials`? Expected some of: epochs, hours, "
            "min_gain, trial_minutes, trials.",
        ),
        (
            "sampler.nam=tpe",
            "sampler.nam: unknown key. Did you mean `name`? Expected some of: allow_pickle, name.",
        ),
        ("pruner.zzz=1", "pruner.zzz: unknown key. Expected some of: name."),
        ("space.unit=64", "space.unit: unknown hyperparameter. Did you mean `units`? Known ones: "),
        (
            "space.dropout.hi=1",
            "space.dropout.hi: unknown key. Did you mean `high`? A range has low, high and ",
        ),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_known_one(
    toy_file: Path, setting: str, message: str
) -> None:
    assert explanation(toy_file, setting).startswith(message)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("budget.trials=two", "budget.trials: expected a whole number. Received 'two'."),
        ("budget.trials=1.5", "budget.trials: expected a whole number. Received 1.5."),
        ("budget.trials=true", "budget.trials: expected a whole number. Received True."),
        (
            "budget.trials=0",
            "budget.trials: expected a number greater than or equal to 1. Received 0.",
        ),
        (
            "budget.epochs=0",
            "budget.epochs: expected a number greater than or equal to 1. Received 0.",
        ),
        ("seed=-1", "seed: expected a number greater than or equal to 0. Received -1."),
        ("metric=3", "metric: expected text in quotes. Received 3."),
        ("name=5", "name: expected text in quotes. Received 5."),
        ("data.source=5", "data.source: expected text in quotes. Received 5."),
        ("data.source=''", "data.source: expected text that is not empty. Received ''."),
        ("data.validation=half", "data.validation: expected a number. Received 'half'."),
        ("data.validation=1", "data.validation: expected a number less than 1. Received 1."),
        ("data.validation=0", "data.validation: expected a number greater than 0. Received 0."),
        (
            "data.vocabulary=5",
            "data.vocabulary: expected a number greater than or equal to 10. Received 5.",
        ),
        ("data=demo", "data: expected a table. Received 'demo'."),
        ("budget=5", "budget: expected a table. Received 5."),
        ("sampler=tpe", "sampler: expected a table. Received 'tpe'."),
        ("pruner=none", "pruner: expected a table. Received 'none'."),
        ("space=[1]", "space: expected a table of hyperparameters. Received [1]."),
        ("storage=5", "storage: expected a URL in quotes. Received 5."),
        ("space.units=big", "space.units: expected a whole number. Received 'big' (str)."),
        ("budget.hours=inf", "budget.hours: expected a finite number. Received inf."),
        (
            "space.clip_norm=inf",
            "space.clip_norm: expected a finite number. Received inf (float).",
        ),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_explained(
    toy_file: Path, setting: str, message: str
) -> None:
    assert explanation(toy_file, setting) == message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "sampler.name=tp",
            "sampler.name: expected one of: tpe, nsga2, random, grid, gp, cmaes. Received 'tp'. "
            "Did you mean `tpe`?",
        ),
        (
            "sampler.name=5",
            "sampler.name: expected one of: tpe, nsga2, random, grid, gp, cmaes. Received 5.",
        ),
        (
            "pruner.name=ash",
            "pruner.name: expected one of: asha, median, none. Received 'ash'. "
            "Did you mean `asha`?",
        ),
        (
            "metric=accuracy",
            "metric: unknown metric. Received 'accuracy', expected one of: val_accuracy, val_loss, "
            "val_auc, val_macro_f1. Did you mean `val_accuracy`?",
        ),
    ],
)
def test_an_unknown_sampler_or_pruner_or_metric_is_explained(
    toy_file: Path, setting: str, message: str
) -> None:
    assert explanation(toy_file, setting) == message


def test_missing_tables_are_all_named_with_an_example(toy_file: Path) -> None:
    toy_file.write_text("")
    assert explanation(toy_file).splitlines() == [
        'data: missing. Say which examples to learn from: [data] with source = "demo".',
        "budget: missing. Say how much to spend: [budget] with trials = 20 and epochs = 5.",
        "space: missing. Say what to tune: [space] with units = [32, 64], for example.",
    ]


def test_missing_keys_are_named_with_an_example(toy_file: Path) -> None:
    toy_file.write_text("[data]\n[budget]\n[space]\n")
    assert explanation(toy_file).splitlines() == [
        'data.source: missing. Expected "demo", "imdb", a file or folder, or the URL of a file.',
        "budget.trials: missing. Expected a whole number of trials, such as trials = 20.",
        "budget.epochs: missing. Expected a whole number of epochs, such as epochs = 5.",
    ]


def test_several_mistakes_are_told_at_once_those_of_the_space_too(toy_file: Path) -> None:
    told = explanation(
        toy_file, "data.sorce=x", "budget.trials=0", "space.unit=64", "metric=x", "name=a b"
    ).splitlines()
    keys = [line.partition(": ")[0] for line in told]
    assert sorted(keys) == ["budget.trials", "data.sorce", "metric", "name", "space.unit"]


@pytest.mark.parametrize("name", ["my study", "", "-x", "a/b", "ü", "x" * 129])
def test_a_name_that_does_not_fit_everywhere_is_refused(toy_file: Path, name: str) -> None:
    assert explanation(toy_file, f"name={name!r}") == (
        "name: expected up to 128 letters, digits, '.', '_' and '-', starting with a letter or "
        f"digit. Received {name!r}. A file without a name takes its own."
    )


def test_a_file_whose_own_name_does_not_fit_needs_one_inside(toy_file: Path) -> None:
    path = toy_file.with_name("my study.toml")
    path.write_text(toy_file.read_text().replace('name   = "toy"', ""))
    assert "Received 'my study'. A file without a name takes its own." in explanation(path)
    assert load_study_file(path, ["name=mine"])[0].name == "mine"


@pytest.mark.parametrize("source", ["demo", "reviews.csv"])
def test_only_imdb_takes_a_path(full: StudyConfig, source: str) -> None:
    path = full.folder / "full.toml"
    path.write_text(FULL.replace('"reviews.csv"', f'"{source}"\npath = "imdb.npz"'))
    assert explanation(path) == (
        f'data.path: only `source = "imdb"` takes a path. Received source = {source!r}; '
        "name a file or folder in `source` itself."
    )


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ([], "learning_rate has no finite list of values; give it choices or a step"),
        (
            ["space={}", "space.units={low=1,high=8192}", "space.embedding={low=1,high=8192}"],
            "it has too many points; narrow it",
        ),
    ],
    ids=["endless", "too many"],
)
def test_a_grid_over_an_endless_space_is_refused(
    toy_file: Path, settings: list[str], why: str
) -> None:
    told = explanation(toy_file, "sampler.name=grid", *settings)
    assert told == f"space: a grid needs a finite space, and {why}."


def test_a_file_that_is_not_toml_is_explained_with_its_place(toy_file: Path) -> None:
    toy_file.write_text('metric = "val_loss"\nseed = = 3\n')
    assert explanation(toy_file) == "not valid TOML: Invalid value (at line 2, column 8)."


def test_a_file_that_is_not_utf8_is_explained(toy_file: Path) -> None:
    toy_file.write_bytes('name = "für"'.encode("latin-1"))
    assert explanation(toy_file) == (
        "not UTF-8 text: invalid start byte at byte 9. Save it as UTF-8."
    )


def test_a_folder_is_no_study_file(tmp_path: Path) -> None:
    told = explanation(tmp_path)
    assert told == "cannot be read: Is a directory. Expected a study file in TOML."


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("toi.toml", "Did you mean `toy.toml`?"),
        ("zzzzzzzzz", "In that folder are: toy.toml."),
        ("nowhere/toy.toml", "There is no folder {folder}/nowhere either."),
    ],
)
def test_a_missing_file_is_explained_by_what_is_there(toy_file: Path, name: str, hint: str) -> None:
    folder = toy_file.parent
    assert explanation(folder / name) == f"no such study file. {hint.format(folder=folder)}"


# --- the stored form ---------------------------------------------------------------------------


def test_a_configuration_written_and_read_again_is_exactly_the_same(full: StudyConfig) -> None:
    again = StudyConfig.from_json(full.to_json())
    assert again == full
    assert again.to_json() == full.to_json()
    assert differences(full, again) == ([], [])


def test_the_stored_form_has_every_default_so_that_new_ones_cannot_change_it(
    toy: StudyMaker,
) -> None:
    stored = toy().model_dump(mode="json")
    assert set(stored) == set(StudyConfig.model_fields)
    assert stored["data"]["vocabulary"] == 20_000
    assert stored["sampler"] == {"name": "tpe", "allow_pickle": False}


# --- two configurations ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("budget.trials=7", "budget.trials: 6 -> 7"),
        ("sampler.name=random", 'sampler.name: "tpe" -> "random"'),
        ("pruner.name=none", 'pruner.name: "asha" -> "none"'),
        ("space.dropout.high=0.5", "space.dropout.high: 0.9 -> 0.5"),
        ("space.learning_rate.low=0.01", "space.learning_rate.low: 0.0001 -> 0.01"),
    ],
)
def test_what_may_change_while_a_study_lives_is_allowed(
    toy: StudyMaker, setting: str, line: str
) -> None:
    assert differences(toy(), toy(setting)) == ([line], [])


@pytest.mark.parametrize(
    ("setting", "lines"),
    [
        ("budget.trials=5", ["budget.trials: 6 -> 5"]),
        ("budget.epochs=4", ["budget.epochs: 3 -> 4"]),
        ("name=other", ['name: "toy" -> "other"']),
        ("metric=val_loss", ['metric: "val_accuracy" -> "val_loss"']),
        ("seed=1", ["seed: 0 -> 1"]),
        ("data.source=imdb", ['data.source: "demo" -> "imdb"']),
        ("data.group=film", ['data.group: (not there) -> "film"']),
        ("data.vocabulary=100", ["data.vocabulary: 20000 -> 100"]),
        ("space.layers=2", ["space.layers: (not there) -> 2"]),
        ("space.units=[32]", ["space.units: [32, 64] -> [32]"]),
        ("space.units=32", ["space.units: [32, 64] -> 32"]),
        ("space.embedding=16", ["space.embedding: 8 -> 16"]),
        ("space.learning_rate.log=false", ["space.learning_rate.log: true -> (not there)"]),
        ("space.dropout.step=0.1", ["space.dropout.step: (not there) -> 0.1"]),
        (
            "space.dropout=0.5",
            [
                "space.dropout: (not there) -> 0.5",
                "space.dropout.high: 0.9 -> (not there)",
                "space.dropout.low: 0.0 -> (not there)",
            ],
        ),
        (
            "space.dropout.when={units=32}",
            ["space.dropout.when.units: (not there) -> 32"],
        ),
    ],
)
def test_what_would_make_it_another_study_is_forbidden(
    toy: StudyMaker, setting: str, lines: list[str]
) -> None:
    base = ["space.units=[32,64]", "space.embedding=8"]
    assert differences(toy(*base), toy(*base, setting)) == ([], lines)


def test_leaving_a_hyperparameter_out_is_forbidden_too(toy: StudyMaker) -> None:
    assert differences(toy("space.units=64"), toy()) == ([], ["space.units: 64 -> (not there)"])


def test_allowed_and_forbidden_changes_are_told_apart(toy: StudyMaker) -> None:
    allowed, forbidden = differences(toy(), toy("budget.trials=9", "seed=3"))
    assert (allowed, forbidden) == (["budget.trials: 6 -> 9"], ["seed: 0 -> 3"])


def test_the_folder_of_the_file_makes_no_difference(toy: StudyMaker, tmp_path: Path) -> None:
    moved = toy().model_copy(update={"folder": tmp_path / "elsewhere"})
    assert differences(toy(), moved) == ([], [])


# --- notes -------------------------------------------------------------------------------------

FOUR_POINTS = "space={units=[32,64],layers=[1,2]}"


@pytest.mark.parametrize(
    ("settings", "n_slots", "notes"),
    [
        ([], 6, []),
        ([FOUR_POINTS, "budget.trials=4"], 4, []),
        ([FOUR_POINTS, "budget.trials=3"], 3, []),
        (
            [FOUR_POINTS],
            4,
            [
                "The space has 4 points and budget.trials is 6: the study ends after 4 trials, "
                "each point once."
            ],
        ),
        (
            ["space={units=32}"],
            1,
            [
                "The space has 1 point and budget.trials is 6: the study ends after 1 trial, "
                "each point once."
            ],
        ),
        (
            [FOUR_POINTS, "sampler.name=grid", "budget.trials=3"],
            3,
            [
                "The grid has 4 points and budget.trials is 3: 1 point will not be run. "
                "Set budget.trials = 4 for the whole grid."
            ],
        ),
    ],
    ids=["endless", "as many", "fewer trials", "more trials", "one point", "part of a grid"],
)
def test_a_person_is_told_when_trials_and_points_do_not_agree(
    toy: StudyMaker, settings: list[str], n_slots: int, notes: list[str]
) -> None:
    config = toy(*settings)
    assert config.n_slots == n_slots
    assert list(config.notes()) == notes


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
def test_a_sampler_that_learns_from_complete_trials_alone_goes_ill_with_a_pruner(
    toy: StudyMaker, sampler: str
) -> None:
    settings = f"sampler.name={sampler}", "sampler.allow_pickle=true"
    assert toy(*settings, "pruner.name=none").notes() == ()
    (note,) = toy(*settings).notes()
    assert note == (
        f"Sampler {sampler} learns nothing from pruned trials, and pruner asha ends most of them: "
        f'set pruner.name = "none", or sampler.name = "tpe", which learns from both.'
    )


def test_a_sampler_that_loads_pickles_has_to_be_asked_for_twice(toy: StudyMaker) -> None:
    with pytest.raises(ConfigError) as caught:
        toy("sampler.name=cmaes")
    told = str(caught.value).partition(": ")[2]
    assert told == (
        "sampler.name: 'cmaes' keeps its state as a pickle in the database, and whoever may write "
        "to trials there can so run code in each worker. Where you trust all of them, set "
        "sampler.allow_pickle = true; else choose another sampler, such as tpe."
    )
    assert toy("sampler.name=cmaes", "sampler.allow_pickle=true").sampler.name == "cmaes"


def test_a_study_that_lives_may_get_a_sampler_that_loads_pickles(toy: StudyMaker) -> None:
    wanted = toy("sampler.name=cmaes", "sampler.allow_pickle=true")
    allowed = ["sampler.allow_pickle: false -> true", 'sampler.name: "tpe" -> "cmaes"']
    assert differences(toy(), wanted) == (allowed, [])


# --- the rest ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "environment", "study_file", "expected"),
    [
        ("flag", {"TUNER_STORAGE": "environment"}, "file", "flag"),
        (None, {"TUNER_STORAGE": "environment"}, "file", "environment"),
        (None, {"TUNER_STORAGE": ""}, "file", "file"),
        (None, {"OTHER": "x"}, "file", "file"),
        (None, {}, None, DEFAULT_STORAGE),
    ],
)
def test_the_storage_is_the_flag_or_the_environment_or_the_file_or_the_default(
    flag: str | None, environment: dict[str, str], study_file: str | None, expected: str
) -> None:
    chosen = choose_storage(flag=flag, environment=environment, study_file=study_file)
    assert chosen == expected


@pytest.mark.parametrize("metric", METRICS)
def test_the_direction_of_a_study_follows_from_its_metric(toy: StudyMaker, metric: str) -> None:
    assert toy(f"metric={metric}").direction == METRICS[metric].direction


def test_the_lines_of_a_trial_put_into_a_study_file_fix_its_hyperparameters(
    full: StudyConfig,
) -> None:
    found = GRUParams(learning_rate=1e-05 / 3, units=40, pooling="last", bidirectional=False)
    lines = study_file_lines(full, found.model_dump())
    assert "units = 40  # was a whole number from 32 to 128 in steps of 8" in lines.splitlines()

    path = full.folder / "full.toml"
    before, _, after = FULL.partition("[space]")
    path.write_text(f"{before}{lines}\n[sampler]{after.partition('[sampler]')[2]}")
    config, _ = load_study_file(path)
    (point,) = config.space.points()
    assert point == {}
    fixed = {p.name: p.to_value() for p in config.space.parameters}
    assert fixed.keys() == {p.name for p in full.space.parameters}
    assert fixed.items() <= found.model_dump().items()


def test_the_lines_of_a_trial_leave_out_what_it_did_not_draw(full: StudyConfig) -> None:
    lines = study_file_lines(full, {"layers": 1, "pooling": "last"})
    assert tomllib.loads(lines) == {"space": {"layers": 1, "pooling": "last"}}


@pytest.mark.parametrize(
    ("flag", "environment", "storage", "expected"),
    [
        (None, {}, DEFAULT_STORAGE, "studies/tuner.artifacts"),
        (None, {}, "sqlite:////data/my.studies.db", "/data/my.studies.artifacts"),
        (None, {}, "sqlite:////data/s.db?timeout=5", "/data/s.artifacts"),
        (None, {}, "postgresql://tuner@db/tuner", "studies/artifacts"),
        (None, {}, "postgresql+psycopg://tuner@/tuner?host=/run", "studies/artifacts"),
        (None, {"TUNER_ARTIFACTS": "/shared"}, DEFAULT_STORAGE, "/shared"),
        ("mine", {"TUNER_ARTIFACTS": "/shared"}, DEFAULT_STORAGE, "mine"),
    ],
)
def test_checkpoints_lie_where_the_first_of_flag_environment_and_storage_says(
    flag: str | None, environment: dict[str, str], storage: str, expected: str
) -> None:
    chosen = choose_artifacts(flag=flag, environment=environment, storage=storage)

    assert chosen == Path(expected).resolve()
    assert chosen.is_absolute()


@pytest.mark.parametrize("key", ["flag", "environment"])
def test_checkpoints_may_lie_in_an_object_store(key: str) -> None:
    url = "s3://bucket/folder"
    chosen = choose_artifacts(
        flag=url if key == "flag" else None,
        environment={"TUNER_ARTIFACTS": url if key == "environment" else "/shared"},
        storage=DEFAULT_STORAGE,
    )

    assert chosen == Bucket(url=url)
    assert str(chosen) == url


def test_a_url_given_with_set_is_no_path(toy_file: Path) -> None:
    url = "https://host/reviews.csv"
    config, _ = load_study_file(toy_file, [f"data.source={url}"])
    assert config.data.source == url
