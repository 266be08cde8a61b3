"""`compress`: make a finished model smaller, and print what that costs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tuner.cli.computing import use_device
from tuner.cli.group import say
from tuner.cli.patience import end_at_sigterm
from tuner.cli.studies import data_root, open_study
from tuner.cli.terminal import console
from tuner.cli.words import duration
from tuner.errors import InputError
from tuner.results import most_micro_batches
from tuner.storage import StoredStudy


def compress_artifact(
    folder: str,
    storage: str | None,
    *,
    study: str | None,
    output: str | None,
    force: bool,
    steps: str,
    variant: str | None,
    max_loss: float | None,
    unseen: bool,
    form: str,
) -> None:
    """Do what the options say; what cannot be done is refused before the work.

    Raises:
        InputError: Nothing is chosen to be written, or what is chosen has no place to be written;
            or each variant loses too much.
    """
    if variant is not None and max_loss is not None:
        raise InputError("--variant and --max-loss both choose. Leave one out.")
    if (output is None) != (variant is None and max_loss is None):
        raise InputError(
            "Expected -o DIR with a choice of what to write there, --max-loss POINTS or --variant "
            "NAME; or none of them, for the table alone."
        )
    device = use_device()
    end_at_sigterm()  # like Ctrl-C: nothing half-written stays
    from tuner.deliver.card import about_examples
    from tuner.deliver.compress.order import Order, compress
    from tuner.deliver.folder import read_artifact

    manifest, _ = read_artifact(Path(folder))
    trials = (manifest.origin.trial, *manifest.origin.other_trials)
    stored, micro_batches = _stored(study or manifest.origin.study, storage, trials)
    say(f"{folder}: {manifest.n_bytes:,} bytes of models ({device}).")
    found = compress(
        Order(
            folder=Path(folder),
            study=stored,
            micro_batches=micro_batches,
            steps=tuple(steps.split(",")),
            variant=variant,
            max_loss=max_loss,
            unseen=unseen,
            target=Path(output) if output is not None else None,
            replace=force,
            data_root=data_root(),
        ),
        say=say,
        show=lambda rows: console(stderr=False).print(_table(rows)) if form != "json" else None,
        tell=lambda stage: say(
            f"twin {stage.model} of {len(manifest.members)}: epoch {stage.epochs:g} of "
            f"{stage.of_epochs}, loss {stage.loss:.4f}, {duration(stage.seconds_left)} to go"
        ),
    )
    if form == "json":
        click.echo(json.dumps(_to_json(found, output, unseen=unseen)))
    elif found.written is not None and found.chosen is not None:
        click.echo(f"artifact: {output} ({found.chosen.variant})")
    say(
        f"On {found.n_examples:,} validation examples, with 95 % intervals; milliseconds a text on "
        f"one thread. No other variant is smaller and as right as one with a star."
    )
    say(about_examples(is_unseen=unseen, is_chosen=max_loss is not None))
    if max_loss is not None and found.chosen is None:
        least = min(row.points_lost for row in found.rows[1:])
        raise InputError(
            f"Each variant loses more than {max_loss:g} points of accuracy, {least:.2f} at least. "
            f"Allow that with --max-loss, or try milder steps, such as --steps float16."
        )


def _stored(study: str, storage: str | None, trials: tuple[int, ...]) -> tuple[StoredStudy, int]:
    """Read what the study is, and in how many parts its trials' batches fitted into memory.

    The database is not needed afterwards.
    """
    with open_study(study, storage) as (database, stored):
        return stored, most_micro_batches(database, stored, trials)


def _table(rows: Any) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in (
        *("", "variant", "bytes", "smaller", "accuracy", "difference in points"),
        *("ms alone: p50", "p99", "ms of 32: p50", "p99"),
    ):
        table.add_column(heading, justify="left" if heading in {"", "variant"} else "right")
    for row in rows:
        change, latency = row.comparison.difference, row.latency
        points = tuple(f"{100 * x:+.2f}" for x in (change.value, change.low, change.high))
        accuracy = row.accuracy
        table.add_row(
            *("*" if row.on_front else "", str(row.variant), f"{row.n_bytes:,}"),
            f"{rows[0].n_bytes / row.n_bytes:.1f} x",
            f"{accuracy.value:.4f} ({accuracy.low:.4f} to {accuracy.high:.4f})",
            f"{points[0]} ({points[1]} to {points[2]})" if row.variant.steps else "",
            *(_ms(latency.alone_p50), _ms(latency.alone_p99)),
            *(_ms(latency.together_p50), _ms(latency.together_p99)),
        )
    return table


def _ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.1f}"


def _to_json(found: Any, output: str | None, *, unseen: bool) -> dict[str, Any]:
    return {
        "artifact": output if found.written is not None else None,
        "chosen": str(found.chosen.variant) if found.chosen is not None else None,
        "n_examples": found.n_examples,
        "unseen": unseen,
        "variants": [
            {
                "variant": str(row.variant),
                "n_bytes": row.n_bytes,
                "accuracy": asdict(row.accuracy),
                "comparison": asdict(row.comparison),
                "latency_ms": asdict(row.latency),
                "on_front": row.on_front,
            }
            for row in found.rows
        ],
    }
