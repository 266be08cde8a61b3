"""The Kubernetes file: valid, without a password, and let into a restricted namespace."""

import copy
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url

from tests.deployed import DEPLOY, HOPELESS, KUBERNETES, ROOT, checked_by, pods, resources


def test_the_kubernetes_file_has_no_unknown_field() -> None:
    checked_by("kubernetes-validate", "--strict", KUBERNETES)


@pytest.mark.parametrize(
    ("config_map", "path"),
    [("studies", "studies/quickstart.toml"), ("database", "deploy/postgres/logins.sql")],
)
def test_what_the_kubernetes_file_repeats_is_the_same(config_map: str, path: str) -> None:
    held = resources()["ConfigMap", config_map]["data"]

    assert held == {Path(path).name: (ROOT / path).read_text()}


def test_secrets_are_empty_until_the_line_at_the_top_fills_them(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    top = KUBERNETES.read_text().partition("---")[0].replace("#", " ")
    make, fill = re.findall(r"^ +(sh .*)\n +(awk [^\n]*\\\n.*)$", top, flags=re.MULTILINE)[0]
    subprocess.run(["sh", "-c", f"{make}\n{fill}"], cwd=tmp_path, check=True, timeout=10)

    expected = copy.deepcopy(list(resources().values()))
    for one in expected:
        if one["kind"] == "Secret":
            (name,) = one["stringData"]
            assert one["stringData"][name] == ""
            one["stringData"][name] = (tmp_path / f"deploy/secrets/{name}.txt").read_text()
    filled = (tmp_path / "deploy/secrets/tuner.yaml").read_text()
    assert list(yaml.safe_load_all(filled)) == expected


@pytest.mark.parametrize("name", dict(pods()))
def test_a_pod_is_let_into_a_restricted_namespace(name: str) -> None:
    pod = dict(pods())[name]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def test_a_pod_sees_the_password_of_its_own_login_alone() -> None:
    for name, pod in pods():
        (container,) = pod["containers"]
        values: Mapping[str, str] = {one["name"]: one["value"] for one in container["env"]}
        secrets = [one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one]
        if name != "db":
            url = make_url(values["TUNER_STORAGE"])
            assert (url.password, url.query["password_file"]) == (
                None,
                f"/run/secrets/{secrets[0]}",
            )
            assert len(secrets) == 1


@pytest.mark.parametrize("name", ["create", "worker"])
def test_a_job_gives_up_after_bad_input_alone(name: str) -> None:
    job = resources()["Job", name]["spec"]
    ignored, failed = job["podFailurePolicy"]["rules"]

    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert failed["action"] == "FailJob"
    assert failed["onExitCodes"] == {"containerName": name, "operator": "In", "values": [HOPELESS]}
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert "completions" not in job
