"""The whole way from a plan to an artifact: train, write, judge by the test set, note that."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tuner.data.prepare import prepare
from tuner.data.prepared import Prepared
from tuner.deliver.artifact import open_artifact
from tuner.deliver.final import Plan, Stage, check_data, together, train_models
from tuner.deliver.manifest import Manifest
from tuner.deliver.saving import describe_models, save_models
from tuner.deliver.test_set import judge_by_test_set, open_test_set
from tuner.storage import Database, begin_reading, end_reading
from tuner.yardstick import NAME, Yardstick, fit_yardstick, is_available


@dataclass(frozen=True, kw_only=True)
class Order:
    """What somebody wants done with a plan."""

    #: What is trained.
    plan: Plan
    #: Folder of the artifact.
    target: Path
    #: Whether an artifact that is there may go.
    replace: bool
    #: Whether the test set is read ...
    reads_test: bool
    #: ... and whether it may have been read before.
    again: bool
    #: Folder in which relative data paths are looked up first.
    data_root: Path | None


def refit(
    order: Order,
    *,
    open_database: Callable[[], AbstractContextManager[Database]],
    say: Callable[[str], None],
    tell: Callable[[Stage], None],
) -> Manifest:
    """Train the models, write them, and judge by the test set what was written.

    The test set is opened before, as what is wrong with it must not come to light when all is
    trained; the artifact is written before anything is judged: what comes then cannot cost the
    training.
    The database is open only while something is noted there.

    Args:
        order: What to do.
        open_database: Opens the study's database, and waits for it where it is away.
        say: Told, for people, what comes next.
        tell: Told how far a training is.

    Returns:
        What the artifact says of itself.

    Raises:
        DataError: The data is not what the study saw, or the test set cannot be read.
        InputError: The artifact cannot be written, or the test set was read before.
        TrialFailedError: A training diverged.
    """
    plan, target = order.plan, order.target
    config = plan.study.config
    data = prepare(config.data, seed=config.seed, folder=config.folder, data_root=order.data_root)
    check_data(plan, data)
    test = open_test_set(config, data, data_root=order.data_root) if order.reads_test else None
    results = list(train_models(plan, data, tell=tell))
    manifest = describe_models(plan, data, results)
    written = save_models(target, manifest, data, results, replace=order.replace)
    say(f"Wrote {target}.")
    if test is None:
        return written
    yardstick, artifact = _yardstick(plan, data, say), open_artifact(target)
    with open_database() as database:
        reading = begin_reading(
            database, plan.study, trial=plan.trials[0], n_models=len(results), again=order.again
        )
    say("Judging by the test set.")
    found = judge_by_test_set(artifact, config, test, reading=reading.number, yardstick=yardstick)
    written = save_models(target, manifest, data, results, test=found, replace=True)
    metrics = {name: estimate.value for name, estimate in found.judgement.metrics.items()}
    with open_database() as database:
        end_reading(database, plan.study, reading, metrics)
    return written


def _yardstick(plan: Plan, data: Prepared, say: Callable[[str], None]) -> Yardstick | None:
    if not is_available():
        say("No yardstick without scikit-learn; in tuner's folder: pip install '.[yardsticks]'")
        return None
    say(f"Training the yardstick: {NAME}.")
    shape = data.shape(plan.study.config.data.vocabulary)
    return fit_yardstick(together(data), n_ids=shape.n_ids, n_classes=shape.n_classes)
