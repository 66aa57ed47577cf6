"""Atomic writing: the new content of a file replaces the old one in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import IO

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]  # it is a module elsewhere

__all__ = ["replacing", "write_file"]

DISK_ERRORS = (errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC) if hasattr(errno, "EDQUOT") else (errno.EIO, errno.ENOSPC)
MOST_LINKS = 40  # as in Linux
TEMPORARY = ".nvpflow-"  # followed by 16 hexadecimal digits


def write_file(path: str, content: bytes | memoryview) -> None:
    """Write bytes to a file as `replacing` does."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A file to write to, which replaces the old one at the end, or a pipe or a device.

    A file is written under a temporary name in the same directory and renamed once it is on the disk. Symbolic links are
    followed and stay. The new file has the mode of the old one and, where permitted, its owner. Other hard links to the old
    file keep the old content.

    Parameters
    ----------
    path : str

    Raises
    ------
    OSError
        If the file cannot be written. After this and any other exception an existing file is unchanged.
    """
    try:
        with _opened(_follow(path)) as file:
            yield file
    except OSError as error:
        if error.filename is None and error.errno in DISK_ERRORS:
            error.filename = path
        raise


def _opened(target: str | int) -> AbstractContextManager[IO[bytes]]:
    if isinstance(target, int):
        return _through(os.dup(target))
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    if old is None or stat.S_ISREG(old.st_mode):
        return _replacing(target, old)
    return _through(os.open(target, os.O_WRONLY))


def _follow(path: str) -> str | int:
    """The target of symbolic links: a path, or a file descriptor for links such as /dev/stdout."""
    for _ in range(MOST_LINKS):
        directory, name = os.path.split(path)
        directory = os.path.realpath(directory)
        if directory in ("/dev/fd", f"/proc/{os.getpid()}/fd") and name.isdecimal():
            return int(name)
        place = os.path.join(directory, name)
        if not os.path.islink(place):
            return place
        path = os.path.join(directory, os.readlink(place))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


@contextlib.contextmanager
def _through(descriptor: int) -> Iterator[IO[bytes]]:
    with open(descriptor, "wb") as file:
        yield file
        _flush_and_sync(file)


@contextlib.contextmanager
def _replacing(target: str, old: os.stat_result | None) -> Iterator[IO[bytes]]:
    directory = os.path.dirname(target)
    _remove_stale(directory)
    try:
        temporary, file = _create(directory, 0o666 if old is None else 0o600)
    except OSError as error:
        error.filename = target  # the user does not know the temporary name
        raise
    # All duplicates of a descriptor share the lock. Windows has no locks, and does not rename open files.
    lock = os.dup(file.fileno()) if fcntl else None
    try:
        with file:
            if old is not None and hasattr(os, "fchmod"):
                _keep_owner_and_mode(file.fileno(), old)
            yield file
            _flush_and_sync(file)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        if lock is not None:
            os.close(lock)
    _sync_directory(directory)


def _keep_owner_and_mode(descriptor: int, old: os.stat_result) -> None:
    for owner in ((old.st_uid, old.st_gid), (-1, old.st_gid)):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, *owner)
            break
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _flush_and_sync(file: IO[bytes]) -> None:
    file.flush()
    _sync(file.fileno())


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # pipes, and directories of some file systems, cannot be synced
            raise


def _sync_directory(directory: str) -> None:
    """Put the new name on the disk."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:  # the directory may be writable, but not readable
        return
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


# -- temporary files --
# The writer of a temporary file holds its lock. The lock is released when the process ends, for any reason. So a file
# without a lock was left behind.


def _create(directory: str, mode: int) -> tuple[str, IO[bytes]]:
    """Create a temporary file, locked if the system has locks. Return its path and the file."""
    while True:
        path = os.path.join(directory, TEMPORARY + os.urandom(8).hex())
        file = open(path, "xb", opener=lambda path, flags: os.open(path, flags, mode))  # noqa: SIM115 - the caller closes it
        if _lock(file.fileno()) is not False and os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()  # another save took the file for left behind before it was locked
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _remove_stale(directory: str) -> None:
    """Remove the files that killed saves have left in a directory."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if re.fullmatch(re.escape(TEMPORARY) + "[0-9a-f]{16}", entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):  # another user's file
                    _remove_unlocked(entry.path)


def _remove_unlocked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        if _lock(descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Try to lock a file. Return whether it worked, or None if the system or the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
