"""`doctor`: print what is found of this machine, its storage and a study."""

import json
import os
from collections.abc import Iterator

import click

from tuner.cli.group import say
from tuner.cli.studies import data_root, read_study_file, storage_of
from tuner.doctor import Examination, Finding, Patient, Status, exit_code
from tuner.storage import shown
from tuner.study_file import choose_artifacts

#: How each status is written, and its colour.
_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "red"),
    "unchecked": ("-", "bright_black"),
}
#: Columns of the longest name.
_WIDTH = 19


def print_examination(
    study: str | None, *, storage: str | None, artifacts: str | None, form: str
) -> int:
    """Examine, printing each finding as soon as it is there.

    Args:
        study: Name of a study, or a study file; None for none.
        storage: ``--storage``.
        artifacts: ``--artifacts``.
        form: ``table`` or ``json``.

    Returns:
        The exit code.
    """
    findings = []
    for finding in _examine(study, storage, artifacts):
        findings.append(finding)
        click.echo(_json(finding) if form == "json" else _line(finding))
    n_failed = sum(finding.status == "fail" for finding in findings)
    n_warned = sum(finding.status == "warn" for finding in findings)
    say(f"{len(findings)} checks: {n_failed} failed, {n_warned} with a warning.")
    return exit_code(findings)


def _examine(study: str | None, storage: str | None, artifacts: str | None) -> Iterator[Finding]:
    config = None
    if study is not None and study.endswith(".toml"):
        file = read_study_file(study, (), storage)
        study, config, url = file.config.name, file.config, file.storage
    else:
        url = storage_of(storage)
    patient = Patient(
        environment=os.environ,
        storage=url,
        artifacts=choose_artifacts(flag=artifacts, environment=os.environ, storage=shown(url)),
        data_root=data_root(),
        study=study,
        config=config,
    )
    return Examination(patient).run()


def _line(finding: Finding) -> str:
    mark, colour = _MARKS[finding.status]
    styled = click.style(f"{mark:<4}", fg=colour, bold=finding.status == "fail")
    return f"{styled}  {finding.name:<{_WIDTH}} {_told(finding)}"


def _told(finding: Finding) -> str:
    """What was found and what to do, in one line."""
    return " ".join(f"{finding.text} {finding.mend}".split())


def _json(finding: Finding) -> str:
    return json.dumps(
        {
            "check": finding.name,
            "status": finding.status,
            "found": finding.text,
            "mend": finding.mend,
        }
    )
