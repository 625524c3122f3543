"""Refuse links in a folder of results that lead out of it.

A facade. What jobs and commands write below `results/<study>` would go to where a link leads: into
files that have nothing to do with the study, where the results came from somebody else. The folder
of the study itself, and `results`, may be links: whoever runs the study chose them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from isoloss.core.escape import visible
from isoloss.core.paths import real
from isoloss.core.problems import IsolossError, Problem

_MOST = 20  # links that are named


def refuse_links(root: Path) -> None:
    """Raise an error if a file or folder below the results of a study is a link out of them.

    Args:
        root: the folder of the results, `results/<study>`; it need not be there.

    Raises:
        IsolossError: with the links, at most 20 of them.
    """
    home, problems = real(root), []
    for path in _links(root):
        place = real(path)
        if not place.is_relative_to(home):
            remedy = "remove it, or replace it by what it leads to (a link of the whole folder "
            remedy += f"{root} is allowed)"
            problems.append(Problem(visible(path), f"is a link to {visible(place)}", remedy))
        if len(problems) == _MOST:
            break
    if problems:
        raise IsolossError(*problems)


def _links(folder: Path) -> Iterator[Path]:
    """The links below a folder; none is followed."""
    left = [str(folder)]
    while left:
        try:
            entries = os.scandir(left.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
