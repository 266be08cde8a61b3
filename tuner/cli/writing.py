"""Files that commands write where ``-o`` says."""

import os
import tempfile
from pathlib import Path

from tuner.errors import InputError


def check_file(path: Path) -> None:
    """Notice before the work what would be wrong after it.

    Args:
        path: What is to be written.

    Raises:
        InputError: It cannot be.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder. Expected the name of a file: -o {path}/page.html.")
    if not path.parent.is_dir():
        raise InputError(
            f"{path}: there is no folder {path.parent}. Create it, or name another file with -o."
        )
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees a part of it.

    Args:
        path: Where to.
        text: What is in it.

    Raises:
        InputError: It cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("x", encoding="utf-8") as stream:
            stream.write(text)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written: {error.strerror}. Make room or give the right to write there, "
        f"or name another file with -o."
    )
