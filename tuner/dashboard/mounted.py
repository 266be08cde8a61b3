"""Asking optuna-dashboard, and sending what it or we have worked out."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from werkzeug import Request, Response
from werkzeug.test import create_environ, run_wsgi_app

from tuner.dashboard.answers import Answer, packed
from tuner.dashboard.changes import RefusedError
from tuner.dashboard.shelf import Seen
from tuner.dashboard.source import Backend

#: Headers of optuna-dashboard that are passed on.
_KEPT = ("Content-Type", "Content-Encoding", "Content-Disposition", "Last-Modified")


def ask(
    backend: Backend,
    path: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Ask optuna-dashboard for something.

    It sees only what is spelled out here: a GET, the path that was allowed, no cookie, no body.
    """
    environ = create_environ(
        path, query_string=dict(query or {}), headers={"Accept-Encoding": "", **(headers or {})}
    )
    body, status, found = run_wsgi_app(backend.mounted, environ, buffered=True)
    kept = {name: found[name] for name in _KEPT if name in found}
    return Response(b"".join(body), status, headers=kept)


def answer_of(response: Response) -> Answer:
    """Make what optuna-dashboard said an answer that can be kept."""
    disposition = response.headers.get("Content-Disposition")
    more = {"Content-Disposition": disposition} if disposition is not None else {}
    kind = response.headers.get("Content-Type", "application/json")
    return packed(response.get_data(), kind, response.status_code, more)


@contextmanager
def looking(backend: Backend, study_id: int) -> Iterator[Seen]:
    """Look at a study.

    Raises:
        RefusedError: There is none.
    """
    try:
        with backend.shelf.look(study_id) as seen:
            yield seen
    except KeyError as error:
        raise RefusedError(404, f"There is no study with the id {study_id}.") from error


def send(request: Request, answer: Answer) -> Response:
    """Send an answer, compressed where the browser takes that.

    Nothing of it comes from whoever asks, so that its length tells nothing.
    """
    is_packed = takes_gzip(request)
    response = Response(answer.packed if is_packed else answer.body, answer.status)
    response.headers.update(answer.headers)
    response.headers["Vary"] = "Accept-Encoding"
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    return response


def takes_gzip(request: Request) -> bool:
    """Say whether a browser takes compressed answers."""
    return request.accept_encodings["gzip"] > 0


def json_of(request: Request) -> dict[str, Any]:
    """Read what is asked for.

    Raises:
        RefusedError: It is no JSON object.
    """
    if not request.is_json:  # which pages of others cannot send without being asked first
        raise RefusedError(415, "Expected JSON.")
    try:
        asked = json.loads(request.get_data())
    except ValueError as error:
        raise RefusedError(400, "Expected JSON.") from error
    if not isinstance(asked, dict):
        raise RefusedError(400, "Expected a JSON object.")
    return asked
