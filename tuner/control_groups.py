"""Where Linux keeps the limits of this process: its control groups."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ControlGroups:
    """The groups that this process is accounted to; a job's or a pod's limit may be in any."""

    #: Their folders: its own first, then those above it; none where there are no groups.
    folders: tuple[Path, ...]
    #: Whether they are of version 1, whose files have other names.
    are_first: bool


def control_groups(
    controller: str,
    *,
    root: Path = Path("/sys/fs/cgroup"),
    membership: Path = Path("/proc/self/cgroup"),
) -> ControlGroups:
    """Find the groups of this process.

    Args:
        controller: What they limit, such as ``"memory"``.
        root: Where groups are mounted.
        membership: Which of them are ours.

    References:
        https://docs.kernel.org/admin-guide/cgroup-v2.html
        https://docs.kernel.org/admin-guide/cgroup-v1/cgroups.html
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return ControlGroups(folders=(), are_first=False)  # no Linux
    paths = {controllers: path for _, controllers, path in (x.split(":", 2) for x in lines)}
    first = next((names for names in paths if controller in names.split(",")), None)
    path = paths.get("") if first is None else paths[first]
    if path is None:
        return ControlGroups(folders=(), are_first=False)
    mount = root if first is None else root / controller
    folder = mount / path.lstrip("/")
    if ".." in folder.parts or not folder.is_dir():
        folder = mount  # inside a container that sees only its own group, as the root
    folders = [folder]
    while folder != mount:
        folder = folder.parent
        folders.append(folder)
    return ControlGroups(folders=tuple(folders), are_first=first is not None)
