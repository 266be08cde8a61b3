"""Our own few pages, and the headers that keep all pages safe."""

import functools
import json
from importlib import resources

import jinja2
from werkzeug import Request, Response

from tuner.dashboard.access import SAFE_METHODS

#: Where strangers are sent.
SIGN_IN = "/tuner/sign-in"

_NOBODY_FRAMES = "frame-ancestors 'none'; base-uri 'none'"
#: Of our pages: no script at all.
OWN_POLICY = (
    f"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; {_NOBODY_FRAMES}"
)
#: Of answers that are no pages.
DATA_POLICY = f"default-src 'none'; {_NOBODY_FRAMES}"
#: Of optuna-dashboard: its bundle makes functions from text and styles from anything.
DASHBOARD_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; frame-src 'none'; "
    f"form-action 'self'; {_NOBODY_FRAMES}"
)
#: Of the report: one file with its scripts in it. The sandbox makes it nobody's page: even a
#: script that somebody smuggled into it could ask for nothing with the reader's sign-in.
REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; "
    "script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; "
    f"img-src data: blob:; font-src data:; {_NOBODY_FRAMES}"
)

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that, browsers do not say which page a form comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",  # for what is older than frame-ancestors
}


@functools.cache
def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader("tuner.dashboard")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


@functools.cache
def style() -> str:
    """Give the style sheet of our pages."""
    return (resources.files("tuner.dashboard") / "templates" / "style.css").read_text()


def page(template: str, status: int = 200, **facts: object) -> Response:
    """Make one of our pages."""
    html = _templates().get_template(f"{template}.html").render(**facts)
    response = Response(html, status, mimetype="text/html")
    response.headers["Content-Security-Policy"] = OWN_POLICY
    return response


def message(
    request: Request, status: int, title: str, text: str, *, seconds: int | None = None
) -> Response:
    """Say something: as a page to people, as JSON to the dashboard's script.

    Args:
        request: What is answered.
        status: HTTP's number.
        title: In a few words.
        text: What is so, and what to do.
        seconds: After which the page asks again.
    """
    if wants_page(request):
        return page("message", status, title=title, text=text, seconds=seconds)
    return Response(json.dumps({"reason": text}), status, mimetype="application/json")


def refuse(request: Request, status: int, why: str) -> Response:
    """Say no."""
    return message(request, status, "This is not allowed", why)


def wants_page(request: Request) -> bool:
    """Say whether a person looks at the answer."""
    is_data = request.path.startswith(("/api/", "/csv/", "/static/"))
    return request.path.startswith("/tuner/") or (request.method in SAFE_METHODS and not is_data)


def ask_to_sign_in(request: Request) -> Response:
    """Send a person to the sign-in; say 401 to everything else."""
    if request.method in SAFE_METHODS and wants_page(request):
        return redirect(SIGN_IN)
    reason = {"reason": "Nobody is signed in. Load the page anew to sign in."}
    return Response(json.dumps(reason), 401, mimetype="application/json")


def redirect(path: str) -> Response:
    """Send on to a path of ours."""
    return Response("", 303, headers={"Location": path})


def secure(response: Response) -> Response:
    """Add the headers that every answer has."""
    headers = response.headers
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", DATA_POLICY)
    headers.setdefault("Cache-Control", "no-store")
    if "sandbox" not in headers["Content-Security-Policy"]:
        headers.setdefault(
            "Cross-Origin-Opener-Policy", "same-origin"
        )  # the two exclude each other
    return response
