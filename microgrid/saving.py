"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from microgrid import sites

__microgrid_machinery__ = True


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all.

    The content goes into a new file beside it, down to the disk (fsync), and takes the name in one step (rename): at
    each moment, even if the program is killed or the power fails, the name has the old content or the new one. A file
    that is replaced keeps its mode; a symbolic link stays one, and what it points to is replaced. A program killed
    on the way leaves a file `.name.*.tmp` behind, which nothing reads.

    Raises
    ------
    OSError
        If it cannot be written; then no new file is left, and an old one is as it was.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name[:32]}.{secrets.token_hex(8)}.tmp")
    try:
        mode = _mode(target)
        try:
            with open(beside, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                os.chmod(beside, mode)
            os.replace(beside, target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        # Of the same class, FileNotFoundError say, but not about the name of the temporary file.
        raise type(error)(
            error.errno, f"{error.strerror}; nothing was written, nothing lost, at {sites.here()}", os.fspath(path)
        ) from error
    _sync(target.parent)


def _mode(target: Path) -> int | None:
    """The mode of the file that is there, None where none is."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return stat.S_IMODE(mode)


def _sync(folder: Path) -> None:
    """Bring the new name to the disk, where the system can: Windows opens no folders, some file systems refuse."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)
