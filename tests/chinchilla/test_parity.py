"""The class Chinchilla behaves as that of the package: construction, seeds, fit, scale, step."""

from __future__ import annotations

import json
import random
from functools import partial
from itertools import pairwise
from math import exp, log, sqrt

import numpy as np
import pandas as pd
import pytest
from toolkits import GRID, SEED_RANGES, TRUTH, Records, differs, loss_of, some_runs

SIZES = {"width": [64, 128, 256, 512], "depth": [1, 2, 4, 8, 16]}


def size_of(width, depth):
    """Parameters of a toy model, a whole number; a model that is too deep has no size."""
    return 12 * depth * width**2 if depth < 16 else float("inf")


SEARCH = {"size_estimator": size_of, "hyperparam_grid": SIZES}
EASY = {"C": (1e13, 1e17), "N_to_D": (1, 1000)}


# -- construction -----------------------------------------------------------------------------


def test_a_folder_is_made_and_used_again(toolkit, tmp_path):
    folder = tmp_path / "project"
    toolkit.make(folder, some_runs(3))
    assert folder.is_dir()
    again = toolkit.make(folder)
    assert len(again.database.df) == 3
    assert again.project_dir == str(folder)


@pytest.mark.parametrize("folder", ["", None])
def test_a_folder_has_to_be_named(toolkit, folder):
    with pytest.raises(ValueError, match=r"directory|folder"):
        toolkit.top.Chinchilla(folder, param_grid=GRID, log_level=50)


def test_a_file_in_the_place_of_the_folder_is_refused(toolkit, tmp_path):
    (tmp_path / "project").write_text("")
    with pytest.raises(FileExistsError, match="project"):
        toolkit.make(tmp_path / "project")


def test_a_folder_may_be_a_path(toolkit, tmp_path):
    cc = toolkit.top.Chinchilla(tmp_path / "project", param_grid=GRID, log_level=50)
    cc.append(N=1000, D=20000, loss=3.0)
    assert (tmp_path / "project" / "df.csv").is_file()


def test_a_grid_is_required(toolkit, tmp_path):
    with pytest.raises(ValueError, match="param_grid"):
        toolkit.top.Chinchilla(str(tmp_path), log_level=50)


def test_ranges_are_checked(toolkit, tmp_path):
    with pytest.raises(ValueError, match="C"):
        toolkit.make(tmp_path, seed_ranges={"C": (2, 1), "N_to_D": (1, 10)})


def test_a_search_is_checked(toolkit, tmp_path):
    with pytest.raises(ValueError, match="size_estimator"):
        toolkit.make(tmp_path, model_search_config={"hyperparam_grid": SIZES})


def test_the_penalty_is_callable(toolkit, tmp_path):
    with pytest.raises(TypeError, match="loss_fn"):
        toolkit.make(tmp_path, loss_fn=None)


@differs("weight_fn")
def test_the_weight_is_callable(toolkit, tmp_path):
    with pytest.raises(TypeError, match="weight_fn"):
        toolkit.make(tmp_path, weight_fn=3.0)


def test_defaults(toolkit, tmp_path):
    cc = toolkit.top.Chinchilla(str(tmp_path), GRID)
    assert cc.loss_fn is toolkit.module("_metrics").asymmetric_mae
    assert cc.param_grid is GRID
    for name in ("model_search_config", "weight_fn", "num_seeding_steps", "scaling_factor"):
        assert getattr(cc, name) is None
    assert not hasattr(cc, "seed_ranges")
    assert isinstance(cc.database, toolkit.module("database").Database)
    assert isinstance(cc.visualizer, toolkit.module("visualizer").Visualizer)


def test_settings_are_attributes(toolkit, tmp_path):
    log_huber = toolkit.module("_metrics").log_huber
    cc = toolkit.top.Chinchilla(
        str(tmp_path), GRID, SEED_RANGES, SEARCH, log_huber, np.sqrt, 100, 2.0, 50
    )
    assert (cc.loss_fn, cc.weight_fn) == (log_huber, np.sqrt)
    assert (cc.num_seeding_steps, cc.scaling_factor) == (100, 2.0)
    assert cc.model_search_config["size_estimator"] is size_of


def test_seed_ranges_hold_the_bounds_of_sizes_and_data(toolkit, tmp_path):
    cc = toolkit.make(tmp_path, seed_ranges={"C": (10**20, 10**21), "N_to_D": (5, 50)})
    assert list(cc.seed_ranges.C) == [1e20, 1e21]
    assert list(cc.seed_ranges["N_to_D"]) == [5, 50]
    assert np.allclose(cc.seed_ranges.N, [sqrt(1e20 / 300), sqrt(1e21 / 30)], rtol=1e-12)
    assert np.allclose(cc.seed_ranges["D"], [sqrt(5e20 / 6), sqrt(5e22 / 6)], rtol=1e-12)


def test_levels_of_logging(toolkit, tmp_path, capsys):
    toolkit.make(tmp_path / "info", log_level=20)
    told = capsys.readouterr()
    assert "info" in told.err
    assert "model_search_config" in told.err
    assert told.out == ""
    toolkit.make(tmp_path / "warning", log_level=30)
    told = capsys.readouterr().err
    assert "model_search_config" in told
    assert "created" not in told.lower()
    toolkit.make(tmp_path / "nothing", log_level=50)
    assert capsys.readouterr().err == ""
    toolkit.make(tmp_path / "named", log_level="ERROR")
    assert capsys.readouterr().err == ""


def test_no_word_about_the_search_where_there_is_one(toolkit, tmp_path, capsys):
    toolkit.make(tmp_path, log_level=30, model_search_config=SEARCH)
    assert capsys.readouterr().err == ""


# -- from a file ------------------------------------------------------------------------------

SETTINGS = {
    "param_grid": {"E": [1, 2], "A": [100.0], "b": [5], "alpha": [0.3], "beta": [0.3]},
    "seed_ranges": {"C": [1e18, 1e19], "N_to_D": [10, 100]},
    "scaling_factor": 2.0,
    "log_level": 50,
}
YAML = """
param_grid: {E: [1, 2], A: [100.0], b: [5], alpha: [0.3], beta: [0.3]}
seed_ranges:
  C: [1e18, 1.0e+19]
  N_to_D: [10, 100]
scaling_factor: 2.0
log_level: 50
"""


@pytest.mark.parametrize("name", ["cc.json", "cc.JSON", "cc.yaml", "cc.yml", "cc.YML"])
def test_settings_from_a_file(toolkit, tmp_path, name):
    text = YAML if name.lower().endswith("ml") else json.dumps(SETTINGS)
    (tmp_path / name).write_text(text)
    cc = toolkit.top.Chinchilla.from_config(
        str(tmp_path / name), project_dir=str(tmp_path / "p"), scaling_factor=4.0
    )
    assert list(cc.seed_ranges.C) == [1e18, 1e19]
    assert cc.param_grid == SETTINGS["param_grid"]
    assert cc.scaling_factor == 4.0
    assert (tmp_path / "p").is_dir()


def own_toolkit(toolkit):
    """A class of a user, with methods and arguments of its own."""

    class Own(toolkit.top.Chinchilla):
        """Counts its seeds."""

        def __init__(self, *args, tag="none", **kwargs):
            super().__init__(*args, **kwargs)
            self.tag, self.drawn = tag, 0

        def seed(self):
            self.drawn += 1
            return super().seed()

        @classmethod
        def allocate_compute(cls, C, params):
            return super().allocate_compute(C, params)

        @classmethod
        def predict_loss(cls, N, D, params):
            return super().predict_loss(N, D, params)

    return Own


def test_a_class_of_the_user_draws_and_allocates(toolkit, tmp_path):
    Own = own_toolkit(toolkit)
    cc = Own(str(tmp_path), GRID, SEED_RANGES, num_seeding_steps=2, log_level=50)
    cc.step()
    assert cc.drawn == 1
    for name, value in TRUTH.items():
        setattr(cc, name, value)
    N, D = cc.allocate_compute(1e18)
    assert Own.allocate_compute(1e18, TRUTH) == pytest.approx((N, D))
    assert cc.predict_loss(N, D) == pytest.approx(loss_of(N, D))


def test_a_class_of_the_user_has_settings_from_a_file(toolkit, tmp_path):
    settings = {"project_dir": str(tmp_path), "param_grid": GRID, "log_level": 50}
    (tmp_path / "cc.json").write_text(json.dumps(settings), encoding="utf-8")
    cc = own_toolkit(toolkit).from_config(str(tmp_path / "cc.json"), tag="second")
    assert cc.tag == "second" and cc.param_grid == GRID


def test_another_format_is_refused(toolkit, tmp_path):
    (tmp_path / "cc.toml").write_text("")
    with pytest.raises(ValueError, match=r"(?i)json"):
        toolkit.top.Chinchilla.from_config(str(tmp_path / "cc.toml"))


def test_an_unknown_setting_is_refused(toolkit, tmp_path):
    (tmp_path / "cc.json").write_text(json.dumps({**SETTINGS, "project": "p"}))
    with pytest.raises(TypeError, match="project"):
        toolkit.top.Chinchilla.from_config(str(tmp_path / "cc.json"))


def test_a_missing_file(toolkit, tmp_path):
    with pytest.raises(FileNotFoundError):
        toolkit.top.Chinchilla.from_config(str(tmp_path / "cc.json"))


# -- seed -------------------------------------------------------------------------------------


def test_seeds_are_those_of_the_random_module(toolkit, tmp_path):
    cc = toolkit.make(tmp_path, seed_ranges=SEED_RANGES)
    random.seed(0)
    seeds = [cc.seed() for _ in range(20)]
    random.seed(0)
    for (n, d), config in seeds:
        budget = exp(random.uniform(*map(log, SEED_RANGES["C"])))
        ratio = exp(random.uniform(*map(log, SEED_RANGES["N_to_D"])))
        assert np.allclose([n, d], [sqrt(budget / 6 / ratio), sqrt(budget * ratio / 6)], rtol=1e-12)
        assert config is None


def test_a_seed_has_a_model(toolkit, tmp_path):
    cc = toolkit.make(tmp_path, seed_ranges=EASY, model_search_config=SEARCH)
    random.seed(1)
    for _ in range(20):
        (n, d), config = cc.seed()
        assert n == size_of(**config)
        assert isinstance(n, int)
        assert 1e13 <= 6 * n * d <= 1e17
        assert 1 <= d / n <= 1000


def test_a_seed_without_ranges(toolkit, tmp_path):
    with pytest.raises(ValueError, match="seed_ranges"):
        toolkit.make(tmp_path).seed()


def test_a_seed_that_no_model_meets(toolkit, tmp_path):
    sizes = {"size_estimator": lambda width: 10**12 * width, "hyperparam_grid": {"width": [1, 2]}}
    cc = toolkit.make(tmp_path, seed_ranges=SEED_RANGES, model_search_config=sizes)
    with pytest.raises(ValueError, match="1024"):
        cc.seed()


# -- fit --------------------------------------------------------------------------------------


def test_a_fit_needs_three_runs(toolkit, tmp_path):
    cc = toolkit.make(tmp_path, some_runs(2))
    with pytest.raises(ValueError, match="2"):
        cc.fit()


def test_a_fit_needs_losses(toolkit, tmp_path):
    cc = toolkit.make(tmp_path, [*some_runs(4), (10**7, 10**8, float("nan"))])
    with pytest.raises(ValueError):
        cc.fit()


def test_a_fit_takes_the_table_that_a_script_has_put_there(toolkit, tmp_path):
    wrong = [(n, d, 2 * loss) for n, d, loss in some_runs(4)]
    cc = toolkit.make(tmp_path, [*some_runs(), *wrong], loss_fn=toolkit.module("_metrics").mse)
    cc.database.df = cc.database.df.iloc[:12]
    cc.fit()
    assert cc.L(*some_runs()[3][:2]) == pytest.approx(some_runs()[3][2], rel=1e-2)
    cc.append(N=10**6, D=10**8, loss=3.0)
    assert len(toolkit.make(tmp_path).database.df) == 13


def test_a_fit_predicts_the_losses(fitted):
    runs = fitted.database.df
    predicted = fitted.predict_loss(runs.N.to_numpy(), runs.D.to_numpy())
    assert np.allclose(predicted.astype(float), runs.loss, rtol=1e-2)
    for name in TRUTH:
        assert float(getattr(fitted, name)) == fitted.params[name]


def test_a_fit_gives_nothing_back_and_leaves_a_picture(toolkit, tmp_path):
    mse = toolkit.module("_metrics").mse
    cc = toolkit.make(tmp_path, some_runs(6), draws=True, loss_fn=mse)
    assert not any(hasattr(cc, name) for name in TRUTH)
    assert cc.fit(parallel=False, simulation=True) is None
    assert (tmp_path / "simulation--optim.png").is_file()
    assert not (tmp_path / "optim.png").exists()
    first = cc.params
    assert cc.fit() is None
    assert (tmp_path / "optim.png").is_file()
    assert cc.params == first


@pytest.mark.parametrize("upper", ["", "EAB"])
def test_a_grid_is_linear_or_logarithmic(toolkit, tmp_path, upper):
    grid = {"e": [log(1.6)], "a": [5.0], "b": [7.0], "alpha": [0.3], "beta": [0.4]}
    for name in upper:
        grid = {(k.upper() if k == name.lower() else k): v for k, v in grid.items()}
        grid[name] = [exp(value) for value in grid[name]]
    huber = toolkit.module("_metrics").log_huber
    cc = toolkit.make(tmp_path, some_runs(), param_grid=grid, loss_fn=huber)
    cc.fit()
    assert set(cc.params) == set(TRUTH)
    for n, d, loss in some_runs():
        assert cc.L(n, d) == pytest.approx(loss, rel=5e-3)


def objective(cc, loss_fn, params):
    """The mean penalty of parameters over the runs of a database."""
    runs = cc.database.df
    predicted = loss_of(runs.N.to_numpy(float), runs.D.to_numpy(float), params)
    return float(loss_fn(runs.loss.to_numpy(float), predicted).mean())


def test_the_penalty_is_minimised(toolkit, tmp_path):
    for name in ("asymmetric_mae", "huber"):
        loss_fn = getattr(toolkit.module("_metrics"), name)
        cc = toolkit.make(tmp_path / name, some_runs(10, noise=0.02), loss_fn=loss_fn)
        cc.fit()
        start = {"E": 1.6, "A": exp(5), "B": exp(7), "alpha": 0.3, "beta": 0.4}
        assert objective(cc, loss_fn, cc.params) < objective(cc, loss_fn, start)


def test_a_penalty_of_the_user_sees_the_whole_table(toolkit, tmp_path):
    """Observed, then predicted losses, in order: it may hold a number for every run."""
    runs = [(n, d, loss * (1.2 if i % 2 else 1.0)) for i, (n, d, loss) in enumerate(some_runs(9))]
    trust = np.array([0.0 if i % 2 else 1.0 for i in range(9)])
    observed = []

    def penalty(y_true, y_pred):
        observed.append(np.asarray(y_true, dtype=float).copy())
        return trust * (np.log(y_true) - np.log(y_pred)) ** 2

    cc = toolkit.make(tmp_path, runs, loss_fn=penalty)
    cc.fit()
    assert observed
    assert all(np.allclose(values, cc.database.df.loss, rtol=1e-12) for values in observed)
    for n, d, loss in runs[::2]:
        assert cc.L(n, d) == pytest.approx(loss, rel=1e-2)


def mean_absolute_error(y_true, y_pred):
    """A number for all runs."""
    return np.mean(np.abs(y_true - y_pred))


def middling(y_true, y_pred):
    """Penalties that depend on those of other runs: the largest error has none."""
    error = np.abs(y_true - y_pred)
    return np.minimum(error, np.sort(error)[-2])


@pytest.mark.parametrize("penalty", [mean_absolute_error, middling])
def test_a_penalty_of_the_user_may_mix_the_runs(toolkit, tmp_path, penalty):
    runs = some_runs(10, noise=0.02)
    cc = toolkit.make(tmp_path, runs, loss_fn=penalty)
    start = {"E": 1.6, "A": exp(5), "B": exp(7), "alpha": 0.3, "beta": 0.4}
    cc.fit()
    assert objective(cc, penalty, cc.params) < objective(cc, penalty, start) / 5
    assert f"`{penalty.__name__}`" in reported(cc, plot=False).text


def test_a_penalty_that_is_never_a_number(toolkit, tmp_path):
    cc = toolkit.make(tmp_path, some_runs(4), loss_fn=lambda y_true, y_pred: y_pred * np.nan)
    with pytest.raises(ValueError, match="loss_fn"):
        cc.fit()


def test_weights_are_of_the_budget(toolkit, tmp_path):
    seen = []

    def weight(budget):
        seen.append(np.asarray(budget, dtype=float).copy())
        return (budget > np.median(budget)) * 1.0

    runs = some_runs(8)
    heavy = [n * d > np.median([n * d for n, d, _ in runs]) for n, d, _ in runs]
    runs = [
        (n, d, loss * (1.0 if whole else 1.2))
        for (n, d, loss), whole in zip(runs, heavy, strict=True)
    ]
    mse = toolkit.module("_metrics").mse
    weighted = toolkit.make(tmp_path / "w", runs, loss_fn=mse, weight_fn=weight)
    weighted.fit()
    plain = toolkit.make(tmp_path / "p", runs, loss_fn=mse)
    plain.fit()
    assert np.allclose(seen[0], [6 * n * d for n, d, _ in runs], rtol=1e-12)
    kept = [run for run, whole in zip(runs, heavy, strict=True) if whole]

    def error(cc):
        return max(abs(cc.L(n, d) - loss) for n, d, loss in kept)

    assert error(weighted) < error(plain) / 3


def test_the_search_has_its_old_name(toolkit):
    assert toolkit.top.Chinchilla.algorithm == "BFGS"


# -- scale ------------------------------------------------------------------------------------


@pytest.fixture
def scalable(toolkit, tmp_path):
    """A maker of a Chinchilla with parameters, and the points that it was asked to plot."""

    def make(**settings):
        cc = toolkit.make(tmp_path, some_runs(4), **{"seed_ranges": SEED_RANGES, **settings})
        for name, value in TRUTH.items():
            setattr(cc, name, value)
        points = []
        cc.plot = lambda **arguments: points.append(arguments)
        return cc, points

    return make


def test_scale_needs_a_fit(toolkit, tmp_path):
    with pytest.raises(ValueError, match="fit"):
        toolkit.make(tmp_path, some_runs(3)).scale(C=1e18)


def test_scale_needs_a_budget(scalable):
    cc, _ = scalable()
    with pytest.raises(ValueError, match="scaling_factor"):
        cc.scale()


def test_scale_takes_one_budget(scalable):
    cc, _ = scalable()
    with pytest.raises(ValueError, match="both"):
        cc.scale(scaling_factor=2.0, C=1e18)


def test_scale_to_a_budget(scalable):
    cc, points = scalable(scaling_factor=2.0)
    (n, d), config = cc.scale(C=1e18)
    assert 6 * n * d == pytest.approx(1e18, rel=1e-12)
    assert (n, d) == pytest.approx(tuple(cc.allocate_compute(1e18)), rel=1e-12)
    assert config is None
    assert points[0]["simulation"] is False
    assert points[0]["next_point"] == pytest.approx({"C": 1e18, "N": n, "D": d}, rel=1e-12)


def test_scale_by_a_factor(scalable):
    cc, points = scalable(scaling_factor=2.0)
    (n, d), _ = cc.scale(simulation=True)
    assert 6 * n * d == pytest.approx(2e16, rel=1e-12)  # the top of the seed regime
    assert points[0]["simulation"] is True
    (n, d), _ = cc.scale(3.0)
    assert 6 * n * d == pytest.approx(3e16, rel=1e-12)
    cc.append(N=10**8, D=10**9, loss=2.0)
    (n, d), _ = cc.scale(scaling_factor=10)
    assert 6 * n * d == pytest.approx(6e18, rel=1e-12)  # the largest run


def test_scale_without_a_seed_regime(scalable):
    cc, _ = scalable(seed_ranges={})
    (n, d), _ = cc.scale(scaling_factor=10)
    assert 6 * n * d == pytest.approx(10 * cc.database.df.C.max(), rel=1e-6)


def test_scale_finds_a_model_and_its_data(scalable):
    cc, points = scalable(model_search_config=SEARCH)
    (n, d), config = cc.scale(C=1e16)
    assert n == size_of(**config)
    assert d == pytest.approx(cc.adjust_D_to_N(n), rel=1e-12)
    assert points[0]["next_point"]["C"] == pytest.approx(6 * n * d, rel=1e-12)


def test_scale_says_when_no_model_is_larger(scalable):
    cc, _ = scalable(model_search_config=SEARCH)
    cc.append(N=10**10, D=10**11, loss=2.0)
    cc.logger.setLevel(10)
    records = Records()
    cc.logger.addHandler(records)
    try:
        cc.scale(C=1e24)
    finally:
        cc.logger.removeHandler(records)
        cc.logger.setLevel(0)
    assert "saturated" in records.text
    assert 30 in records.levels


# -- step -------------------------------------------------------------------------------------


def test_step_needs_a_number_of_seeds(toolkit, tmp_path):
    cc = toolkit.make(tmp_path, some_runs(4), seed_ranges=SEED_RANGES)
    with pytest.raises(ValueError, match="num_seeding_steps"):
        cc.step()


def test_step_draws_seeds_first(toolkit, tmp_path):
    cc = toolkit.make(tmp_path, some_runs(4), seed_ranges=SEED_RANGES, num_seeding_steps=5)
    cc.append(N=10**8, D=10**10, loss=2.0)  # beyond the seed regime: does not count
    random.seed(5)
    step, _ = cc.step()
    random.seed(5)
    assert step == cc.seed()[0]
    random.seed(5)
    assert cc.step(4 + 3)[0] == step


@pytest.fixture
def routed(toolkit, tmp_path):
    """A maker of a Chinchilla whose fit and scale only note how they were called."""

    def make(**settings):
        cc = toolkit.make(tmp_path, some_runs(4), seed_ranges=SEED_RANGES, **settings)
        calls = []
        cc.fit = lambda **arguments: calls.append(("fit", arguments))
        cc.scale = lambda **arguments: calls.append(("scale", arguments)) or ((1, 2), None)
        return cc, calls

    return make


def test_step_fits_and_scales_after_the_seeds(routed):
    cc, calls = routed(scaling_factor=2.0)
    assert cc.step(num_seeding_steps=4, parallel=False, simulation=True) == ((1, 2), None)
    assert [name for name, _ in calls] == ["fit", "scale"]
    assert calls[0][1] == {"parallel": False, "simulation": True}
    assert calls[1][1]["simulation"] is True


def test_step_hands_its_budget_on(routed):
    cc, calls = routed(scaling_factor=2.0)
    cc.step(num_seeding_steps=4, C=1e18)
    cc.step(num_seeding_steps=4, scaling_factor=3.0)
    assert calls[1][1]["C"] == 1e18
    assert calls[3][1]["scaling_factor"] == 3.0


def test_step_needs_a_budget(routed):
    cc, calls = routed()
    with pytest.raises(ValueError, match="scaling_factor"):
        cc.step(num_seeding_steps=4)
    assert calls == []


@differs("step_alone")
def test_step_takes_a_budget_of_its_own(routed):
    cc, calls = routed()
    cc.step(num_seeding_steps=4, C=1e18)
    cc.step(num_seeding_steps=4, scaling_factor=3.0)
    assert calls[1][1]["C"] == 1e18
    assert calls[3][1]["scaling_factor"] == 3.0


def test_step_takes_one_budget(scalable):
    cc, _ = scalable(scaling_factor=2.0)
    cc.fit = lambda **arguments: None
    with pytest.raises(ValueError, match="both"):
        cc.step(num_seeding_steps=4, C=1e18, scaling_factor=3.0)


# -- what follows from the parameters ---------------------------------------------------------

LAW = {"E": 1.62, "A": 1116.76, "B": 92697.4, "alpha": 0.649, "beta": 0.7105}


def test_allocation_is_the_optimum(toolkit):
    for budget in (1e18, 10**24, np.float64(3e20)):
        n, d = toolkit.top.Chinchilla.allocate_compute(budget, LAW)
        assert 6 * n * d == pytest.approx(float(budget), rel=1e-12)
        for factor in (0.99, 1.01):
            assert loss_of(n, d, LAW) < loss_of(n * factor, d / factor, LAW)


def test_allocation_of_an_array(toolkit):
    budgets = np.logspace(18, 21, 7)
    n, d = toolkit.top.Chinchilla.allocate_compute(budgets, LAW)
    assert np.allclose(6 * n * d, budgets, rtol=1e-12)
    assert all(b > a for a, b in pairwise(n))


@differs("list_of_budgets")
def test_allocation_of_a_list(toolkit):
    n, d = toolkit.top.Chinchilla.allocate_compute([1e18, 1e19], LAW)
    assert np.allclose(6 * n * d, [1e18, 1e19], rtol=1e-12)


@pytest.mark.parametrize("name", ["A", "B", "alpha", "beta"])
def test_allocation_needs_four_parameters(toolkit, name):
    law = {k: v for k, v in LAW.items() if k != name}
    with pytest.raises(ValueError, match="parameters"):
        toolkit.top.Chinchilla.allocate_compute(1e18, law)


def test_allocation_needs_no_floor(toolkit):
    law = {k: v for k, v in LAW.items() if k != "E"}
    assert toolkit.top.Chinchilla.allocate_compute(
        1e18, law
    ) == toolkit.top.Chinchilla.allocate_compute(1e18, LAW)


def test_predicted_loss(toolkit):
    predict = toolkit.top.Chinchilla.predict_loss
    assert predict(1e9, 1e6, LAW) == pytest.approx(loss_of(1e9, 1e6, LAW), rel=1e-12)
    n, d = np.array([1e9, 1e10]), np.array([1e6, 1e7])
    assert np.allclose(predict(n, d, LAW), loss_of(n, d, LAW), rtol=1e-12)
    assert np.allclose(predict(N=n, D=10**6, params=LAW), loss_of(n, 1e6, LAW), rtol=1e-12)


@pytest.mark.parametrize("name", LAW)
def test_a_predicted_loss_needs_all_parameters(toolkit, name):
    law = {k: v for k, v in LAW.items() if k != name}
    with pytest.raises(ValueError, match="parameters"):
        toolkit.top.Chinchilla.predict_loss(1e9, 1e6, law)


def test_an_instance_uses_its_own_parameters(toolkit, fitted):
    cls = toolkit.top.Chinchilla
    assert fitted.allocate_compute(1e20) == cls.allocate_compute(1e20, fitted.params)
    assert fitted.allocate_compute(C=1e20) == fitted.allocate(1e20)
    assert fitted.predict_loss(N=1e9, D=1e10) == cls.predict_loss(1e9, 1e10, fitted.params)
    assert fitted.L(1e9, 1e10) == fitted.predict_loss(1e9, 1e10)


def test_data_follows_the_size(fitted):
    n, d = fitted.allocate_compute(1e20)
    assert fitted.adjust_D_to_N(float(n)) == pytest.approx(float(d), rel=1e-9)
    assert fitted.adjust_D_to_N(10**9) > fitted.adjust_D_to_N(10**8)


@pytest.mark.parametrize("size", [0, -1, -0.5, "1e9", None])
def test_data_of_a_size_that_is_none(fitted, size):
    with pytest.raises(ValueError, match="positive"):
        fitted.adjust_D_to_N(size)


def test_data_of_a_size_do_not_depend_on_the_irreducible_loss(toolkit, tmp_path):
    cc = toolkit.make(tmp_path)
    cc.A, cc.B, cc.alpha, cc.beta = 400.0, 400.0, 0.5, 0.5
    assert cc.adjust_D_to_N(10**9) == pytest.approx(1e9)


def test_data_of_a_size_needs_a_fit(toolkit, tmp_path):
    with pytest.raises(AttributeError):
        toolkit.make(tmp_path).adjust_D_to_N(10**9)


@differs("numpy_size")
def test_data_of_a_size_of_numpy(fitted):
    assert fitted.adjust_D_to_N(np.int64(10**9)) == fitted.adjust_D_to_N(10**9)


def test_parameters_are_numbers(fitted):
    assert list(fitted.params) == ["E", "A", "B", "alpha", "beta"]
    assert fitted.params == fitted.get_params()
    assert all(type(value) is float for value in fitted.params.values())
    json.dumps(fitted.params)


def test_parameters_need_a_fit(toolkit, tmp_path):
    cc = toolkit.make(tmp_path)
    with pytest.raises(ValueError, match="fit"):
        cc.get_params()
    with pytest.raises(ValueError, match="fit"):
        cc.params  # noqa: B018
    with pytest.raises(ValueError, match="fit"):
        cc.allocate_compute(1e18)
    with pytest.raises(ValueError, match="fit"):
        cc.L(1e9, 1e10)


def test_shortcuts(toolkit, tmp_path):
    cc = toolkit.make(tmp_path)
    cc.append(N=1000, D=3000, loss=2.5)
    assert cc.database.df.to_dict("records") == [{"C": 18e6, "N": 1000, "D": 3000, "loss": 2.5}]


# -- report -----------------------------------------------------------------------------------


def reported(cc, **arguments) -> Records:
    """What a report says."""
    records = Records()
    cc.logger.addHandler(records)
    level = cc.logger.level
    cc.logger.setLevel(20)
    try:
        assert cc.report(**arguments) is None
    finally:
        cc.logger.removeHandler(records)
        cc.logger.setLevel(level)
    return records


def test_a_report_needs_a_fit(toolkit, tmp_path):
    with pytest.raises(ValueError, match="fit"):
        toolkit.make(tmp_path).report()


def test_a_report_names_parameters_and_penalty(scalable):
    cc, points = scalable()
    told = reported(cc, plot=False).text
    for name, value in TRUTH.items():
        assert f"{name}: {value}" in told
    value = objective(cc, cc.loss_fn, TRUTH)
    assert f"`asymmetric_mae`: {value:.8f}" in told
    assert points == []
    reported(cc)
    assert len(points) == 1


def test_a_report_weighs(toolkit, scalable):
    cc, _ = scalable(loss_fn=toolkit.module("_metrics").mse, weight_fn=lambda c: c * 0 + 7.0)
    cc.E = 1.6
    assert "`mse`: 0.01000000" in reported(cc, plot=False).text
    cc.weight_fn = lambda c: (c == c.max()) * 4.0
    cc.append(N=10**9, D=10**9, loss=loss_of(1e9, 1e9, {**TRUTH, "E": 1.8}))
    assert "`mse`: 0.04000000" in reported(cc, plot=False).text


@differs("weights_of_whole_numbers")
def test_weights_may_be_whole_numbers(scalable):
    cc, _ = scalable(weight_fn=lambda c: np.arange(len(c)))
    assert "0.00000000" in reported(cc, plot=False).text


@differs("nameless_penalty")
def test_a_report_of_a_penalty_without_a_name(toolkit, scalable):
    cc, _ = scalable(loss_fn=partial(toolkit.module("_metrics").huber, delta=0.1))
    assert "0.00000000" in reported(cc, plot=False).text


def test_a_report_of_parameters_without_runs(toolkit, tmp_path):
    cc = toolkit.make(tmp_path)
    for name, value in TRUTH.items():
        setattr(cc, name, value)
    told = reported(cc).text
    assert "alpha: 0.34" in told
    assert "asymmetric_mae" not in told


# -- the grid ---------------------------------------------------------------------------------


def test_a_sweep_needs_runs(toolkit, tmp_path):
    with pytest.raises(ValueError, match="runs"):
        toolkit.make(tmp_path).sweep_param_grid()


def test_a_sweep_finds_the_best_start(toolkit, tmp_path):
    grid = {
        "E": [1.5, 1.7], "A": [120.0, 400.0], "b": [log(900)], "alpha": [0.34, 0.5], "beta": [0.41]
    }  # fmt: skip
    cc = toolkit.make(tmp_path, some_runs(5), param_grid=grid)
    best, value = cc.sweep_param_grid(plot=False)
    # starts are divided by the range of their values, where there is more than one
    spread = [0.2, 280.0, 1.0, 0.16, 1.0]
    expected = np.array([1.7, 120.0, log(900), 0.34, 0.41]) / spread
    assert np.allclose(np.asarray(best, dtype=float), expected, rtol=1e-12)
    assert value == pytest.approx(0.0, abs=1e-9)
    assert list(tmp_path.glob("*.png")) == []


def test_a_sweep_is_drawn(toolkit, tmp_path):
    grid = {**GRID, "E": [1.5, 1.7]}
    cc = toolkit.make(tmp_path, some_runs(5), param_grid=grid)
    cc.sweep_param_grid(img_name="grid")
    assert (tmp_path / "grid.png").is_file()


def test_the_database_is_a_table_that_scripts_may_read(fitted):
    runs = fitted.database.df
    assert isinstance(runs, pd.DataFrame)
    assert list(runs.columns) == ["C", "N", "D", "loss"]
    assert runs.sort_values("C").N.notna().all()
