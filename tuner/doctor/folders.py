"""Folders that workers write into: are they there, writable, with room, and shared?"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tuner.bucket import Bucket, BucketFiles
from tuner.doctor.finding import Finding, fail, ok, warn
from tuner.doctor.mounts import mount_of, mounts

#: Bytes free below which writing soon fails: a checkpoint takes up to 60 MB, two are kept.
FULL = 200 * 10**6
#: Bytes free below which a person should know.
TIGHT = 2 * 10**9


def check_artifacts(place: Path | Bucket) -> Iterator[Finding]:
    """See whether checkpoints can be written.

    Args:
        place: The folder for them, which need not be there, or one in an object store.

    Raises:
        InputError: The object store refuses.
        StorageUnavailableError: It does not answer.
    """
    other = "or name another folder with --artifacts or TUNER_ARTIFACTS"
    if isinstance(place, Bucket):
        BucketFiles(place).check()
        yield ok("artifacts", f"{place}: written, listed and removed a file")
    else:
        yield folder_finding("artifacts", place, other)


def check_cache(folder: Path) -> Iterator[Finding]:
    """See whether downloads, prepared data and copies of checkpoints can be kept."""
    yield folder_finding("cache", folder, "or name another one with TUNER_CACHE")


def other_machines(seen: Iterable[str], here: str) -> list[str]:
    """Name the machines of workers that are not this one.

    Args:
        seen: As `tuner.host` names machines: name, boot, and what tells containers apart.
        here: This one, likewise.

    Returns:
        Their names; containers on this machine are none of them.
    """
    boot = here.split("/")[1:2]
    return sorted({name.split("/")[0] for name in seen if name.split("/")[1:2] != boot})


def check_shared(place: Path | Bucket, *, others: list[str]) -> Iterator[Finding]:
    """See whether the other machines of a server's studies find this one's checkpoints.

    Args:
        place: As in `check_artifacts`.
        others: Names of other machines whose workers are in the database.
    """
    if isinstance(place, Bucket):
        yield ok("artifacts shared", "an object store, which every machine can reach")
        return
    mount = mount_of(place, mounts())
    if mount is not None and mount.is_network:
        yield ok("artifacts shared", f"{place} is on {mount.kind}, a network file system")
    elif others:
        yield warn(
            "artifacts shared",
            f"{place} seems to be this machine's own, while workers of {_named(others)} use the "
            f"database too: a trial that another machine takes over begins anew.",
            "Give all of them one shared folder, or an object store, with --artifacts or "
            "TUNER_ARTIFACTS.",
        )
    else:
        yield ok("artifacts shared", "no need so far: no other machine has workers here")


def folder_finding(name: str, folder: Path, otherwise: str) -> Finding:
    """Try to write into a folder, and see what room it has.

    Args:
        name: The check's.
        folder: Where to; the nearest one above it where it is not there yet. Nothing is left.
        otherwise: The way out, besides mending the folder.
    """
    there = next(path for path in (folder, *folder.parents) if _is_there(path))
    missing = "" if there == folder else ", not there yet"
    if not there.is_dir():
        return fail(name, f"{folder}: {there} is a file.", f"Move it away, {otherwise}.")
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"tuner doctor")
    except OSError as error:
        return fail(
            name,
            f"{folder}{missing}: nothing can be written into {there}: {error.strerror}.",
            f"Give this user (number {os.geteuid()}) the right to, {otherwise}.",
        )
    free = shutil.disk_usage(there).free
    text = f"{folder}{missing}, {free / 1e9:.1f} GB free"
    if free < FULL:
        return fail(name, f"{text}.", f"Make room, {otherwise}.")
    if free < TIGHT:
        return warn(name, f"{text}.", f"Make room, {otherwise}.")
    return ok(name, f"{text}, writable")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # a folder above it lets nobody look: that is the one to try
        return False


def _named(machines: list[str]) -> str:
    more = f" and {len(machines) - 3} more" if len(machines) > 3 else ""
    return ", ".join(machines[:3]) + more
