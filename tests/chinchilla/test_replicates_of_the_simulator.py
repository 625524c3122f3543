"""How well the seeding runs of a project recover a law: `Simulator.replicates`."""

import random

import numpy as np
import pandas as pd
import pytest

from isoloss.chinchilla import Chinchilla
from isoloss.chinchilla._metrics import mse
from isoloss.chinchilla.simulator import HOFFMANN, Simulator

GRID = {"E": [1.0, 2.0], "a": [5.0, 7.0], "b": [5.0, 7.0], "alpha": [0.3, 0.4], "beta": [0.2, 0.3]}
RANGES = {"C": (1e18, 1e21), "N_to_D": (5, 80)}


@pytest.fixture
def project(tmp_path):
    """A project with a seed regime and a grid."""
    return Chinchilla(
        tmp_path, GRID, RANGES, log_level=50, num_seeding_steps=20, scaling_factor=10.0
    )


def test_without_noise_the_law_is_recovered(project):
    none = {"kind": "none"}
    simulation = Simulator(project).replicates(2, noise=none, bootstrap=0, workers=1)
    recovery = simulation.recovery.set_index("quantity")
    # corners that are round make the objective exact, not its optimum worse
    np.testing.assert_allclose(recovery.loc[list(HOFFMANN), "mean"], list(HOFFMANN.values()), 1e-6)
    assert set(recovery["n_flops"].dropna()) == {1e22}
    assert recovery.loc["n_opt", "rmse"] < 1e-6
    assert len(project.database.df) == 0


def test_replicates_are_those_of_the_projects_fit_and_of_no_global_state(project):
    project.loss_fn, project.weight_fn = mse, lambda C: C**0.5
    asked = {"noise": {"kind": "normal", "sd": 0.02}, "bootstrap": 20, "budgets": []}
    random.seed(1)
    one = Simulator(project).replicates(3, **asked, workers=1)
    other = Simulator(project).replicates(3, **asked, workers=2)
    pd.testing.assert_frame_equal(one.trials, other.trials)
    project.weight_fn = None
    assert not one.trials.equals(Simulator(project).replicates(3, **asked, workers=1).trials)
    random.seed(1)
    assert random.random() == pytest.approx(0.13436424411240122)


def test_a_penalty_of_ones_own_and_models_of_given_sizes_are_used(project):
    project.loss_fn = lambda observed, predicted: (observed - predicted) ** 2
    widths = {"width": [2**k for k in range(10, 40)]}
    project.model_search_config = {"hyperparam_grid": widths, "size_estimator": lambda width: width}
    simulator = Simulator(project)
    own = simulator.replicates(2, noise={"kind": "normal", "sd": 0.01}, bootstrap=0, workers=1)
    project.loss_fn = mse
    same = simulator.replicates(2, noise={"kind": "normal", "sd": 0.01}, bootstrap=0, workers=1)
    np.testing.assert_allclose(own.trials["estimate"], same.trials["estimate"], rtol=1e-3)


def test_a_project_without_a_seed_regime_is_refused(tmp_path):
    simulator = Simulator(Chinchilla(tmp_path, GRID, log_level=50))
    with pytest.raises(ValueError, match="seed_ranges"):
        simulator.replicates(2)
