import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import psutil
import pytest

import tuner
from tuner import host
from tuner.host import Holder, is_gone, this_process, versions

TELL = """
import json, sys
from dataclasses import asdict
from tuner.host import this_process
print(json.dumps(asdict(this_process())), flush=True)
sys.stdin.read()
"""


def is_gone_from_here(holder: Holder) -> bool:
    return is_gone(machine=holder.machine, pid=holder.pid, started=holder.started)


@contextmanager
def another_process() -> Iterator[tuple[Holder, "subprocess.Popen[str]"]]:
    """A process, as it describes itself."""
    with subprocess.Popen(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Holder(**json.loads(process.stdout.readline())), process
        process.kill()


def test_a_process_is_named_for_people_and_lives() -> None:
    me = this_process()

    assert me.name.endswith(f":{os.getpid()}")
    assert me == this_process()
    assert not is_gone_from_here(me)


def test_another_process_is_gone_once_it_died() -> None:
    with another_process() as (holder, process):
        assert holder.machine == this_process().machine
        assert not is_gone_from_here(holder)

        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)

        assert is_gone_from_here(holder)  # dead, though nobody took note of it yet
        process.wait()
        assert is_gone_from_here(holder)


def test_a_process_that_got_the_pid_later_is_another_one() -> None:
    me = this_process()

    assert is_gone_from_here(replace(me, started=me.started - 10))
    assert not is_gone_from_here(replace(me, started=me.started - 0.5))


def test_of_a_process_on_another_machine_nothing_is_known() -> None:
    assert not is_gone(machine="elsewhere", pid=2**22 + 1, started=0.0)
    assert is_gone(machine=this_process().machine, pid=2**22 + 1, started=0.0)


def test_a_process_of_another_user_lives() -> None:
    init = psutil.Process(1)
    holder = Holder(name="init", machine=this_process().machine, pid=1, started=host._started(init))

    assert not is_gone_from_here(holder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts from the boot")
def test_setting_the_clock_makes_no_process_another_one() -> None:
    with another_process() as (holder, _):
        uptime = float(Path("/proc/uptime").read_text().split()[0])

    assert uptime - 60 < holder.started <= uptime + 1


def test_versions_name_all_that_can_change_a_trial() -> None:
    found = versions()

    assert list(found) == ["tuner", "python", "tensorflow", "keras", "numpy", "optuna"]
    assert found["keras"] == metadata.version("keras")
    assert found["tuner"].startswith(f"{tuner.__version__}+")


def test_edited_sources_have_another_hash(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.py").write_text("a = 1\n")
    (tmp_path / "notes.txt").write_text("not loaded")
    before = host._source_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("still not loaded")
    assert host._source_hash(tmp_path) == before

    (tmp_path / "deep" / "one.py").write_text("a = 2\n")
    edited = host._source_hash(tmp_path)
    (tmp_path / "deep" / "one.py").rename(tmp_path / "deep" / "two.py")

    assert len({before, edited, host._source_hash(tmp_path)}) == 3
    assert len(before) == 8


def test_the_cache_is_where_the_person_says_else_where_the_system_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    monkeypatch.setenv("TUNER_CACHE", "/local")
    assert host.cache_folder() == Path("/local")
    monkeypatch.delenv("TUNER_CACHE")
    assert host.cache_folder() == Path("/scratch/tuner")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert host.cache_folder() == Path("/home/ada/.cache/tuner")


def test_versions_are_told_without_loading_what_they_are_of() -> None:
    code = (
        "import sys; from tuner.host import versions; versions(); "
        "print([name for name in ('tensorflow', 'keras', 'optuna') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout == "[]\n"
