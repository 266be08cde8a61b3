"""Files that run tuner elsewhere: each is valid, keeps its secrets, and knows our command line."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.deployed import (
    COMPOSE,
    DEPLOY,
    GPU,
    HOPELESS,
    ROOT,
    SLURM,
    checked_by,
    compose,
    containers,
    resources,
    services,
)
from tuner import __version__
from tuner.cli import main
from tuner.launch.local import GRACE_SECONDS
from tuner.storage.roles import OWNER, READER, WORKER


def command_lines() -> dict[str, list[str]]:
    """Every call of our command line, by where it stands."""
    found = {
        f"{path.name}:{name}": service["command"]
        for path in (COMPOSE, GPU)
        for name, service in compose(path)["services"].items()
        if "command" in service
    }
    found |= {f"kubernetes:{name}": one["args"] for name, one in containers() if "args" in one}
    (line,) = re.findall(r"^srun tuner (.*) &$", SLURM.read_text(), flags=re.MULTILINE)
    found["slurm"] = [re.sub(r"\$\{\w+:-(\d+)\}", r"\1", word) for word in shlex.split(line)]
    for path in (COMPOSE, DEPLOY / "README.md"):
        for number, text in enumerate(path.read_text().splitlines(), start=1):
            for words in re.findall(r"docker compose run --rm create ([^`#]*)", text):
                found[f"{path.name}, line {number}"] = shlex.split(words)
    return found


@pytest.mark.parametrize("where", command_lines())
def test_each_call_of_tuner_is_one_that_the_command_line_takes(where: str) -> None:
    name, *words = command_lines()[where]

    with main.commands[name].make_context(name, words) as context:
        assert context.params


# --- the image ------------------------------------------------------------------------------------


def test_the_dockerfile_has_no_known_mistake() -> None:
    checked_by("hadolint", DEPLOY / "Dockerfile")


def test_the_image_is_made_of_files_that_are_not_kept_out_of_it() -> None:
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {
        word
        for words in re.findall(r"^COPY (?!--from)(.*) \S+$", text, flags=re.MULTILINE)
        for word in words.split()
    }
    named = {word.replace("${VARIANT}", kind) for word in copied for kind in ("cpu", "gpu")}

    assert named == set(let_in)
    assert [name for name in named if not (ROOT / name).exists()] == []


def pins(lock: Path) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9_.-]+)==(\S+)", lock.read_text(), flags=re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_an_image_holds_the_versions_that_are_tested(kind: str) -> None:
    lock = DEPLOY / f"requirements-{kind}.lock"
    mine, tested = pins(lock), pins(ROOT / "requirements-test.lock")

    assert "://" not in lock.read_text()
    assert {name: tested.get(name, version) for name, version in mine.items()} == mine
    needed = set(pins(ROOT / "requirements.lock")) | {"pyarrow", "s3fs"}
    assert needed - set(mine) == set()
    assert ("nvidia-cudnn-cu12" in mine) == (kind == "gpu")


# --- compose --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [COMPOSE, GPU], ids=lambda path: path.name)
def test_compose_files_follow_the_specification(path: Path) -> None:
    checked_by("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def test_only_dashboards_are_published_and_to_this_machine_alone() -> None:
    published = {name: one["ports"] for name, one in services().items() if "ports" in one}

    assert set(published) == {"dashboard", "operator"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_nothing_leads_from_outside_to_the_database() -> None:
    assert services()["db"]["networks"] == ["database"]
    assert compose(COMPOSE)["networks"]["database"] == {"internal": True}


@pytest.mark.parametrize("name", services())
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == ("postgres" if name == "db" else "10001:10001")
    assert "privileged" not in service


def test_a_service_sees_the_password_of_its_own_login_alone() -> None:
    seen = {name: one["secrets"] for name, one in services().items() if name != "db"}

    assert seen == {
        "create": ["owner"],
        "worker": ["worker"],
        "dashboard": ["reader"],
        "operator": ["owner"],
    }
    for name, secrets in seen.items():
        url = make_url(services()[name]["environment"]["TUNER_STORAGE"])
        assert url.password is None
        assert url.query["password_file"] == f"/run/secrets/{secrets[0]}"


def test_passwords_are_made_anew_and_stay(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    expected = {Path(one["file"]).name for one in compose(COMPOSE)["secrets"].values()}

    made = []
    for _ in range(2):
        subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, timeout=10)
        made.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})

    assert made[0] == made[1]
    assert set(made[0]) == expected
    assert len(set(made[0].values())) == len(expected)
    assert all(len(password) == 48 for password in made[0].values())
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


def test_passwords_are_neither_committed_nor_built_into_the_image() -> None:
    folders = {Path(one["file"]).parent for one in compose(COMPOSE)["secrets"].values()}

    assert folders == {Path("deploy/secrets")}
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()


def test_docker_starts_again_what_a_restart_can_mend() -> None:
    for name in ("worker", "dashboard", "operator"):
        service = services()[name]
        assert service["restart"] == "on-failure"
        assert service["entrypoint"] == ["tini", "-e", str(HOPELESS), "--", "tuner"]
    assert "restart" not in services()["create"]


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_a_worker_has_time_to_hand_its_trials_back() -> None:
    worker = resources()["Job", "worker"]["spec"]["template"]["spec"]

    assert seconds(services()["worker"]["stop_grace_period"]) > GRACE_SECONDS
    assert worker["terminationGracePeriodSeconds"] > GRACE_SECONDS


def test_gpus_go_to_one_container_whose_workers_share_them() -> None:
    worker = compose(GPU)["services"]["worker"]
    (devices,) = worker["deploy"]["resources"]["reservations"]["devices"]

    assert (worker["scale"], devices["count"]) == (1, "all")
    assert "--require-gpu" in worker["command"]
    assert set(compose(GPU)["services"]) == set(services()) - {"db"}


def images() -> list[str]:
    found = [one["image"] for path in (COMPOSE, GPU) for one in compose(path)["services"].values()]
    return found + [container["image"] for _, container in containers()]


@pytest.mark.parametrize("image", sorted(set(images())))
def test_an_image_is_named_with_its_version(image: str) -> None:
    name, _, version = image.partition(":")

    assert version.removesuffix("-gpu") == {"tuner": __version__, "postgres": "17"}[name]


# --- logins ---------------------------------------------------------------------------------------


def test_the_groups_of_logins_are_those_of_the_command_line() -> None:
    sql = (DEPLOY / "postgres" / "logins.sql").read_text()

    assert re.findall(r"CREATE ROLE (\w+) NOLOGIN", sql) == [OWNER, WORKER, READER]
    assert set(re.findall(r"IN ROLE (\w+)", sql)) == {OWNER, WORKER, READER}


# --- scripts --------------------------------------------------------------------------------------


def test_scripts_have_no_known_mistake() -> None:
    checked_by("shellcheck", SLURM, DEPLOY / "secrets.sh")
