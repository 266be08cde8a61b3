"""An artifact's folder: written whole or not at all, and checked before anything in it is used."""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tuner.deliver.manifest import MANIFEST, FileEntry, Manifest
from tuner.errors import InputError

#: What writes a file of the artifact, at the path that it is given.
Writer = Callable[[Path], object]
Written = TypeVar("Written")


def check_target(
    target: Path,
    *,
    replace: bool,
    what: str = "artifact",
    read: Callable[[Path], object] | None = None,
) -> None:
    """See before the work whether an artifact can be written there after it.

    Args:
        target: Its folder.
        replace: Whether an artifact that is there may go.
        what: What is written, where it is another kind of folder with a manifest.
        read: Reads the manifest in a folder of that kind, and raises where it is another one.

    Raises:
        InputError: It cannot.
    """
    if not target.parent.is_dir():
        raise InputError(
            f"{target}: there is no folder {target.parent}. Create it, or name another one with -o."
        )
    folder = target.resolve().parent  # what a link points at is replaced, not the link
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=folder):
            pass
    except OSError as error:
        raise _unwritable(target, error) from error
    if not (target.exists() or target.is_symlink()) or _is_empty_folder(target):
        return
    if not (target.is_dir() and (target / MANIFEST).is_file()):
        raise InputError(
            f"{target} is there already and is no {what} of tuner's. Name another folder with -o."
        )
    (read or _read_manifest)(target)  # another program's, or a newer tuner's, stays
    if not replace:
        raise InputError(
            f"{target} holds an {what} already. Name another folder with -o, or replace it with "
            f"--force."
        )


def write_artifact(
    target: Path, manifest: Manifest, files: Mapping[str, Writer], *, replace: bool = False
) -> Manifest:
    """Write an artifact: it is there as a whole, or not at all.

    Args:
        target: Its folder.
        manifest: All about it; `Manifest.files` is filled in here.
        files: By name, what writes each.
        replace: Whether an artifact that is there may go.

    Returns:
        The manifest as it was written.

    Raises:
        InputError: It cannot be written there.
    """
    check_target(target, replace=replace)

    def fill(folder: Path) -> Manifest:
        for name, write in files.items():
            write(folder / name)
        whole = manifest.model_copy(update={"files": list_files(folder)})
        (folder / MANIFEST).write_text(whole.to_json(), encoding="utf-8")
        return whole

    return write_folder(target, fill)


def write_folder(target: Path, fill: Callable[[Path], Written]) -> Written:
    """Write a folder: it is there as a whole, or not at all.

    Args:
        target: The folder; what is there goes, once all is written.
        fill: Writes everything into the empty folder that it is given. Where it raises, all stays
            as it was.

    Returns:
        What `fill` returns.

    Raises:
        InputError: It cannot be written there.
    """
    target = target.resolve()
    # In a folder that machines share, process numbers may be the same.
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        unfinished.mkdir()
        written = fill(unfinished)
        for path in _files(unfinished):
            _flush(path)
        _put(unfinished, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # gone already where all went well
    return written


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Tell each file of a folder by its hash and size.

    Args:
        folder: Which has no manifest yet.

    Returns:
        By path within the folder, with ``/`` between its parts, in the order of the paths.
    """
    return {
        path.relative_to(folder).as_posix(): _entry(path.read_bytes()) for path in _files(folder)
    }


def read_artifact(folder: Path) -> tuple[Manifest, Mapping[str, bytes]]:
    """Read an artifact and see that every file is what it was when it was written.

    Args:
        folder: Where it is.

    Returns:
        All about it, and the content of each file: what was checked is what is used.

    Raises:
        InputError: It is no artifact, or it is damaged.
    """
    manifest = _read_manifest(folder)
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    for names, what in (
        (manifest.files.keys() - there, "is missing"),
        (there - manifest.files.keys(), "does not belong to the artifact"),
        ({m.file for m in manifest.members} - manifest.files.keys(), "is not listed"),
    ):
        if names:
            raise _damaged(folder, f"{', '.join(sorted(names))} {what}")
    contents: dict[str, bytes] = {}
    for name, expected in manifest.files.items():
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise _damaged(folder, f"{name} cannot be read: {error.strerror}") from error
        if _entry(contents[name]) != expected:
            raise _damaged(
                folder,
                f"{name} has another content than when it was written ({len(contents[name])} "
                f"bytes, expected {expected.size}; its SHA-256 differs)",
            )
    return manifest, contents


def _unwritable(target: Path, error: OSError) -> InputError:
    return InputError(
        f"{target}: cannot be written: {error.strerror or error}. Make room or give the right to "
        f"write there, or name another folder with -o."
    )


def _damaged(folder: Path, what: str) -> InputError:
    return InputError(
        f"{folder}: {what}. Copy the artifact again, or make it anew with `tuner refit`."
    )


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{folder} is no artifact: there is no {MANIFEST} in it. Expected a folder that "
            f"`tuner refit` wrote."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error
    try:
        return Manifest.from_json(text)
    except InputError as error:
        raise InputError(f"{path} {error}.") from error


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _entry(content: bytes) -> FileEntry:
    return FileEntry(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _flush(path: Path) -> None:
    """See that a file outlives the machine's end."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _put(unfinished: Path, target: Path) -> None:
    """Give a whole folder its name; one that has it goes first, and comes back if that fails."""
    if not target.exists() or _is_empty_folder(target):
        unfinished.rename(target)
        return
    old = target.with_name(f"{unfinished.name}.old")
    target.rename(old)
    try:
        unfinished.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
