"""Which file system a path is on, and whether other machines may have it too."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

#: File systems over a network. SQLite's locks and its shared memory do not hold there.
_NETWORK = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.blobfuse2",
        "fuse.ceph-fuse",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.lustre",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "wekafs",
    }
)


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One file system and where it begins."""

    #: Where it begins.
    point: Path
    #: Its kind, such as ``ext4`` or ``nfs4``.
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other machines may have it too."""
        return self.kind in _NETWORK


def mounts() -> list[Mount]:
    """List what is mounted, in the order in which it was."""
    found = psutil.disk_partitions(all=True)
    return [Mount(point=Path(part.mountpoint), kind=part.fstype) for part in found]


def mount_of(path: Path, mounted: Iterable[Mount]) -> Mount | None:
    """Find the file system that a path is on, whether the path is there or not.

    Args:
        path: Absolute, without symbolic links.
        mounted: As `mounts` gives them: a later one covers an earlier one at the same place.
    """
    best: Mount | None = None
    for mount in mounted:
        covers = path.is_relative_to(mount.point)
        if covers and (best is None or mount.point.is_relative_to(best.point)):
            best = mount
    return best
