"""Packages that only some operations need: the extra that brings each, and what to type for it."""

from __future__ import annotations

import importlib.util

from isoloss.core.problems import IsolossError, Problem

# package, as it is imported, to the extra in pyproject.toml
EXTRAS = {
    "PIL": "hub",
    "datasets": "hub",
    "numba": "fast",
    "openpyxl": "excel",
    "pydantic": "chinchilla",
    "rich": "chinchilla",
    "safetensors": "train",
    "snakemake": "workflow",
    "snakemake_executor_plugin_slurm": "slurm",
    "tensorboard": "logs",
    "tokenizers": "tokenizers",
    "torch": "train",
    "xarray": "llc",
}


def install(package: str, extra: str = "") -> str:
    """What to type to install a package that is not there.

    Args:
        package: one of EXTRAS.
        extra: which extra to name, where several bring it.

    Example:
        >>> install("torch")
        "pip install 'isoloss[train]'"
    """
    return f"pip install 'isoloss[{extra or EXTRAS[package]}]'"


def lacks(package: str, extra: str = "") -> IsolossError:
    """The error that says which extra brings a package.

    Example:
        >>> str(lacks("snakemake"))
        "the package `snakemake` is not installed; `pip install 'isoloss[workflow]'` helps"
    """
    reason = f"the package `{package}` is not installed"
    remedy = f"`{install(package, extra)}` helps"
    return IsolossError(Problem("", reason, remedy))


def need(package: str, extra: str = "") -> None:
    """Raise the error that names the extra if a package cannot be imported; import nothing.

    Raises:
        IsolossError: it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise lacks(package, extra)


def lacking_in(error: ModuleNotFoundError) -> IsolossError | None:
    """The error that names the extra, for an import that failed; None for any other package.

    Example:
        >>> lacking_in(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")) is None
        False
        >>> lacking_in(ModuleNotFoundError("No module named 'turtle'", name="turtle")) is None
        True
    """
    package = (error.name or "").partition(".")[0]
    return lacks(package) if package in EXTRAS else None
