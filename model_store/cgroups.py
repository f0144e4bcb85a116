"""The folders of the process's control groups, which limit what it can use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def cgroup_folders(
    controller: Literal["cpu", "memory"], cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS
) -> Iterator[Path]:
    """Yield the folders of the process's cgroup and its parents, of both versions of cgroups.

    In a container, the path may be that of the host, which is not visible; the mounted root is then the container's.

    Args:
        controller: what the group limits.
        cgroups: where the cgroup file systems are mounted.
        own: the file that names the process's cgroups, as in cgroups(7).
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for root in (cgroups / controllers, cgroups / controller) if controllers else (cgroups,):
            inside = root / path.lstrip("/")
            yield from (folder for folder in (inside, *inside.parents) if folder.is_relative_to(root))
