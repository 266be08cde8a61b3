"""What every request has to pass: our name, our own pages, a sign-in, a role that may."""

from dataclasses import dataclass
from typing import Any

from werkzeug import Request, Response

from tuner.dashboard import pages
from tuner.dashboard.access import SAFE_METHODS, Role, Route, find_route
from tuner.dashboard.address import Address
from tuner.dashboard.sessions import Session, Sessions

#: Answers that nobody is asked for first: a cluster asks by the number of a machine.
_ANYWHERE = frozenset({"health"})


@dataclass(frozen=True, kw_only=True)
class Passed:
    """A request that may be answered."""

    #: What it asks for.
    route: Route
    #: What the placeholders of its path stand for.
    values: dict[str, Any]
    #: Who asks; None for somebody who is not signed in.
    session: Session | None


class Guard:
    """Lets requests pass.

    Args:
        address: Our names.
        sessions: Who is signed in.
    """

    def __init__(self, address: Address, sessions: Sessions) -> None:
        self._address = address
        self._sessions = sessions

    def check(self, request: Request) -> Passed | Response:
        """Let a request pass, or give the answer that says why not."""
        found = find_route(request.method, request.path)
        is_anywhere = found is not None and found[0].action in _ANYWHERE
        if not is_anywhere and request.environ.get("HTTP_HOST", "").lower() not in (
            self._address.hosts
        ):
            # Else a stranger's page could have its own name lead to us, and read what we say.
            return pages.refuse(
                request,
                421,
                "This dashboard is not known under the name in the address. Use the address that "
                "`tuner dashboard` printed, or start it with --public-url and this one.",
            )
        if request.method not in SAFE_METHODS and not self._is_from_our_pages(request):
            return pages.refuse(request, 403, "This was not asked for by a page of the dashboard.")
        session = self._sessions.find(request.cookies.get(self._address.cookie, ""))
        if session is None and (found is None or found[0].role is not None):
            # The same for what is there and what is not: strangers learn nothing.
            return pages.ask_to_sign_in(request)
        if found is None or not _may(session, found[0]):
            return pages.refuse(request, 403, _why(session, known=found is not None))
        return Passed(route=found[0], values=found[1], session=session)

    def _is_from_our_pages(self, request: Request) -> bool:
        """Say whether a change was asked for by a page of ours, not by somebody else's.

        Browsers tell where a request comes from, and pages cannot make them lie.
        """
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        if site is not None and site != "same-origin":
            return False
        return origin in self._address.origins if origin is not None else site == "same-origin"


def _may(session: Session | None, route: Route) -> bool:
    return route.role is None or (session is not None and session.role >= route.role)


def _why(session: Session | None, *, known: bool) -> str:
    if known and session is not None and session.role < Role.OPERATOR:
        return "A viewer changes nothing. Sign in as operator."
    return "The dashboard does not do that: tuner's command line may, see `tuner --help`."
