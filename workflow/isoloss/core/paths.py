"""What is at a path, for errors, without opening it; and which file a full disk cut short."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Have an error of a block that finds no room name the file that it writes.

    The system does not say of a file that is open which it is.

    Raises:
        OSError: the disk is full, a quota is used up or a file has become too large.

    Example:
        >>> import os
        >>> try:
        ...     with writing("runs.parquet"), open("/dev/full", "wb", buffering=0) as file:
        ...         _ = file.write(bytes(9))
        ... except OSError as error:
        ...     print(error)
        [Errno 28] No space left on device: 'runs.parquet'
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def kind_of(path: str | Path) -> str:
    """What is at a path if it is not a regular file, such as "a named pipe"; else an empty text.

    Nothing is opened: a pipe would be waited for, and some devices do something when opened. A path
    that is not there, or that cannot be one, is not of any of these kinds.

    Example:
        >>> kind_of("/dev/null"), kind_of("/"), kind_of("no such file"), kind_of("n" * 9000)
        ('a device', 'a folder', '', '')
    """
    try:
        return KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "")
    except (OSError, ValueError):
        return ""


def real(path: str | Path) -> Path:
    """The path without links, also of one that leads to itself, where `Path.resolve` fails.

    Example:
        >>> import os, tempfile
        >>> loop = Path(tempfile.mkdtemp(), "loop")
        >>> loop.symlink_to(loop)
        >>> real(loop).name
        'loop'
    """
    return Path(os.path.realpath(path))


def is_plain(folder: str) -> bool:
    """Whether a command line can name a folder without quotes, and the folder is no other's.

    Its parts have letters, digits, `_`, `-` and `.`; none begins with `-` or is `..`.

    Example:
        >>> [is_plain(folder) for folder in ("laws/one", "/data/x.1", "a b", "../x", "x/", "")]
        [True, True, False, False, False, False]
    """
    part = r"(?!\.{1,2}(/|$))[\w.][\w.-]*"
    return re.fullmatch(rf"/?{part}(/{part})*", folder, re.ASCII) is not None
