"""The files of the project around the package: Snakefile, rules, schemas, profiles."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def project() -> Path:
    """The folder with the Snakefile: that of the checkout, or the one that a wheel carries.

    Paths below it are those of the repository, such as `workflow/schemas/tables.yaml`.

    Example:
        >>> (project() / "Snakefile").is_file()
        True
    """
    carried = PACKAGE / "project"
    return carried if carried.is_dir() else PACKAGE.parent.parent
