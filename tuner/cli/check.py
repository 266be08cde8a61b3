"""What `check` says, and what `run` and `create` make sure of first."""

from pathlib import Path

from tuner.cli.studies import StudyFile, data_root
from tuner.config import StudyConfig
from tuner.data import Summary
from tuner.data.prepare import prepare
from tuner.domain import Fixed
from tuner.domain import describe as in_words
from tuner.feasible import count_trials, notes_on
from tuner.sizes import Shape
from tuner.storage import shown
from tuner.strategy import check_sampler


def look_at_data(config: StudyConfig) -> tuple[Summary, Shape]:
    """Prepare the data, so that bad data is told before anything is stored.

    Trainers of this machine then find it prepared.

    Returns:
        What it is, and what it decides of every model.

    Raises:
        DataError: The data cannot be used.
    """
    prepared = prepare(config.data, seed=config.seed, folder=config.folder, data_root=data_root())
    return prepared.summary, prepared.shape(config.data.vocabulary)


def describe_study(file: StudyFile) -> list[str]:
    """Say what a study would do."""
    config = file.config
    check_sampler(config.sampler.name)
    data, shape = look_at_data(config)
    size = config.space.size()
    points = "any number of points" if size is None else f"{size} points"
    counts = ", ".join(f"{name} {count}" for name, count in data.classes)
    lines = [
        f"study    {config.name}: {_goals(config)}, seed {config.seed}",
        f"storage  {shown(file.storage)}",
        f"data     {Path(config.data.source).name}: {data.n_examples} examples ({counts}), "
        f"{config.data.validation:.0%} of them for validation",
        f"         {data.median_words:g} words in the median, {data.p95_words:g} or fewer in 95 %",
    ]
    if data.n_groups is not None:
        lines.append(f"         {data.n_groups} groups by {config.data.group!r}")
    lines += [
        f"budget   {count_trials(config, shape)} trials of at most {config.budget.epochs} epochs",
        f"search   {config.sampler.name} over {points}, pruner {config.pruner.name}",
    ]
    lines += [f"limit    {name} at most {most:,}" for name, most in config.constraints.items()]
    for parameter in config.space.parameters:
        fixed = "  " if isinstance(parameter.domain, Fixed) else "~ "
        when = ", ".join(f"{k} = {_either(v)}" for k, v in parameter.when.items())
        condition = f", if {when}" if when else ""
        lines.append(f"         {fixed}{parameter.name}: {in_words(parameter.domain)}{condition}")
    lines += [f"note     {note}" for note in (*notes_on(config, shape), *data.notes)]
    return lines


def _goals(config: StudyConfig) -> str:
    goals = zip(config.directions, config.objectives, strict=True)
    return ", ".join(f"{direction} {name}" for direction, name in goals)


def _either(values: tuple[object, ...]) -> str:
    return " or ".join(str(value) for value in values)
