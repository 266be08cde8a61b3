"""The dashboard as its users meet it, without a network between."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from werkzeug.test import Client, TestResponse

from tuner.dashboard import Address, Credential, Role, Settings
from tuner.dashboard.credentials import credential_line
from tuner.dashboard.server import compose

HERE = "http://127.0.0.1:8080"
SECRETS = {Role.VIEWER: "a viewer knows this", Role.OPERATOR: "an operator knows this"}


#: The same, hashed.
CREDENTIALS = tuple(
    Credential(role=role, hashed=credential_line(role, secret).partition(":")[2])
    for role, secret in SECRETS.items()
)


class Site:
    """A dashboard, and people who look at it."""

    def __init__(
        self,
        storage: str,
        *,
        with_secrets: Sequence[Credential] = (),
        link_role: Role = Role.VIEWER,
        artifacts: Path | None = None,
        host: str = "127.0.0.1",
        public_url: str | None = None,
    ) -> None:
        settings = Settings(
            storage=storage,
            credentials=with_secrets,
            link_role=link_role,
            artifacts=artifacts,
        )
        self.address = Address.of(host, 8080, public_url)
        self.said: list[str] = []
        self.app, self.source = compose(settings, self.address, self.said.append)

    @property
    def link(self) -> str:
        """The newest link that lets somebody in."""
        link: str = re.findall(r"with: (\S+)", "\n".join(self.said))[-1]
        return link

    def stranger(self) -> "Person":
        """Somebody who is not signed in."""
        return Person(self)

    def somebody(self, role: Role | None) -> "Person":
        """Somebody who is signed in, or not."""
        person = Person(self)
        if role is not None:
            person.cookie = self.app._signing._sessions.open(role)
        return person

    def close(self) -> None:
        self.source.close()


class Person:
    """Somebody with a browser."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._client = Client(site.app, use_cookies=False)
        self.cookie: str | None = None

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        base: str | None = None,
    ) -> TestResponse:
        """Ask as a page of the dashboard does, unless told otherwise."""
        base = base or self._site.address.public
        cookie = f"{self._site.address.cookie}={self.cookie}" if self.cookie else ""
        sent = {"Origin": self._site.address.public, "Cookie": cookie, **(headers or {})}
        kept = {name: value for name, value in sent.items() if value}
        if body is not None:
            return self._client.open(path, method=method, base_url=base, headers=kept, json=body)
        return self._client.open(path, method=method, base_url=base, headers=kept, data=form)

    def get(self, path: str) -> TestResponse:
        """Look at a page."""
        return self.ask("GET", path, headers={"Origin": ""})

    def json(self, path: str) -> Any:
        """Read what the dashboard's script reads."""
        response = self.get(path)
        assert response.status_code == 200, response.text
        return json.loads(response.data)

    def take(self, response: TestResponse) -> None:
        """Keep the cookie that an answer gave."""
        cookie = response.headers["Set-Cookie"]
        self.cookie = cookie.partition(";")[0].partition("=")[2]


def add(study: Study, *values: float, violated: float | None = None) -> FrozenTrial:
    """Add a trial that is complete."""
    constraints = None if violated is None else {"memory": violated}
    trial = create_trial(
        state=TrialState.COMPLETE,
        values=list(values),
        constraints=constraints,
        intermediate_values={1: 0.25, 4: 0.5} if len(values) == 1 else None,
    )
    study.add_trial(trial)
    return study.trials[-1]
