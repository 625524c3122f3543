"""Versions, machine and commit with which results were made; recorded, never an input."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("matplotlib", "numpy", "pandas", "pyarrow", "scipy", "snakemake", "torch")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make numbers and files."""
    version_of = {"isoloss": _version("isoloss"), "python": platform.python_version()}
    return version_of | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


@cache
def machine() -> dict[str, str | int]:
    """The machine: system, processor, cores."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = named[0] if named else processor
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "cores": os.cpu_count() or 1,
    }


@cache
def commit() -> str | None:
    """The git commit of this code, with `+` if files differ from it; None outside a checkout."""
    home = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(home), *arguments]
        return (
            subprocess.run(command, capture_output=True, check=True)
            .stdout.decode("utf-8", "replace")
            .strip()
        )

    try:
        git(
            "ls-files", "--error-unmatch", __file__
        )  # not the checkout of another project around an installed copy
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(home))
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
