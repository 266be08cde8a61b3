"""Let this very process compute with TensorFlow, for commands without a trainer."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from tuner.gpus import discover
from tuner.host import own_module
from tuner.loading import load_tensorflow
from tuner.places import place_environment


def use_device() -> str:
    """Load TensorFlow and let it use a GPU where there is one, else all cores.

    What decides which libraries TensorFlow finds is read when a process starts: where that is
    missing, the command begins anew with it.

    Returns:
        The GPU's name, or ``"cpu"``.
    """
    found = discover(os.environ).found
    gpu = found[0].uuid if found else ""
    wanted = place_environment(gpu, os.environ)
    if gpu and any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(  # noqa: S606 - our own interpreter and module
            sys.executable, [*own_module("tuner"), *sys.argv[1:]], os.environ | wanted
        )
    os.environ.update(wanted)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # On a processor what TensorFlow calls an error are notes on which code it falls back to.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if gpu else "3")
    with _without_greetings():
        load_tensorflow()
        from tuner.device import configure
    return configure(None, gpu=gpu)


@contextlib.contextmanager
def _without_greetings() -> Iterator[None]:
    """Keep back what a library says past Python on stderr, unless it fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as words:
        os.dup2(words.fileno(), 2)
        try:
            yield
        except BaseException:
            words.seek(0)
            os.write(terminal, words.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
