"""Whose the files are that a command of root's leaves among those of the service."""

import contextlib
import os
import stat
from pathlib import Path


def hand_over(folder: Path) -> None:
    """Give what root made below the folder to who has the folder; only root can, and nobody else.

    The service is a user of its own (DynamicUser=) and could not open it. Links are not followed,
    and what has a second name elsewhere is left: that user may have put it there.
    """
    folder = folder.resolve()  # /var/lib/wattlog is a link itself
    if os.geteuid() != 0 or not folder.is_dir():
        return
    owner = folder.stat()
    if owner.st_uid == 0:
        return
    for _, folders, files, handle in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):  # the service may have removed it
                _hand_over(name, handle, owner)


def _hand_over(name: str, folder: int, owner: os.stat_result) -> None:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    is_elsewhere = found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode)
    if found.st_uid == 0 and not is_elsewhere:
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=folder, follow_symlinks=False)
