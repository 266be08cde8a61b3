"""Signing in with a secret or a link, and signing out."""

from collections.abc import Sequence

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from tuner.dashboard import pages
from tuner.dashboard.access import Role
from tuner.dashboard.address import Address
from tuner.dashboard.answers import BusyError
from tuner.dashboard.credentials import Credential, check_secret
from tuner.dashboard.sessions import LIFETIME, OneTimeToken, Session, Sessions


class Signing:
    """Signs people in and out.

    Args:
        address: Our names.
        sessions: Who is signed in.
        credentials: Secrets that let in.
        link: A link that lets in; None where there are secrets.
    """

    def __init__(
        self,
        *,
        address: Address,
        sessions: Sessions,
        credentials: Sequence[Credential],
        link: OneTimeToken | None,
    ) -> None:
        self._address = address
        self._sessions = sessions
        self._credentials = credentials
        self._link = link

    def show(self, request: Request, session: Session | None) -> Response:
        """Show the form; who comes by a link is let in."""
        if session is not None:  # also where a browser opens the link twice
            return pages.redirect("/dashboard")
        offered = request.args.get("token")
        if offered is None or self._link is None:
            return self._form(200)
        if request.method != "GET":  # those who only look a link up do not use it up
            return self._form(200)
        role = self._link.use(offered)
        if role is None:
            return self._form(403, "This link was used already, or is none. Take the newest one.")
        return self._let_in(role)

    def sign_in(self, request: Request) -> Response:
        """Let in who knows a secret."""
        try:
            secret = request.form.get("secret", "")
        except HTTPException:  # too large
            return self._form(400, "That is not a secret.")
        try:
            role = check_secret(self._credentials, secret)
        except BusyError:
            return self._form(503, "Many people are signing in. Try again in a few seconds.")
        if role is None:
            return self._form(403, "This is not a secret that lets in.")
        return self._let_in(role)

    def sign_out(self, request: Request) -> Response:
        """Sign out, here and now."""
        self._sessions.close(request.cookies.get(self._address.cookie, ""))
        response = pages.redirect(pages.SIGN_IN)
        response.delete_cookie(
            self._address.cookie, secure=self._address.is_secure, httponly=True, samesite="Lax"
        )
        return response

    def _form(self, status: int, wrong: str = "") -> Response:
        return pages.page("sign_in", status, wrong=wrong, by_secret=bool(self._credentials))

    def _let_in(self, role: Role) -> Response:
        response = pages.redirect("/dashboard")
        response.set_cookie(
            self._address.cookie,
            self._sessions.open(role),
            max_age=int(LIFETIME),
            secure=self._address.is_secure,
            httponly=True,
            # Not Strict: a link in a mail or a notebook leads to the dashboard, not to the sign-in.
            # What changes something asks for more than a cookie.
            samesite="Lax",
        )
        return response
