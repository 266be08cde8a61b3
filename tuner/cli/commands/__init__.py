"""Every command; what is heavy is imported where it is used, so that ``--help`` is quick."""

import click

from tuner import __version__
from tuner.cli.commands.asking import best, list_studies, show, status, trials
from tuner.cli.commands.confirming import confirm
from tuner.cli.commands.delivering import compress, export, refit
from tuner.cli.commands.explaining import dashboard, importance, report, reproduce, simulate
from tuner.cli.commands.keeping import copy, delete, rename, upgrade
from tuner.cli.commands.machine import cache, doctor
from tuner.cli.commands.running import check, create, run, work
from tuner.cli.commands.steering import enqueue, extend, retry, stop
from tuner.cli.commands.using import explain, predict
from tuner.cli.group import TunerGroup


@click.group(cls=TunerGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tuner")
def main() -> None:
    """Tune GRU text classifiers with Bayesian optimization.

    STUDY is a study file (TOML) or the name of a stored study.

    \b
    Start here:
      tuner run studies/quickstart.toml
      tuner best quickstart
    """


# In the order in which they are used, which is the order of the help.
for _command in (
    *(check, run, create, work, extend, stop, retry),
    *(list_studies, status, show, best, trials, importance, report, simulate),
    *(confirm, refit, predict, explain, compress, export),
    *(doctor, cache, reproduce, enqueue, rename, copy, dashboard, delete, upgrade),
):
    main.add_command(_command)
