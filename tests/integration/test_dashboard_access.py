"""Who may do what with the dashboard: every route, every method, every role."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from click.testing import CliRunner

from tests.conftest import StudyMaker
from tests.dashboard_site import CREDENTIALS, HERE, SECRETS, Site
from tests.objectives import TOY_STUDY
from tuner.cli import main
from tuner.dashboard import Address, Role, Settings, credential_line, read_credentials, serve
from tuner.dashboard.access import ROUTES
from tuner.dashboard.sessions import LIFETIME, OneTimeToken, Sessions
from tuner.errors import InputError
from tuner.storage import Database, create_study
from tuner.study_file import load_study_file

METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "POST", "PUT", "PATCH", "DELETE")

#: What a stranger, a viewer and an operator get, for all of optuna-dashboard's routes that are not
#: denied; what is not listed is 401 (303 for a page) and twice 403.
ANSWERED = {
    ("GET", "/"): (303, 303, 303),
    ("GET", "/dashboard<:re:(/.*)?>"): (303, 200, 200),
    ("GET", "/api/meta"): (401, 200, 200),
    ("GET", "/api/studies"): (401, 200, 200),
    ("GET", "/api/studies/<study_id:int>"): (401, 200, 200),
    ("GET", "/api/studies/<study_id:int>/param_importances"): (401, 200, 200),
    ("GET", "/api/studies/<study_id:int>/plot/<plot_type>"): (401, 200, 200),
    ("GET", "/csv/<study_id:int>"): (401, 200, 200),
    ("GET", "/favicon.ico"): (303, 200, 200),
    ("GET", "/static/<filename:path>"): (401, 200, 200),
    ("PUT", "/api/studies/<study_id:int>/<trial_id:int>/note"): (401, 403, 200),
    ("POST", "/api/trials/<trial_id:int>/user-attrs"): (401, 403, 200),
    ("POST", "/api/trials/<trial_id:int>/tell"): (401, 403, 200),
    ("DELETE", "/api/studies/<study_id:int>"): (401, 403, 200),
}
#: The same for our own.
OURS = {
    ("GET", "/tuner/health"): (200, 200, 200),
    ("GET", "/tuner/style.css"): (200, 200, 200),
    ("GET", "/tuner/sign-in"): (200, 303, 303),
    ("POST", "/tuner/sign-in"): (403, 403, 403),  # without a secret
    ("GET", "/tuner/sign-out"): (303, 200, 200),
    ("GET", "/tuner/studies/<name>/report"): (303, 404, 404),  # of a study that is not there
    ("POST", "/tuner/sign-out"): (401, 303, 303),
}
PEOPLE = (None, Role.VIEWER, Role.OPERATOR)
#: Fits every change that an operator may make.
BODY = {"state": "Fail", "user_attrs": {"colour": "red"}, "version": 1, "body": "a note"}


@pytest.fixture(scope="module")
def some_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that none of these tests changes, though some try."""
    folder = tmp_path_factory.mktemp("dashboard")
    (folder / "toy.toml").write_text(TOY_STUDY)
    url = f"sqlite:///{folder / 'tuner.db'}"
    with Database.open(url, create=True) as database:
        create_study(database, load_study_file(folder / "toy.toml", ())[0])
    return url


@pytest.fixture
def site(some_url: str) -> Iterator[Site]:
    made = Site(some_url, with_secrets=CREDENTIALS)
    yield made
    made.close()


@pytest.fixture
def local(some_url: str) -> Iterator[Site]:
    made = Site(some_url)
    yield made
    made.close()


def paths(rule: str, study_id: int, trial_id: int) -> str:
    """Make a path of a rule."""
    stands_for = {
        "<study_id:int>": str(study_id),
        "<trial_id:int>": str(trial_id),
        "<:re:(/.*)?>": f"/studies/{study_id}/trials",
        "<plot_type>": "timeline",
        "<filename:path>": "bundle.js",
        "<history_id>": "1",
        "<name>": "nobody",
    }
    path = re.sub(r"<artifact_id:[^>]*>", "0a-1", rule)
    for placeholder, text in stands_for.items():
        path = path.replace(placeholder, text)
    assert "<" not in path, f"a new placeholder: {rule}"
    return path


def denied(method: str, path: str) -> tuple[int, int, int]:
    is_page = method in {"GET", "HEAD"} and not path.startswith(("/api/", "/csv/", "/static/"))
    return (303 if is_page else 401, 403, 403)


def test_every_route_has_an_answer_for_every_method_and_role(
    database: Database,
    storage_url: str,
    toy: StudyMaker,
    tmp_path: Path,
) -> None:
    create_study(database, toy())
    site = Site(storage_url, with_secrets=CREDENTIALS, artifacts=tmp_path / "artifacts")
    study = optuna.load_study(study_name="toy", storage=database.storage)
    trial_id = study.ask()._trial_id
    mounted = {(route.method, route.rule) for route in site.source.open().mounted.routes}
    rules = sorted({rule for _, rule in mounted} | {rule for _, rule in OURS})
    expected = ANSWERED | OURS
    order = {key: place for place, key in enumerate(expected)}  # a deletion comes last

    found, wanted = {}, {}
    every = [(method, rule) for rule in rules for method in METHODS]
    for method, rule in sorted(every, key=lambda key: order.get(key, -1)):
        path = paths(rule, study._study_id, trial_id)
        reads_as = "GET" if method == "HEAD" else method
        wanted[method, rule] = expected.get((reads_as, rule), denied(method, path))
        found[method, rule] = tuple(
            site.somebody(role).ask(method, path, body=BODY).status_code for role in PEOPLE
        )

    print_table(found)
    assert found == wanted
    assert mounted >= set(ANSWERED), "optuna-dashboard does not have what we let through"
    site.close()


def print_table(found: dict[tuple[str, str], tuple[int, ...]]) -> None:
    """Show the table to whoever runs this test with ``-n 0 -s``."""
    lines = [f"{'method':9}{'route':62}stranger viewer operator"]
    lines += [
        f"{method:9}{rule:62}{'  '.join(f'{code:6}' for code in codes)}"
        for (method, rule), codes in sorted(found.items(), key=lambda row: row[0][::-1])
        if any(code < 400 for code in codes[1:]) or method in {"POST", "PUT", "DELETE"}
    ]
    print("\n" + "\n".join(lines))


def test_each_route_of_the_table_has_its_handler(site: Site) -> None:
    for route in ROUTES:
        assert callable(getattr(site.app, f"_do_{route.action}"))


def test_a_route_that_a_new_optuna_dashboard_adds_is_denied(site: Site) -> None:
    site.source.open().mounted.route("/api/new", method=["GET", "POST"], callback=lambda: "new")

    for method in ("GET", "POST"):
        codes = [site.somebody(role).ask(method, "/api/new").status_code for role in PEOPLE]
        assert codes == [401, 403, 403]


@pytest.mark.parametrize(
    "path",
    [
        "/api/studies/",
        "//api/studies",
        "/api//studies",
        "/api/studies/1/",
        "/api/studies/-1",
        "/api/studies/99999999999999999999",
        "/api/studies/1%2Frename",
        "/static/../_app.py",
        "/static/..%2f_app.py",
        "/incompatible-rdb-schema",
        "/artifacts/1/0a",
        "/tuner",
        "/tuner/",
    ],
)
def test_a_path_that_only_looks_like_an_allowed_one_is_not_let_through(
    site: Site, path: str
) -> None:
    response = site.somebody(Role.OPERATOR).get(path)

    assert response.status_code in {403, 404}
    assert "import" not in response.text


def test_a_method_in_a_header_or_a_form_changes_nothing(site: Site) -> None:
    viewer = site.somebody(Role.VIEWER)
    study_id = viewer.json("/api/studies")["study_summaries"][0]["study_id"]

    viewer.ask(
        "GET",
        f"/api/studies/{study_id}?_method=DELETE",
        headers={"X-HTTP-Method-Override": "DELETE"},
    )
    viewer.ask("POST", f"/api/studies/{study_id}", form={"_method": "DELETE"})

    assert viewer.json(f"/api/studies/{study_id}")["name"] == "toy"


def test_the_dashboards_storage_writes_nothing(
    database: Database, storage_url: str, toy: StudyMaker
) -> None:
    create_study(database, toy())
    site = Site(storage_url)
    storage = optuna.load_study(study_name="toy", storage=database.storage)
    mounted = site.source.open().mounted
    before = database.storage.get_all_studies()

    for route in mounted.routes:
        if route.method != "GET":
            body = {"study_name": "new", "directions": ["minimize"], **BODY}
            path = paths(route.rule, storage._study_id, 1)
            codes = {_ask_past_the_guard(mounted, route.method, path, body)}
            assert (
                codes & {400, 401, 403, 404, 409, 500} or route.rule == "/incompatible-rdb-schema"
            )

    assert database.storage.get_all_studies() == before
    assert database.storage.get_all_trials(storage._study_id) == []
    site.close()


def _ask_past_the_guard(mounted: object, method: str, path: str, body: object) -> int:
    from werkzeug.test import Client

    return Client(mounted).open(path, method=method, json=body).status_code  # type: ignore[arg-type]


# --- who asks, and from where --------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "https://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "", "Sec-Fetch-Site": "cross-site", "Referer": f"{HERE}/dashboard"},
    ],
)
def test_a_change_that_another_page_asks_for_is_refused(
    site: Site, headers: dict[str, str]
) -> None:
    operator = site.somebody(Role.OPERATOR)
    study_id = operator.json("/api/studies")["study_summaries"][0]["study_id"]

    deleted = operator.ask("DELETE", f"/api/studies/{study_id}", headers=headers)
    signed_in = site.stranger().ask(
        "POST", "/tuner/sign-in", form={"secret": SECRETS[Role.VIEWER]}, headers=headers
    )

    assert (deleted.status_code, signed_in.status_code) == (403, 403)
    assert "Set-Cookie" not in signed_in.headers
    assert operator.json(f"/api/studies/{study_id}")["name"] == "toy"


def test_a_change_is_asked_for_in_json(site: Site) -> None:
    operator = site.somebody(Role.OPERATOR)

    response = operator.ask("POST", "/api/trials/1/tell", form={"state": "Fail"})

    assert response.status_code == 415


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1", "127.0.0.1:80"])
def test_a_name_that_was_bound_to_our_number_shows_nothing(site: Site, host: str) -> None:
    person = site.somebody(Role.OPERATOR)

    for path in ("/dashboard", "/api/studies", "/tuner/sign-in"):
        assert person.ask("GET", path, base=f"http://{host}").status_code == 421
    health = person.ask("GET", "/tuner/health", base=f"http://{host}")
    assert (health.status_code, health.json) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080"]
)
def test_the_names_of_this_machine_are_ours(site: Site, host: str) -> None:
    assert (
        site.somebody(Role.VIEWER).ask("GET", "/api/meta", base=f"http://{host}").status_code == 200
    )


def test_behind_a_proxy_only_its_name_counts(some_url: str) -> None:
    site = Site(
        some_url,
        with_secrets=CREDENTIALS,
        host="10.0.0.7",
        public_url="https://Tuner.example.org/",
    )
    viewer = site.somebody(Role.VIEWER)

    for host, code in {
        "tuner.example.org": 200,
        "tuner.example.org:443": 200,
        "10.0.0.7:8080": 421,
        "localhost:8080": 421,
    }.items():
        assert viewer.ask("GET", "/api/meta", base=f"https://{host}").status_code == code
    entered = site.stranger().ask("POST", "/tuner/sign-in", form={"secret": SECRETS[Role.VIEWER]})
    cookie = entered.headers["Set-Cookie"]
    assert cookie.startswith("__Host-tuner-443=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    site.close()


def test_dashboards_behind_two_ports_of_one_machine_have_a_cookie_each() -> None:
    def cookie(public_url: str | None, port: int = 8080) -> str:
        return Address.of("0.0.0.0", port, public_url).cookie  # noqa: S104 - as in a container

    assert cookie("http://127.0.0.1:8080") == "tuner-8080"
    assert cookie("http://127.0.0.1:8081") == "tuner-8081"  # a container's port, mapped
    assert cookie(None, 9090) == "tuner-9090"
    assert cookie("http://tuner.example.org") == "tuner-80"
    assert cookie("https://tuner.example.org:8443") == "__Host-tuner-8443"


@pytest.mark.parametrize(
    "url",
    ["tuner.example.org", "ftp://x", "https://", "https://x/path", "https://x:y", "http://a@b"],
)
def test_an_address_that_browsers_cannot_use_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="--public-url: received"):
        Address.of("127.0.0.1", 8080, url)


# --- signing in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
def test_a_secret_lets_in_as_what_it_is_for(site: Site, role: Role) -> None:
    person = site.stranger()

    entered = person.ask("POST", "/tuner/sign-in", form={"secret": SECRETS[role]})
    person.take(entered)

    assert (entered.status_code, entered.headers["Location"]) == (303, "/dashboard")
    cookie = set(entered.headers["Set-Cookie"].split("; "))
    assert {"HttpOnly", "SameSite=Lax", "Path=/", f"Max-Age={int(LIFETIME)}"} <= cookie
    assert f"Signed in as {role.word}" in person.get("/tuner/sign-out").text


@pytest.mark.parametrize("secret", ["", "nobody knows it", "x" * 5000, "a viewer knows this\n"])
def test_a_wrong_secret_is_told_nothing(site: Site, secret: str) -> None:
    response = site.stranger().ask("POST", "/tuner/sign-in", form={"secret": secret})

    assert response.status_code == 403
    assert "Set-Cookie" not in response.headers
    assert "This is not a secret that lets in." in response.text
    assert not secret.strip() or secret not in response.text


def test_a_link_lets_one_browser_in_once(local: Site) -> None:
    link = local.link.removeprefix(HERE)
    first, second = local.stranger(), local.stranger()

    assert first.ask("HEAD", link).status_code == 200  # looking it up does not use it up
    entered = first.get(link)
    first.take(entered)

    assert (entered.status_code, entered.headers["Location"]) == (303, "/dashboard")
    assert first.get("/dashboard").status_code == 200
    again = second.get(link)
    assert (again.status_code, "Set-Cookie" in again.headers) == (403, False)
    assert "was used already" in again.text
    assert first.get(link).status_code == 303  # the browser that is in stays in
    assert local.link.removeprefix(HERE) != link
    second.take(second.get(local.link.removeprefix(HERE)))
    assert second.get("/dashboard").status_code == 200


def test_a_link_lets_in_as_viewer_unless_an_operator_was_asked_for(some_url: str) -> None:
    for role in Role:
        site = Site(some_url, link_role=role)
        person = site.stranger()
        person.take(person.get(site.link.removeprefix(HERE)))
        assert f"as {role.word}" in person.get("/tuner/sign-out").text
        site.close()


def test_no_secret_lets_in_where_there_is_none(local: Site) -> None:
    response = local.stranger().ask("POST", "/tuner/sign-in", form={"secret": ""})

    assert response.status_code == 403


def test_with_secrets_there_is_no_link(site: Site) -> None:
    assert not [line for line in site.said if "token=" in line]
    assert site.stranger().get("/tuner/sign-in?token=anything").status_code == 200


def test_who_signs_out_is_out(site: Site) -> None:
    person = site.somebody(Role.VIEWER)

    left = person.ask("POST", "/tuner/sign-out")

    assert left.headers["Location"] == "/tuner/sign-in"
    assert person.get("/api/studies").status_code == 401


def test_a_sign_in_ends_by_itself() -> None:
    now = 0.0
    sessions = Sessions(clock=lambda: now)
    token = sessions.open(Role.VIEWER)

    assert sessions.find(token) is not None
    now = LIFETIME + 1
    assert sessions.find(token) is None


@pytest.mark.parametrize("token", ["", "ä", "x" * 10_000])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    assert OneTimeToken(Role.VIEWER, lambda _: None).use(token) is None


def test_all_answers_have_the_headers_that_keep_pages_safe(site: Site) -> None:
    person = site.somebody(Role.VIEWER)
    study = person.json("/api/studies")["study_summaries"][0]["study_id"]
    answers = [person.get(path) for path in ("/dashboard", f"/api/studies/{study}", "/nowhere")]
    answers += [site.stranger().get(path) for path in ("/tuner/sign-in", "/tuner/health", "/")]
    answers += [site.stranger().get("/api/studies")]

    for answer in answers:
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
    assert (
        "'unsafe-inline'" not in answers[0].headers["Content-Security-Policy"].partition("style")[0]
    )
    static = person.get("/static/bundle.js")
    assert static.headers["Cache-Control"] == "private, max-age=3600"


# --- hashed secrets ------------------------------------------------------------------------------


def test_secrets_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "secrets.txt"
    lines = [credential_line(Role.VIEWER, "the first viewer"), "", "# for the night shift"]
    file.write_text("\n".join([*lines, credential_line(Role.VIEWER, "the second one")]))
    file.chmod(0o600)
    _, _, hashed = credential_line(Role.OPERATOR, "an operator's").partition(":")

    found = read_credentials(file, {"TUNER_DASHBOARD_OPERATOR": hashed})

    assert [one.role for one in found] == [Role.OPERATOR, Role.VIEWER, Role.VIEWER]
    assert not any("viewer" in one.hashed for one in found)


@pytest.mark.parametrize(
    "text", ["", "# nothing", "viewer:my secret words", "my secret words", "admin:scrypt:1:1:1$a$b"]
)
def test_a_file_without_hashes_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secrets.txt"
    file.write_text(text)
    file.chmod(0o600)

    with pytest.raises(InputError, match="--make-secret") as raised:
        read_credentials(file, {})

    assert "my secret words" not in str(raised.value)


def test_a_file_that_others_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "secrets.txt"
    file.write_text(credential_line(Role.VIEWER, "the first viewer"))
    file.chmod(0o644)

    read_credentials(file, {})

    assert "chmod 600" in caplog.text


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(InputError, match="Expected 12 to 1024"):
        credential_line(Role.VIEWER, "short")


def test_a_secret_in_place_of_its_hash_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match="TUNER_DASHBOARD_VIEWER") as raised:
        read_credentials(None, {"TUNER_DASHBOARD_VIEWER": "my secret words"})

    assert "my secret words" not in str(raised.value)


def test_a_secret_is_asked_for_twice_and_its_line_printed() -> None:
    asked = CliRunner().invoke(
        main,
        ["dashboard", "--make-secret", "operator"],
        input="an operator's words\nan operator's words\n",
        standalone_mode=False,
    )

    line = asked.stdout.splitlines()[-1]
    assert line.startswith("operator:scrypt:")
    assert "an operator's words" not in asked.output


# --- where it listens -----------------------------------------------------------------------------


def test_a_port_that_is_taken_is_told_of(some_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: nothing can listen there"):
            serve(Settings(storage=some_url, port=port), lambda _: None)


def test_others_reach_it_only_with_secrets(some_url: str) -> None:
    with pytest.raises(InputError, match="it has no secrets"):
        serve(Settings(storage=some_url, host="10.0.0.7"), lambda _: None)


@pytest.mark.parametrize(
    ("public_url", "is_local"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://localhost", True),
        ("http://127.example.org:9000", False),
        ("http://10.0.0.7:9000", False),
        (None, False),
    ],
)
def test_in_a_container_only_a_port_of_its_own_machine_does_without_secrets(
    some_url: str, public_url: str | None, is_local: bool
) -> None:
    host = "0.0.0.0"  # noqa: S104 - what a container listens on
    with socket.create_server((host, 0)) as taken:  # so that no server starts
        settings = Settings(
            storage=some_url, host=host, port=taken.getsockname()[1], public_url=public_url
        )
        with pytest.raises(InputError, match="can listen" if is_local else "has no secrets"):
            serve(settings, lambda _: None)


def test_in_a_container_the_link_leads_to_the_port_outside(some_url: str) -> None:
    site = Site(some_url, host="0.0.0.0", public_url="http://127.0.0.1:9000")  # noqa: S104

    assert site.link.startswith("http://127.0.0.1:9000/")
    path = site.link.removeprefix("http://127.0.0.1:9000")
    assert site.stranger().get(path).headers["Location"] == "/dashboard"
    site.close()


def test_a_database_of_another_version_is_told_of_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tuner.db'}"
    with Database.open(url, create=True) as database, database.transaction() as session:
        session.execute(sqlalchemy.text("UPDATE tuner_schema SET version = 1"))

    with pytest.raises(InputError, match="holds version 1"):
        Site(url)


def test_a_password_of_the_database_is_on_no_page(tmp_path: Path) -> None:
    site = Site("postgresql://tuner:hunter2@127.0.0.1:1/tuner")

    page = site.somebody(Role.OPERATOR).get("/dashboard")

    assert (page.status_code, "hunter2" in page.text) == (503, False)
    assert not [line for line in site.said if "hunter2" in line]
    site.close()
