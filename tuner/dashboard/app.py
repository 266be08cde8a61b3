"""The WSGI application: what passes the guard is answered, by us or by optuna-dashboard."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from werkzeug import Request, Response

from tuner.bucket import Bucket
from tuner.dashboard import pages
from tuner.dashboard.answers import Answer, Answers, BusyError, packed
from tuner.dashboard.changes import Changes, RefusedError
from tuner.dashboard.detail import study_answer
from tuner.dashboard.guard import Guard, Passed
from tuner.dashboard.mounted import answer_of, ask, json_of, looking, send, takes_gzip
from tuner.dashboard.signing import Signing
from tuner.dashboard.source import NothingYetError, Source
from tuner.errors import InputError, StorageUnavailableError, StudyNotFoundError
from tuner.storage import find_study

#: Bytes of a request; a note may be long.
MAX_REQUEST = 2**20
#: Seconds after which a page without a study looks again.
LOOK_AGAIN = 5
#: Seconds for which browsers keep the dashboard's script, whose name has no version.
KEEP_STATIC = 3600

_PREFERENTIAL = "preference:is_preferential"
_IDS = re.compile(r"\d{1,10}(,\d{1,10}){0,9999}")
_Environ = dict[str, Any]
_StartResponse = Callable[..., Any]


class DashboardApp:
    """Answers requests.

    Args:
        source: The database.
        guard: Who may ask what.
        signing: How people sign in.
        artifacts: Folder of the checkpoints, for what is deleted; None where there is none.
    """

    def __init__(
        self, *, source: Source, guard: Guard, signing: Signing, artifacts: Path | Bucket | None
    ) -> None:
        self._source = source
        self._guard = guard
        self._signing = signing
        self._artifacts = artifacts
        self._health = Answers()

    def __call__(self, environ: _Environ, start_response: _StartResponse) -> Iterable[bytes]:
        """Answer as WSGI says."""
        request = Request(environ)
        request.max_content_length = MAX_REQUEST
        response = pages.secure(self._respond(request))
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        passed = self._guard.check(request)
        if isinstance(passed, Response):
            return passed
        try:
            handler: Callable[[Request, Passed], Response] = getattr(
                self, f"_do_{passed.route.action}"
            )
            return handler(request, passed)
        except RefusedError as error:
            reason = {"reason": str(error), **error.more}
            return Response(json.dumps(reason), error.status, mimetype="application/json")
        except BusyError:
            why = "This takes a while and is being worked out. Ask again in a minute."
            return pages.message(request, 503, "In a minute", why, seconds=LOOK_AGAIN)
        except NothingYetError:
            return pages.message(
                request,
                503 if request.path.startswith(("/api/", "/csv/")) else 200,
                "No study yet",
                "There is nothing to show so far. Start a study with `tuner run FILE` or "
                "`tuner create FILE`, with the same storage as this dashboard.",
                seconds=LOOK_AGAIN,
            )
        except (StorageUnavailableError, InputError) as error:
            self._source.lost(error)
            return pages.message(
                request, 503, "The database does not answer", str(error), seconds=LOOK_AGAIN
            )

    # --- our own pages ---------------------------------------------------------------------------

    def _do_health(self, request: Request, passed: Passed) -> Response:
        """Say whether we and the database are well; to anybody, so nothing else."""
        del request, passed
        answer = self._health.get("health", self._ask_health, at_least=1.0)
        return Response(answer.body, answer.status, headers=answer.headers)

    def _ask_health(self) -> Answer:
        status, code = "ok", 200
        try:
            self._source.open().check()
        except NothingYetError:
            status = "no study yet"
        except (StorageUnavailableError, InputError) as error:
            self._source.lost(error)
            status, code = "the database does not answer", 503
        return packed(json.dumps({"status": status}), "application/json", code)

    def _do_style(self, request: Request, passed: Passed) -> Response:
        del request, passed
        headers = {"Cache-Control": f"public, max-age={KEEP_STATIC}"}
        return Response(pages.style(), mimetype="text/css", headers=headers)

    def _do_show_sign_in(self, request: Request, passed: Passed) -> Response:
        return self._signing.show(request, passed.session)

    def _do_sign_in(self, request: Request, passed: Passed) -> Response:
        del passed
        return self._signing.sign_in(request)

    def _do_show_sign_out(self, request: Request, passed: Passed) -> Response:
        del request
        role = passed.session.role.word if passed.session else ""
        return pages.page("sign_out", role=role)

    def _do_sign_out(self, request: Request, passed: Passed) -> Response:
        del passed
        return self._signing.sign_out(request)

    def _do_report(self, request: Request, passed: Passed) -> Response:
        name = passed.values["name"]
        backend = self._source.open()
        try:
            study = find_study(backend.database, name)
        except StudyNotFoundError as error:
            return pages.message(request, 404, "No such study", str(error))

        def work_out() -> Answer:
            from tuner.report import render

            html = render(backend.database, study)
            policy = {"Content-Security-Policy": pages.REPORT_POLICY}
            return packed(html, "text/html; charset=utf-8", headers=policy)

        return send(request, backend.answers.get(("report", study.key), work_out))

    # --- optuna-dashboard ------------------------------------------------------------------------

    def _do_home(self, request: Request, passed: Passed) -> Response:
        del request, passed
        return pages.redirect("/dashboard")

    def _do_page(self, request: Request, passed: Passed) -> Response:
        del request, passed
        backend = self._source.open()
        backend.check()  # else our own page, until there is something to show
        response = ask(backend, "/dashboard")
        response.headers["Content-Security-Policy"] = pages.DASHBOARD_POLICY
        return response

    def _do_static(self, request: Request, passed: Passed) -> Response:
        file = passed.values.get("file")
        path = f"/static/{file}" if file is not None else "/favicon.ico"
        forwarded = {"Accept-Encoding": "gzip" if takes_gzip(request) else ""}
        if "If-Modified-Since" in request.headers:
            forwarded["If-Modified-Since"] = request.headers["If-Modified-Since"]
        response = ask(self._source.open(), path, headers=forwarded)
        if response.status_code in {200, 304}:
            response.headers["Cache-Control"] = f"private, max-age={KEEP_STATIC}"
            response.headers["Vary"] = "Accept-Encoding, Cookie"
        return response

    def _do_meta(self, request: Request, passed: Passed) -> Response:
        del request, passed
        return ask(self._source.open(), "/api/meta")

    def _do_studies(self, request: Request, passed: Passed) -> Response:
        del passed
        backend = self._source.open()

        def work_out() -> Answer:
            backend.check()  # optuna-dashboard would call it a bug of its own
            return answer_of(ask(backend, "/api/studies"))

        return send(request, backend.answers.get("studies", work_out))

    def _do_study(self, request: Request, passed: Passed) -> Response:
        backend, study_id = self._source.open(), passed.values["study_id"]
        after = request.args.get("after", "0")
        if not re.fullmatch(r"\d{1,9}", after):
            raise RefusedError(400, f"after: expected a number of trials. Received {after!r}.")

        def work_out() -> Answer:
            with looking(backend, study_id) as seen:
                if not seen.study.system_attrs.get(_PREFERENTIAL, False):
                    return packed(study_answer(seen, int(after)), "application/json")
            query = {"after": after}
            return answer_of(ask(backend, f"/api/studies/{study_id}", query))

        return send(request, backend.answers.get(("study", study_id, int(after)), work_out))

    def _do_slow(self, request: Request, passed: Passed) -> Response:
        """Importances and plots."""
        study_id, kind = passed.values["study_id"], passed.values.get("kind")
        tail = "param_importances" if kind is None else f"plot/{kind}"
        return self._ask_about(request, study_id, f"/api/studies/{study_id}/{tail}", {})

    def _do_csv(self, request: Request, passed: Passed) -> Response:
        study_id, ids = passed.values["study_id"], request.args.get("trial_ids", "")
        if ids and not _IDS.fullmatch(ids):
            raise RefusedError(400, "trial_ids: expected numbers with commas between them.")
        query = {"trial_ids": ids} if ids else {}
        return self._ask_about(request, study_id, f"/csv/{study_id}", query)

    def _ask_about(
        self, request: Request, study_id: int, path: str, query: Mapping[str, str]
    ) -> Response:
        backend = self._source.open()

        def work_out() -> Answer:
            with looking(backend, study_id):
                pass  # it is there, and the database answers
            with backend.one_plot():
                return answer_of(ask(backend, path, query))

        return send(request, backend.answers.get((path, tuple(query.items())), work_out))

    # --- what an operator changes ----------------------------------------------------------------

    def _do_delete_study(self, request: Request, passed: Passed) -> Response:
        del request
        return self._change(lambda changes: changes.delete_study(**passed.values))

    def _do_fail_trial(self, request: Request, passed: Passed) -> Response:
        asked = json_of(request)
        return self._change(lambda changes: changes.fail_trial(**passed.values, asked=asked))

    def _do_add_attributes(self, request: Request, passed: Passed) -> Response:
        asked = json_of(request)
        return self._change(lambda changes: changes.add_attributes(**passed.values, asked=asked))

    def _do_write_trial_note(self, request: Request, passed: Passed) -> Response:
        asked = json_of(request)
        return self._change(lambda changes: changes.write_trial_note(**passed.values, asked=asked))

    def _change(self, make: Callable[[Changes], None]) -> Response:
        backend = self._source.open()
        try:
            make(Changes(backend.database, self._artifacts))
        except InputError as error:  # the database's own word: this role of it may only read
            raise RefusedError(403, str(error)) from error
        finally:
            backend.forget()
        # Not 204, without a body: the dashboard's script reads JSON, and would tell of a failure.
        return Response("{}", mimetype="application/json")
