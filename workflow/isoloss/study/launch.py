"""Start the workflow on a study from any folder: what `isoloss run` becomes.

A facade. The Snakefile is that of the checkout, or the one that the wheel carries; results, and the
records of Snakemake, are in the working folder.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from isoloss.core import extras, home, yaml_text
from isoloss.core.problems import IsolossError, Problem, StudyError

_RICH = "snakemake_logger_plugin_rich"  # bars on a terminal


def command(
    study: str, arguments: Sequence[str] = (), bars: bool = False, directory: str = "."
) -> list[str]:
    """The command that runs the workflow on a study.

    Args:
        study: its file.
        arguments: of snakemake: targets and options. A name after `--profile` that is one of the
            project's, such as `slurm`, stands for that profile where no such folder is here.
        bars: whether progress is shown as bars, where a package is installed that draws them.
        directory: in which the arguments let it run.

    Raises:
        IsolossError: the study cannot be read, another one is named, a package is not installed, or
            the folder cannot be written.

    Example:
        >>> words = command("config.yaml", ["fits", "-n"])
        >>> words[1:4], words[-3:]
        (['-P', '-m', 'snakemake'], ['--configfile=config.yaml', 'fits', '-n'])
    """
    content = yaml_text.read(study)
    if not isinstance(content, dict):
        raise StudyError([Problem("file", "is not a mapping", "write `study: NAME`")], study)
    extras.need("snakemake", "workflow" if content.get("train") else "snakemake")
    if _named("--configfile", arguments) or _named("--configfiles", arguments):
        raise IsolossError(Problem("--configfile", "the study is given", "omit this option"))
    given = [_of_the_project(one, before) for before, one in pairwise(["", *arguments])]
    if str(home.project() / "profiles" / "slurm") in given:
        extras.need("snakemake_executor_plugin_slurm")
    _refuse_read_only(Path(directory))
    words = [sys.executable, "-P", "-m", "snakemake"]
    words += ["--snakefile", str(home.project() / "Snakefile")]
    if not _named("--workflow-profile", given):  # else a folder `default` here would be one
        words += ["--workflow-profile", str(home.project() / "profiles" / "default")]
    if bars and not _named("--logger", given) and importlib.util.find_spec(_RICH) is not None:
        words += ["--logger", "rich"]
    return [*words, f"--configfile={study}", *given]


def _named(option: str, arguments: Sequence[str]) -> bool:
    return any(one == option or one.startswith(f"{option}=") for one in arguments)


def _refuse_read_only(folder: Path) -> None:
    """Refuse a folder in which snakemake cannot keep its records: it ends with a traceback."""
    records = folder / ".snakemake"
    place = records if records.is_dir() else folder
    if place.is_dir() and not os.access(place, os.W_OK):
        reason = "cannot be written, and snakemake keeps its records there"
        remedy = "run the study in another folder, with its files by whole paths"
        raise IsolossError(Problem(str(place.absolute()), reason, remedy))


def _of_the_project(argument: str, before: str) -> str:
    """An argument, a profile of the project by its path."""
    profile = home.project() / "profiles" / argument
    known = before == "--profile" and argument.isidentifier() and profile.is_dir()
    return str(profile) if known and not os.path.exists(argument) else argument


def environment(of: Mapping[str, str]) -> dict[str, str]:
    """The environment of that command, in which this package is imported from where it is now."""
    package = str(home.PACKAGE.parent)
    path = of.get("PYTHONPATH", "").split(os.pathsep)
    if package in map(str, map(Path, sys.path[1:])) or package in path:
        return dict(of)
    return {**of, "PYTHONPATH": os.pathsep.join(filter(None, [package, *path]))}


def again(study: str, directory: str = ".", arguments: Sequence[str] = ()) -> list[str]:
    """The command that a person types to run a study once more, here.

    Args:
        study: its file.
        directory: in which its results are.
        arguments: of snakemake.

    Example:
        >>> again("mine.yaml", "/data", ["-n"])[-5:]
        ['--directory', '/data', '--configfile', 'mine.yaml', '-n']
    """
    where = [] if directory == "." else ["--directory", directory]
    if os.path.exists("Snakefile"):
        return ["snakemake", *where, "--configfile", study, *arguments]
    return ["isoloss", "run", study, *where, *arguments]
