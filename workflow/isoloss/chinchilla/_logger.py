"""Loggers that print to standard error with `rich`."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.logging import RichHandler

_HANDLER = RichHandler(console=Console(stderr=True), markup=True)
_HANDLER.setFormatter(logging.Formatter("%(message)s", datefmt="[%X]"))


def get_logger(level: int | str, name: str) -> logging.Logger:
    """A logger that prints messages from a level on.

    What else the program logs, its handlers and its filters of warnings stay as they are; handlers
    of the root logger are given these messages too. They are read as markup of `rich`: escape text
    from data with `rich.markup.escape`.

    Args:
        level: such as 20 or "INFO".
        name: with dots between its parts; the logger of the first part has the handler.

    Example:
        >>> get_logger("WARNING", "chinchilla.example").level
        30
    """
    logging.getLogger(name.partition(".")[0]).addHandler(_HANDLER)  # once, however often
    logger = logging.getLogger(name)
    logger.setLevel(level)
    return logger
