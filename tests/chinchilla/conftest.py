"""Fixtures of the tests of parity: the package and the facade in turn."""

from __future__ import annotations

import logging

import matplotlib
import pytest
from rich.logging import RichHandler
from toolkits import PACKAGE_MARKS, SEED_RANGES, SerialPool, Toolkit, some_runs


@pytest.fixture(scope="module", autouse=True)
def matplotlib_as_before():
    """Styles of figures after these tests are those before them; few pixels are fast."""
    with matplotlib.rc_context({"backend": "agg", "savefig.dpi": 40}):
        yield


@pytest.fixture(scope="module", params=[pytest.param("package", marks=PACKAGE_MARKS), "isoloss"])
def toolkit(request):
    """The package, which starts no processes here, then the facade."""
    implementation = Toolkit(request.param)
    with pytest.MonkeyPatch.context() as patch:
        if implementation.name == "package":
            core = implementation.module("core")
            patch.setattr(core.multiprocessing, "Pool", SerialPool)
        yield implementation


@pytest.fixture(autouse=True)
def loggers_as_before():
    """Loggers of the program, and those of the two, which share names, are new in every test."""
    level = logging.getLogger().level
    forget_loggers(level)
    yield
    forget_loggers(level)


def forget_loggers(level: int) -> None:
    """Undo what making a Chinchilla does to loggers; the program's own has that level."""
    root = logging.getLogger()
    root.setLevel(level)
    for handler in list(root.handlers):
        if isinstance(handler, RichHandler):
            root.removeHandler(handler)
    logging.captureWarnings(False)
    for name in list(root.manager.loggerDict):
        if name.partition(".")[0] in ("chinchilla", "parity"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.setLevel(logging.NOTSET)
            logger.propagate = True


@pytest.fixture(autouse=True)
def differences(request):
    """The package is expected to fail a test that is marked with `differs`."""
    difference = getattr(request.function, "difference", None)
    if difference and request.getfixturevalue("toolkit").name == "package":
        request.applymarker(pytest.mark.xfail(strict=True, reason=difference))


@pytest.fixture(scope="module")
def fitted(toolkit, tmp_path_factory):
    """A Chinchilla that is fitted to runs without noise: shared, and not to be changed."""
    folder = tmp_path_factory.mktemp("fitted")
    log_huber = toolkit.module("_metrics").log_huber
    cc = toolkit.make(folder, some_runs(), seed_ranges=SEED_RANGES, loss_fn=log_huber)
    cc.fit()
    return cc
