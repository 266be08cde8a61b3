"""Data behind a URL: from a web server or an object store, whole, once a machine, or not at all."""

import gzip
import http.server
import io
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from tests.conftest import StudyMaker
from tests.workers import make_worker
from tuner.config import DataConfig, StudyConfig
from tuner.data import download
from tuner.data.download import MAX_AGE, N_TRIES, fetch, localized
from tuner.data.fingerprint import fingerprint
from tuner.data.sources import read, read_test
from tuner.errors import ConfigError, DataAwayError, DataError
from tuner.results import progress
from tuner.storage import Database, create_study

REVIEWS = "text,label\n" + "".join(
    f'"a {word} film, number {i}",{label}\n'
    for i in range(20)
    for word, label in (("good", "positive"), ("bad", "negative"))
)


@dataclass
class Site:
    """A web server's files, and what was asked of it."""

    #: Path to content.
    files: dict[str, bytes] = field(default_factory=dict)
    #: Path to headers beside the length.
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Path to what is answered instead of 200.
    codes: dict[str, int] = field(default_factory=dict)
    #: Paths whose content breaks off in its middle.
    torn: set[str] = field(default_factory=set)
    #: Requests that are still answered by 503.
    n_busy: int = 0
    #: Paths in the order in which they were asked for.
    asked: list[str] = field(default_factory=list)
    #: Seconds before an answer.
    delay: float = 0.0
    address: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from a `Site`."""

    site: Site

    def do_GET(self) -> None:
        site, path = self.site, self.path.partition("?")[0]
        site.asked.append(path)
        time.sleep(site.delay)
        content = site.files.get(path, b"")
        code = site.codes.get(path, 200 if path in site.files else 404)
        if site.n_busy:
            site.n_busy, code = site.n_busy - 1, 503
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        for name, value in site.headers.get(path, {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if path in site.torn else content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Write no log."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A web server; whoever asks it again does so soon."""
    monkeypatch.setattr(download, "PAUSE", 0.05)
    made = Site()
    handler = type("HandlerOfSite", (Handler,), {"site": made})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def offer(site: Site, path: str = "/reviews.csv", content: str = REVIEWS) -> str:
    """Put a file on the site, with a version; give its URL."""
    site.files[path] = gzip.compress(content.encode()) if path.endswith(".gz") else content.encode()
    site.headers[path] = {"ETag": f'"{abs(hash(content))}"'}
    return site.address + path


def read_url(url: str, **more: Any) -> Any:
    return read(DataConfig(source=url, **more), seed=0, folder=Path())


@pytest.mark.parametrize("path", ["/reviews.csv", "/a%20folder/reviews.csv.gz"])
def test_a_url_gives_the_same_data_as_the_file_behind_it(
    site: Site, machine_cache: Path, tmp_path: Path, path: str
) -> None:
    local = tmp_path / "reviews.csv"
    local.write_text(REVIEWS)
    url = offer(site, path)

    one, other = read_url(url), read_url(str(local))

    config = DataConfig(source=url)
    assert fingerprint(one, config, seed=3) == fingerprint(other, config, seed=3)
    (copy,) = machine_cache.glob("data/*/*/*")
    assert copy.name == path.rpartition("/")[2]


def test_a_file_is_downloaded_again_only_when_it_changed(site: Site, machine_cache: Path) -> None:
    url = offer(site)
    first = fetch(url, "data.source")
    first.write_text("kept")  # what was not downloaded again still says this
    assert fetch(url, "data.source").read_text() == "kept"

    offer(site, content=REVIEWS + "a new one,positive\n")
    second = fetch(url, "data.source")

    assert second.read_text().endswith("a new one,positive\n")
    assert first.exists()  # a trainer may be about to read it
    assert site.asked == ["/reviews.csv"] * 3


def test_an_older_version_that_nobody_used_for_long_is_removed(
    site: Site, machine_cache: Path
) -> None:
    first = fetch(offer(site), "data.source")
    long_ago = time.time() - MAX_AGE - 60
    os.utime(first, (long_ago, long_ago))

    second = fetch(offer(site, content=REVIEWS + "a new one,positive\n"), "data.source")

    assert not first.exists()
    assert second.exists()


def test_a_server_that_tells_no_version_is_asked_for_the_whole_file_each_time(
    site: Site, machine_cache: Path
) -> None:
    url = offer(site)
    site.headers.clear()
    first = fetch(url, "data.source")
    assert fetch(url, "data.source") == first

    site.files["/reviews.csv"] = REVIEWS.replace("good", "best").encode()  # as long as before

    assert "best" in fetch(url, "data.source").read_text()


def test_those_who_want_a_file_at_the_same_time_download_it_once(
    site: Site, machine_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    url = offer(site, content=REVIEWS * 20_000)
    site.delay = 0.1
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(url, "data.source"), range(4)))

    (path,) = set(paths)
    assert path.read_text() == REVIEWS * 20_000
    assert caplog.text.count("downloading") == 1
    assert [left.name for left in path.parents[1].iterdir() if left.is_file()] == ["lock"]


def test_the_copy_of_this_machine_serves_while_the_server_is_away(
    site: Site, machine_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = offer(site)
    fetch(url, "data.source")
    site.codes["/reviews.csv"] = 503

    assert fetch(url, "data.source").read_text() == REVIEWS

    assert "the server answers 503" in caplog.text
    assert "The copy here is used" in caplog.text
    assert len(site.asked) == 4


def test_a_server_that_is_busy_for_a_moment_is_asked_again(site: Site, machine_cache: Path) -> None:
    url = offer(site)
    site.n_busy = 2

    assert fetch(url, "data.source").read_text() == REVIEWS

    assert len(site.asked) == 3


def test_half_a_download_is_refused_and_not_kept(site: Site, machine_cache: Path) -> None:
    url = offer(site)
    site.torn.add("/reviews.csv")

    with pytest.raises(DataError, match=r"ended after \d+ of \d+ bytes.*download it by hand"):
        fetch(url, "data.source")

    assert [path.name for path in machine_cache.glob("data/*/*")] == ["lock"]


@pytest.mark.parametrize(
    ("code", "headers", "what"),
    [
        (404, {}, r"answers 404 \(Not Found\)"),
        (401, {}, r"answers 401 .* signs in nowhere"),
        (302, {"Location": "http://127.0.0.1:9/reviews.csv"}, "Connection refused"),
        (302, {"Location": "/reviews.csv"}, "infinite loop"),
        (302, {"Location": "file:///etc/passwd"}, "answers 302"),
    ],
)
def test_an_answer_that_is_no_file_is_told(
    site: Site, machine_cache: Path, code: int, headers: dict[str, str], what: str
) -> None:
    url = offer(site)
    site.codes["/reviews.csv"] = code
    site.headers["/reviews.csv"] = headers

    with pytest.raises(DataError, match=f"data.source = 'http.*{what}"):
        read_url(url)


def test_a_web_page_instead_of_a_file_is_refused(site: Site, machine_cache: Path) -> None:
    url = offer(site, content="\n<!DOCTYPE html>\n<html><body>Please sign in.</body></html>")

    with pytest.raises(DataError, match="answers with a web page"):
        read_url(url)


def test_a_redirect_to_where_the_file_is_now_is_followed(site: Site, machine_cache: Path) -> None:
    offer(site, "/elsewhere/reviews.csv")
    site.codes["/reviews.csv"] = 302
    site.headers["/reviews.csv"] = {"Location": "/elsewhere/reviews.csv"}

    assert len(read_url(f"{site.address}/reviews.csv").labels) == 40


def test_a_name_that_is_no_readable_file_is_refused_before_anything_is_downloaded(
    site: Site, machine_cache: Path
) -> None:
    with pytest.raises(DataError, match=r"ends in one of \.csv.*Received the name 'download'"):
        read_url(f"{site.address}/download?id=3")
    assert site.asked == []


def test_a_test_set_behind_a_url_is_read_and_must_be_another_one(
    site: Site, machine_cache: Path
) -> None:
    source, test = offer(site), offer(site, "/test.csv", "text,label\nfine,positive\n")
    classes = read_url(source).classes
    config = DataConfig(source=source, test=test)
    assert read_test(config, classes=classes, seed=0, folder=Path()).texts == ("fine",)

    with pytest.raises(DataError, match=r"data\.test is data.source itself"):
        read_test(DataConfig(source=source, test=source), classes=classes, seed=0, folder=Path())


WORDS = json.dumps({"a": 1, "film": 2, "nice": 3}).encode()


def imdb_file() -> bytes:
    """Give four reviews in the layout of Keras's file."""
    reviews = np.empty(4, object)
    reviews[:] = [[1, 2], [1, 3], [2], [3]]
    labels = np.array([0, 1, 0, 1])
    file = io.BytesIO()
    np.savez(file, x_train=reviews, y_train=labels, x_test=reviews, y_test=labels)
    return file.getvalue()


@pytest.mark.parametrize("with_words", [True, False])
def test_imdb_behind_a_url_brings_its_words_where_there_are_some(
    site: Site, machine_cache: Path, with_words: bool
) -> None:
    site.files["/imdb.npz"] = imdb_file()
    if with_words:
        site.files["/imdb_word_index.json"] = WORDS

    corpus = read_url("imdb", path=f"{site.address}/imdb.npz")

    assert corpus.texts == (("a film", "a nice", "film", "nice") if with_words else None)


def test_words_that_cannot_be_had_now_are_no_reason_to_do_without(
    site: Site, machine_cache: Path
) -> None:
    site.files["/imdb.npz"] = imdb_file()
    site.codes["/imdb_word_index.json"] = 503
    with pytest.raises(DataError, match=r"imdb_word_index\.json'.* cannot be downloaded"):
        read_url("imdb", path=f"{site.address}/imdb.npz")

    site.codes.clear()  # there is none
    assert read_url("imdb", path=f"{site.address}/imdb.npz").texts is None
    site.codes.update({"/imdb_word_index.json": 503, "/imdb.npz": 503})

    assert read_url("imdb", path=f"{site.address}/imdb.npz").texts is None  # as it was


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("https://ana:hidden@host/reviews.csv", "a password"),
        ("https://hidden@host/reviews.csv", "a user"),
        ("https://host/reviews.csv?X-Amz-Signature=hidden", r"a secret \(X-Amz-Signature="),
        ("https://host/reviews.csv?v=2&access_token=hidden", r"a secret \(access_token="),
        ("https://host/reviews.csv?sv=2024&sig=hidden", r"a secret \(sig="),
    ],
)
@pytest.mark.parametrize("key", ["source", "test"])
def test_a_url_with_a_secret_is_refused_without_telling_it(
    toy: StudyMaker, key: str, url: str, what: str
) -> None:
    with pytest.raises(ConfigError, match=f"data.{key}: the URL holds {what}") as caught:
        toy(f"data.{key}={url}")
    assert "hidden" not in str(caught.value)


def test_a_secret_is_refused_in_the_path_of_imdb_too(toy: StudyMaker) -> None:
    with pytest.raises(ConfigError, match=r"data\.path: the URL holds a password"):
        toy("data.source=imdb", "data.path=https://ana:hidden@host/imdb.npz")


def test_a_url_is_kept_as_it_is_in_the_study(toy: StudyMaker) -> None:
    url = "https://host/reviews.csv?download=1"
    config = toy(f"data.source={url}", f"data.test={url}")
    assert (config.data.source, config.data.test) == (url, url)
    assert StudyConfig.from_json(config.to_json()) == config


def test_data_in_an_object_store_is_read_again_when_it_changed(
    bucket_url: str, machine_cache: Path, tmp_path: Path
) -> None:
    system, path = fsspec.core.url_to_fs(f"{bucket_url}/reviews.csv")
    system.pipe_file(path, REVIEWS.encode())
    url = f"s3://{path}"
    assert len(read_url(url).labels) == 40

    system.pipe_file(path, (REVIEWS + "a new one,positive\n").encode())

    assert len(read_url(url).labels) == 41


def test_imdb_in_an_object_store_brings_its_words(bucket_url: str, machine_cache: Path) -> None:
    system, folder = fsspec.core.url_to_fs(bucket_url)
    system.pipe_file(f"{folder}/imdb.npz", imdb_file())
    assert read_url("imdb", path=f"{bucket_url}/imdb.npz").texts is None

    system.pipe_file(f"{folder}/imdb_word_index.json", WORDS)

    corpus = read_url("imdb", path=f"{bucket_url}/imdb.npz")
    assert corpus.texts == ("a film", "a nice", "film", "nice")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("missing.csv", "data.source: s3://.*missing.csv cannot be read"),
        ("", "expected the address of one file"),
    ],
)
def test_an_object_that_is_not_there_is_told(
    bucket_url: str, machine_cache: Path, name: str, what: str
) -> None:
    with pytest.raises(DataError, match=what):
        read_url(f"{bucket_url}/{name}")


def test_a_store_that_nothing_here_can_talk_to_is_told(machine_cache: Path) -> None:
    with pytest.raises(DataError, match=r"data\.source: gs://.*gcsfs"):
        read_url("gs://somewhere/reviews.csv")


def test_a_worker_fetches_for_its_trainer_that_has_no_credentials(
    database: Database, toy: StudyMaker, bucket_url: str, machine_cache: Path
) -> None:
    system, path = fsspec.core.url_to_fs(f"{bucket_url}/reviews.csv")
    system.pipe_file(path, REVIEWS.encode())
    study = create_study(database, toy(f"data.source=s3://{path}", "budget.trials=2")).study

    make_worker(database, study, "reading").run()

    assert progress(database, study).slots.done == 2
    assert study.config.data.source == f"s3://{path}"  # what is stored is true on every machine


def test_a_worker_waits_for_a_server_that_is_busy_when_it_begins(
    database: Database,
    toy: StudyMaker,
    site: Site,
    machine_cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = offer(site)
    study = create_study(database, toy(f"data.source={url}", "budget.trials=1")).study
    site.n_busy = N_TRIES + 1

    make_worker(database, study, "reading").run()

    assert progress(database, study).slots.done == 1
    assert caplog.text.count("Waiting for it, up to 60 min") == 1

    other = create_study(database, toy("name=other", f"data.source={site.address}/b.csv")).study
    site.codes["/b.csv"] = 503
    with pytest.raises(DataAwayError, match="cannot be downloaded") as caught:
        make_worker(database, other, "reading", patience=0).run()
    assert caught.value.exit_code == 3


def test_a_study_whose_data_is_at_hand_stays_as_it_is(toy: StudyMaker) -> None:
    config = toy()
    assert localized(config) is config
