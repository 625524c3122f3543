"""Adaptive rounds of a simulated study: fit, choose the next runs by a planner card, run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from isoloss.choose.choices import choices_of
from isoloss.core import registry
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.schema import complete_options
from isoloss.fit.law import fit_by
from isoloss.fit.settings import Settings
from isoloss.simulate.kinds import check_mapping

LIMITS = ("budget", "target", "until")  # settings of rounds besides count, planner and options
MOST = 50  # rounds, as in a study
Run = Callable[[np.ndarray, np.ndarray, int], pd.DataFrame]


def rounds_of(settings: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Settings of rounds, complete; None for none.

    Args:
        settings: `count` of rounds, `planner` (a card) and its `options`, and as in a sweep
            `budget` (FLOP of all runs), `target` (FLOP at which the optimum is wanted) and `until`
            (ratio of the ends of the interval of N there, at which the rounds end).

    Raises:
        IsolossError: no such planner, or a setting that it does not take.
    """
    if settings is None:
        return None
    check_mapping("rounds", settings, "give `count`, `planner` and other settings of rounds")
    known = ("count", "planner", "options", *LIMITS)
    wrong = [
        Problem(f"rounds.{key}", "not a setting of rounds", nearest(key, known))
        for key in settings
        if key not in known
    ]
    count, planner = settings.get("count", 1), settings.get("planner", "scale_up")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        wrong.append(Problem("rounds.count", f"found {count!r:.60}", f"needs 1 to {MOST}"))
    for key in LIMITS:
        value = settings.get(key)
        if value is not None and not (isinstance(value, int | float) and value > 0):
            reason = f"found {value!r:.60}"
            wrong.append(Problem(f"rounds.{key}", reason, "needs a number above 0"))
    if planner not in registry.names("planner"):
        hint = nearest(planner, registry.names("planner"))
        raise IsolossError(*wrong, Problem("rounds.planner", f"found {planner!r}", hint))
    options = dict(settings.get("options") or {})
    wrong += complete_options(options, registry.options("planner", planner), "rounds.options")
    if wrong:
        raise IsolossError(*wrong)
    return {**settings, "count": count, "planner": planner, "options": options}


def grown(
    runs: pd.DataFrame, rounds: Mapping[str, Any], settings: Settings, where: str, run: Run
) -> pd.DataFrame:
    """The runs with those of the rounds that the fits to them choose.

    Args:
        runs: seeding runs.
        rounds: see `rounds_of`.
        settings: of the fit by which every round is chosen.
        where: filter of that fit.
        run: gives the runs of N and D, (n,) each, and the number of a round.

    Raises:
        IsolossError: a fit has too few runs.
    """
    for number in range(1, rounds["count"] + 1):
        fit = fit_by(runs, settings, where)
        choices = choices_of(fit, runs, rounds, number, settings.seed)
        chosen = choices[choices["choice"].notna()]
        if chosen.empty:
            break
        N, D = (chosen[column].to_numpy(float) for column in ("n_params", "n_samples"))
        runs = pd.concat([runs, run(N, D, number)], ignore_index=True)
    return runs.assign(run_id=[f"run-{i}" for i in range(len(runs))])
