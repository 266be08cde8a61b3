"""`dashboard`: from what a person types to a dashboard that runs."""

import os
from pathlib import Path

import click

from tuner.cli.group import say
from tuner.cli.studies import storage_of
from tuner.dashboard import Role, Settings, credential_line, read_credentials, serve
from tuner.storage import shown
from tuner.study_file import choose_artifacts


def print_secret(role: str) -> None:
    """Ask for a secret, twice and without showing it, and print what it hashes to."""
    secret = click.prompt(
        f"Secret for {role}", hide_input=True, confirmation_prompt="Again", err=True
    )
    click.echo(credential_line(Role[role.upper()], secret))


def show_dashboard(
    *,
    host: str,
    port: int,
    operator: bool,
    secrets: str | None,
    public_url: str | None,
    artifacts: str | None,
    storage: str | None,
) -> None:
    """Serve the dashboard until it is ended."""
    url = storage_of(storage)
    file = secrets or os.environ.get("TUNER_DASHBOARD_SECRETS")
    settings = Settings(
        storage=url,
        host=host,
        port=port,
        public_url=public_url,
        credentials=read_credentials(Path(file) if file else None, os.environ),
        link_role=Role.OPERATOR if operator else Role.VIEWER,
        artifacts=choose_artifacts(flag=artifacts, environment=os.environ, storage=shown(url)),
    )
    serve(settings, say)
