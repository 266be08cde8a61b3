"""Which method of which path is answered, and for whom; what is not listed is denied."""

import enum
from dataclasses import dataclass
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule


class Role(enum.IntEnum):
    """Who somebody is; a higher one may do all that a lower one may."""

    #: Sees everything, changes nothing.
    VIEWER = 1
    #: Also deletes studies, fails trials, writes notes of trials.
    OPERATOR = 2

    @property
    def word(self) -> str:
        """Its name for people and files."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True)
class Route:
    """One thing that is answered."""

    #: GET answers HEAD, too.
    method: str
    #: Path, with werkzeug's placeholders.
    rule: str
    #: Which handler answers it.
    action: str
    #: Who may ask; None for everybody, signed in or not.
    role: Role | None


def _route(method: str, rule: str, action: str, role: Role | None = Role.VIEWER) -> Route:
    return Route(method=method, rule=rule, action=action, role=role)


# Larger numbers are no ids: Postgres would refuse them with an error.
_STUDY = "<int(max=2147483647):study_id>"
_TRIAL = "<int(max=2147483647):trial_id>"

ROUTES: tuple[Route, ...] = (
    _route("GET", "/tuner/health", "health", None),
    _route("GET", "/tuner/style.css", "style", None),
    _route("GET", "/tuner/sign-in", "show_sign_in", None),
    _route("POST", "/tuner/sign-in", "sign_in", None),
    _route("GET", "/tuner/sign-out", "show_sign_out"),
    _route("POST", "/tuner/sign-out", "sign_out"),
    _route("GET", "/tuner/studies/<name>/report", "report"),
    # What optuna-dashboard reads.
    _route("GET", "/", "home"),
    _route("GET", "/dashboard", "page"),
    _route("GET", "/dashboard/", "page"),
    _route("GET", "/dashboard/<path:page>", "page"),
    _route("GET", "/static/<path:file>", "static"),
    _route("GET", "/favicon.ico", "static"),
    _route("GET", "/api/meta", "meta"),
    _route("GET", "/api/studies", "studies"),
    _route("GET", f"/api/studies/{_STUDY}", "study"),
    _route("GET", f"/api/studies/{_STUDY}/param_importances", "slow"),
    _route("GET", f"/api/studies/{_STUDY}/plot/<kind>", "slow"),
    _route("GET", f"/csv/{_STUDY}", "csv"),
    # What an operator may change. All else that optuna-dashboard offers would break what the
    # database promises, or is of no use here: it is denied by not being listed.
    _route("DELETE", f"/api/studies/{_STUDY}", "delete_study", Role.OPERATOR),
    _route("PUT", f"/api/studies/{_STUDY}/{_TRIAL}/note", "write_trial_note", Role.OPERATOR),
    _route("POST", f"/api/trials/{_TRIAL}/tell", "fail_trial", Role.OPERATOR),
    _route("POST", f"/api/trials/{_TRIAL}/user-attrs", "add_attributes", Role.OPERATOR),
)

#: Methods that change nothing, by the meaning of HTTP.
SAFE_METHODS = frozenset({"GET", "HEAD"})

_MAP = Map(
    [Rule(route.rule, methods=[route.method], endpoint=route) for route in ROUTES],
    # A path is what it is: nothing is guessed, nobody is sent elsewhere.
    strict_slashes=True,
    merge_slashes=False,
    redirect_defaults=False,
).bind("")


def find_route(method: str, path: str) -> tuple[Route, dict[str, Any]] | None:
    """Look a request up.

    Returns:
        The route and what its placeholders stand for; None where there is none.
    """
    try:
        route, values = _MAP.match(path, method=method)
    except HTTPException:
        return None
    return route, dict(values)
