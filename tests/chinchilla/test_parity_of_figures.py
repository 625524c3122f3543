"""Visualizer and Simulator behave as those of the package: files, errors, runs and arguments."""

from __future__ import annotations

import importlib
import logging
import random
import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest
from toolkits import (
    GRID,
    HAS_PACKAGE,
    ROOTS,
    SEED_RANGES,
    TRUTH,
    Records,
    Toolkit,
    differs,
    execute,
    loss_of,
    some_runs,
)


def pictures(folder) -> set[str]:
    """Names of the pictures of a folder; each is a whole PNG that is wider than high."""
    for file in folder.glob("*.png"):
        head = file.read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        assert head.startswith(b"\x89PNG")
        assert width > height > 100
    return {file.name for file in folder.glob("*.png")}


@pytest.fixture
def with_parameters(toolkit, tmp_path):
    """A Chinchilla that has runs and, as if fitted, parameters."""
    cc = toolkit.make(tmp_path, some_runs(5, noise=0.02), seed_ranges=SEED_RANGES)
    for name, value in TRUTH.items():
        setattr(cc, name, value)
    return cc


@pytest.fixture
def listened():
    """What the loggers of the toolkit say."""
    records = Records()
    logger = logging.getLogger("chinchilla")
    level = logger.level
    logger.addHandler(records)
    logger.setLevel(10)
    yield records
    logger.removeHandler(records)
    logger.setLevel(level)


# -- Visualizer -------------------------------------------------------------------------------


def test_a_picture_of_the_fit(with_parameters, tmp_path):
    n, d = with_parameters.allocate_compute(1e17)
    point = {"C": np.array(1e17), "N": np.array(n), "D": np.array(d)}
    assert with_parameters.plot(next_point=point) is None
    assert pictures(tmp_path) == {"parametric_fit.png"}
    assert plt.get_fignums() == []


def test_a_picture_of_a_simulation_under_another_name(with_parameters, tmp_path):
    with_parameters.visualizer.plot(
        with_parameters, img_name="law", cmap_name="viridis", simulation=True
    )
    assert pictures(tmp_path) == {"simulation--law.png"}


def test_a_picture_of_the_runs(with_parameters, tmp_path):
    with_parameters.plot(None, False)
    assert pictures(tmp_path) == {"raw_data_points.png"}


def test_runs_only_where_nothing_is_fitted(toolkit, tmp_path, listened):
    cc = toolkit.make(tmp_path, some_runs(4))
    cc.visualizer.logger.setLevel(10)
    cc.plot(simulation=True)
    assert pictures(tmp_path) == {"simulation--raw_data_points.png"}
    assert "only" in listened.text.lower()
    assert 30 in listened.levels


def test_too_few_runs_for_a_picture(toolkit, tmp_path, listened):
    cc = toolkit.make(tmp_path, some_runs(2))
    cc.visualizer.logger.setLevel(10)
    assert cc.plot() is None
    assert pictures(tmp_path) == set()
    assert listened.levels[-1] == 30


def test_a_picture_needs_a_table(with_parameters):
    with_parameters.database.df = with_parameters.database.df.to_dict("records")
    with pytest.raises(TypeError, match="DataFrame"):
        with_parameters.plot()


@pytest.mark.parametrize("point", [{"C": 1e17}, {"C": 1, "N": 1, "D": 1, "loss": 1}])
def test_the_next_point_is_budget_size_and_data(with_parameters, point):
    with pytest.raises(TypeError, match="next_point"):
        with_parameters.plot(next_point=point)


def test_a_map_of_colours_that_does_not_exist(with_parameters):
    with pytest.raises((KeyError, ValueError), match="no_such_map"):
        with_parameters.plot(cmap_name="no_such_map")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "optim.png"),
        ({"simulation": True}, "simulation--optim.png"),
        ({"C": np.array([1e15, 1e16, 1e17]), "img_name": "errors"}, "errors.png"),
    ],
)
def test_a_picture_of_errors(toolkit, tmp_path, arguments, name):
    visualizer = toolkit.module("visualizer").Visualizer(str(tmp_path), log_level=50)
    observed = np.array([3.0, 2.5, 2.2])
    assert visualizer.optim(observed - [0.1, 0.02, 0.3], observed, **arguments) is None
    assert pictures(tmp_path) == {name}


def test_the_old_name_of_optim(toolkit, tmp_path):
    visualizer = toolkit.module("visualizer").Visualizer(str(tmp_path))
    observed = np.array([3.0, 2.5, 2.2])
    with pytest.warns(DeprecationWarning, match="optim"):
        visualizer.LBFGS(observed - 0.1, observed, img_name="LBFGS")
    assert pictures(tmp_path) == {"LBFGS.png"}


def test_a_visualizer_knows_its_folder(toolkit, tmp_path):
    visualizer = toolkit.module("visualizer").Visualizer(str(tmp_path), log_level=40)
    assert visualizer.project_dir == str(tmp_path)
    assert isinstance(visualizer.logger, logging.Logger)


@differs("global_style")
def test_the_style_of_other_figures_stays(toolkit):
    visualizer = toolkit.module("visualizer")
    with plt.rc_context():
        plt.rcdefaults()
        before = dict(plt.rcParams)
        execute(visualizer)
        after = dict(plt.rcParams)
    assert after == before


# -- Simulator --------------------------------------------------------------------------------


@pytest.fixture
def planned(toolkit, tmp_path):
    """A Chinchilla with a seed regime and one run of its own."""
    mse = toolkit.module("_metrics").mse
    return toolkit.make(tmp_path, some_runs(1), draws=True, seed_ranges=SEED_RANGES, loss_fn=mse)


def test_a_simulator_has_what_its_chinchilla_has(toolkit, planned):
    simulator = toolkit.module("simulator").Simulator(planned)
    assert isinstance(simulator, toolkit.top.Chinchilla)
    assert simulator.cc is planned
    assert simulator.param_grid is planned.param_grid
    assert simulator.visualizer is planned.visualizer
    assert simulator.log_level == planned.logger.getEffectiveLevel()
    with pytest.raises(AttributeError):
        simulator.no_such_attribute  # noqa: B018


def test_simulated_seeds_follow_the_law(toolkit, planned, tmp_path):
    before = (tmp_path / "df.csv").read_bytes()
    simulator = toolkit.module("simulator").Simulator(planned)
    random.seed(3)
    assert simulator(5, 0, target_params=TRUTH, noise_generator=None) is None
    runs = simulator.database.df
    random.seed(3)
    for (_, run), (n, d) in zip(
        runs.iterrows(), [planned.seed()[0] for _ in range(5)], strict=True
    ):
        assert (round(n), round(d)) == (run.N, run.D)
        assert run.loss == pytest.approx(loss_of(n, d), rel=1e-12)
        assert float(run.C) == pytest.approx(6 * n * d, rel=1e-6)
    assert (tmp_path / "df.csv").read_bytes() == before
    assert len(planned.database.df) == 1
    assert pictures(tmp_path) == {"simulation--raw_data_points.png"}
    assert simulator.target_params is TRUTH
    assert (simulator.num_seeding_steps, simulator.num_scaling_steps) == (5, 0)


def test_simulated_steps(toolkit, planned, tmp_path):
    simulator = toolkit.module("simulator").Simulator(planned)
    random.seed(4)
    simulator(
        num_seeding_steps=8,
        num_scaling_steps=1,
        scaling_factor=10.0,
        target_params=TRUTH,
        noise_generator=(random.expovariate, (100,)),
    )
    runs = simulator.database.df
    assert len(runs) == 9
    assert float(runs.C.iloc[-1]) == pytest.approx(1e17, rel=1e-3)
    excess = runs.loss - loss_of(runs.N.astype(float), runs.D.astype(float))
    assert (excess > 0).all()
    assert set(simulator.params) == set(TRUTH)
    assert pictures(tmp_path) == {"simulation--optim.png", "simulation--parametric_fit.png"}
    assert not hasattr(planned, "alpha")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not HAS_PACKAGE, reason="the package chinchilla is not installed")
def test_the_same_seed_gives_the_same_simulated_runs(tmp_path):
    """Sizes, draws that are rejected, and noise: number for number."""
    grid = {"width": list(range(64, 2049, 64)), "depth": [2, 4, 8]}
    search = {"size_estimator": lambda width, depth: 12 * depth * width**2, "hyperparam_grid": grid}
    tables = []
    for name in ROOTS:
        kit = Toolkit(name)
        settings = {"seed_ranges": SEED_RANGES, "model_search_config": search}
        cc = kit.make(tmp_path / name, **settings)
        cc.visualizer.plot = lambda *_, **__: None
        simulator = kit.module("simulator").Simulator(cc)
        random.seed(7)
        simulator(40, 0, noise_generator=(random.expovariate, (10,)))
        tables.append(simulator.database.df.astype(float).to_numpy())
    assert np.allclose(*tables, rtol=1e-12, atol=0)


@differs("preset_factor")
def test_the_factor_of_the_chinchilla_is_used(toolkit, planned):
    planned.scaling_factor = 2.0
    planned.visualizer.plot = lambda *_, **__: None
    simulator = toolkit.module("simulator").Simulator(planned)
    for name, value in TRUTH.items():
        setattr(planned, name, value)
    simulator.fit = lambda **_: None
    simulator(4, 1, target_params=TRUTH, noise_generator=None)
    assert float(simulator.database.df.C.iloc[-1]) == pytest.approx(2e16, rel=1e-3)


@differs("simulated_append")
def test_a_simulated_run_is_no_run_of_the_project(toolkit, planned):
    planned.visualizer.plot = lambda *_, **__: None
    simulator = toolkit.module("simulator").Simulator(planned)
    simulator(3, 0, noise_generator=None)
    simulator.append(N=330, D=1, loss=1.0)
    assert (len(simulator.database.df), len(planned.database.df)) == (4, 1)


def test_simulate_is_a_simulator(planned, tmp_path):
    noise = iter([0.1, 0.2, 0.3, 0.4])
    assert planned.simulate(3, 0, target_params=TRUTH, noise_generator=noise) is None
    assert list(noise) == [0.4]
    assert pictures(tmp_path) == {"simulation--raw_data_points.png"}


@pytest.mark.parametrize("pair", [(3, (10,)), (random.expovariate, 10), [random.random, None]])
def test_noise_is_a_function_and_its_arguments(planned, pair):
    with pytest.raises(TypeError, match="noise_generator"):
        planned.simulate(3, 0, noise_generator=pair)


def test_a_list_of_numbers_is_not_noise(planned):
    with pytest.raises(ValueError, match="unpack"):
        planned.simulate(3, 0, noise_generator=[0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"num_seeding_steps": 2}, "Too few"),
        ({"num_seeding_steps": 0, "num_scaling_steps": 0}, "num_seeding_steps"),
        ({"num_seeding_steps": 5, "num_scaling_steps": -1, "scaling_factor": 2}, "num_scaling"),
        ({"num_seeding_steps": 5}, "scaling_factor"),
        ({"num_seeding_steps": 5, "scaling_factor": 2, "noise_generator": 3.0}, "noise"),
        ({"num_scaling_steps": 0, "target_params": {"E": "low"}}, "target_params"),
    ],
)
def test_a_simulation_that_is_refused(planned, arguments, told):
    pydantic = importlib.import_module("pydantic")
    with pytest.raises(pydantic.ValidationError, match=told):
        planned.simulate(**arguments)


def test_a_simulation_is_quiet(toolkit, tmp_path, capsys):
    cc = toolkit.make(tmp_path, seed_ranges=SEED_RANGES, param_grid=GRID, log_level=50)
    cc.visualizer.plot = lambda *_, **__: None
    cc.simulate(3, 0)
    assert capsys.readouterr() == ("", "")
