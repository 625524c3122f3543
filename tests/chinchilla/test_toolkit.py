"""The toolkit of chinchilla: seeds, scaling, steps, configuration files and sizes of models."""

from __future__ import annotations

import doctest
import importlib
import json
import logging
import os
import random
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from functools import partialmethod

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pydantic")
pytest.importorskip("rich")
import isoloss
from isoloss.chinchilla import Chinchilla, _fitting, _logger, core
from isoloss.chinchilla._metrics import log_huber
from isoloss.chinchilla._utils import is_between, search_model_config

GRID = {"E": [1.6], "A": [200.0], "B": [900.0], "alpha": [0.3], "beta": [0.4]}
LAW = {"E": 1.7, "A": 185.0, "B": 1627.0, "alpha": 0.289, "beta": 0.3556}
RANGES = {"C": (1e15, 1e16), "N_to_D": (10, 100)}


@dataclass
class Pictures:
    """Takes the place of a visualizer, and keeps what it is asked for."""

    plots: list[dict] = field(default_factory=list)
    errors: list[dict] = field(default_factory=list)

    def plot(self, cc, next_point=None, simulation=False):
        self.plots.append({"next_point": next_point, "simulation": simulation})

    def optim(self, y_pred, y_true, simulation=False):
        self.errors.append({"error": np.abs(y_pred - y_true).max(), "simulation": simulation})


def size_of(width, depth):
    return 12 * depth * width**2


SEARCH = {
    "size_estimator": size_of,
    "hyperparam_grid": {"width": list(range(64, 1024, 64)), "depth": list(range(1, 40))},
}


def make(folder, **given):
    """A quiet project that draws no figures."""
    arguments = {"param_grid": GRID, "seed_ranges": RANGES, "log_level": 50, **given}
    cc = Chinchilla(str(folder), **arguments)
    cc.visualizer = Pictures()
    return cc


def make_known(folder, runs=0, **given):
    """A project whose law is set by hand."""
    cc = make(folder, **given)
    for name, value in LAW.items():
        setattr(cc, name, value)
    append(cc, runs)
    return cc


def append(cc, runs):
    """Append runs of the law, drawn from the seed regime."""
    rng = random.Random(1)
    for _ in range(runs):
        (N, D), _config = cc.seed(rng)
        cc.append(N=N, D=D, loss=Chinchilla.predict_loss(N, D, LAW))


# Seeds


def test_the_global_generator_gives_the_same_seeds_again(tmp_path):
    cc = make(tmp_path)
    random.seed(0)
    first = [cc.seed() for _ in range(5)]
    random.seed(0)
    assert [cc.seed() for _ in range(5)] == first
    assert all(config is None for _, config in first)


@pytest.mark.parametrize("generator", [random.Random, np.random.default_rng])
def test_a_generator_of_ones_own_gives_seeds_and_leaves_the_global_one(tmp_path, generator):
    cc = make(tmp_path)
    state = random.getstate()
    first = [cc.seed(generator=rng)[0] for rng in [generator(3)] for _ in range(200)]
    again = [cc.step(300, generator=rng)[0] for rng in [generator(3)] for _ in range(200)]
    assert first == again and random.getstate() == state
    N, D = np.array(first).T
    assert is_between(6 * N * D, RANGES["C"]).all() and is_between(D / N, (10, 100)).all()
    assert abs(np.log(6 * N * D).mean() - np.log(1e15 * 1e16) / 2) < 0.2  # log-uniform
    assert abs(np.log(D / N).mean() - np.log(10 * 100) / 2) < 0.2


def test_a_seed_has_a_model_whose_size_keeps_it_within_the_regime(tmp_path):
    cc = make(tmp_path, model_search_config=SEARCH)
    for _ in range(20):
        (N, D), config = cc.seed(random.Random(_))
        assert type(N) is int and size_of(**config) == N
        assert is_between(6 * N * D, RANGES["C"]) and is_between(D / N, RANGES["N_to_D"])


def test_a_regime_without_a_model_is_told(tmp_path):
    grid = {"width": [2], "depth": [1]}
    search = {"size_estimator": size_of, "hyperparam_grid": grid}
    with pytest.raises(ValueError, match="valid configuration in 1024 trials"):
        make(tmp_path, model_search_config=search).seed()
    with pytest.raises(ValueError, match="seeding needs `seed_ranges`"):
        make(tmp_path, seed_ranges={}).seed()


# Sizes of models


def test_a_large_grid_is_sized_once(tmp_path):
    sizes = []

    def counted(width, depth, heads):
        sizes.append(width)
        return 12 * depth * width**2 + heads

    axes = {"width": range(64, 64 * 51, 64), "depth": range(1, 41), "heads": range(1, 21)}
    grid = {name: list(values) for name, values in axes.items()}
    search = {"size_estimator": counted, "hyperparam_grid": grid}
    cc = make_known(tmp_path, 3, model_search_config=search)
    for _ in range(5):
        cc.seed()
    cc.scale(2.0)
    assert len(sizes) == 50 * 40 * 20
    cc.model_search_config = {**search, "hyperparam_grid": {**grid, "heads": [8]}}
    (N, _), config = cc.scale(2.0)
    assert config["heads"] == 8 and 12 * config["depth"] * config["width"] ** 2 + 8 == N


def test_the_smaller_of_two_models_that_are_equally_near_is_chosen():
    grid = {"size": [30, 10, 20]}
    assert search_model_config(15, grid, lambda size: size) == ({"size": 10}, 10)
    assert search_model_config(25, grid, lambda size: size, use_cache=True) == ({"size": 20}, 20)


def test_sizes_are_estimated_anew_unless_the_cache_is_asked_for():
    factor = [1]

    def changing(size):
        return size * factor[0]

    assert search_model_config(20, {"size": [1, 2]}, changing) == ({"size": 2}, 2)
    factor[0] = 10
    assert search_model_config(20, {"size": [1, 2]}, changing, use_cache=True) == ({"size": 2}, 2)
    assert search_model_config(20, {"size": [1, 2]}, changing) == ({"size": 2}, 20)


def test_what_has_no_size_is_left_out_and_lists_are_values_too():
    grid = {"widths": [[1, 2], [3], []]}
    assert search_model_config(9, grid, sum_of, use_cache=True) == ({"widths": [1, 2]}, 3)
    with pytest.raises(ValueError, match="no configuration"):
        search_model_config(9, {"widths": [[]]}, sum_of)


def sum_of(widths):
    return sum(widths) or None


# The law at hand


def test_what_needs_a_law_says_that_there_is_none(tmp_path):
    cc = make(tmp_path)
    for use in (cc.get_params, cc.scale, cc.report, lambda: cc.params, lambda: cc.allocate(1e18)):
        with pytest.raises(ValueError, match="call `fit`"):
            use()
    with pytest.raises(ValueError, match="call `fit`"):
        cc.fit_result  # noqa: B018
    with pytest.raises(AttributeError, match="is not estimated yet: call `fit`"):
        cc.adjust_D_to_N(1e6)
    assert not cc.is_fitted and make_known(tmp_path).is_fitted


def test_a_law_is_used_on_the_class_and_on_an_instance(tmp_path):
    cc = make_known(tmp_path)
    N, D = Chinchilla.allocate_compute(1e21, LAW)
    assert cc.allocate_compute(1e21) == cc.allocate(1e21) == cc.allocate(C=1e21) == (N, D)
    assert pytest.approx(1e21 / 6) == N * D and pytest.approx(cc.adjust_D_to_N(N)) == D
    assert cc.L(N, D) == cc.predict_loss(N=N, D=D) == Chinchilla.predict_loss(N, D, LAW)
    assert cc.L(N, D) < min(cc.L(N * 1.1, D / 1.1), cc.L(N / 1.1, D * 1.1))
    for values in ([1e18, 10**24], np.array([1e18, 1e24]), pd.Series([1e18, 1e24])):
        assert [x[1] for x in cc.allocate(values)] == list(cc.allocate(10**24))
    runs = pd.DataFrame({"N": [1e6, N], "D": [1e7, D]}, index=[5, 6])
    assert cc.L(runs.N, runs.D).loc[6] == cc.L(N, D) == cc.L([N], [D])[0]
    with pytest.raises(ValueError, match="Missing required parameters: beta"):
        Chinchilla.allocate_compute(1e18, {"A": 1, "B": 1, "alpha": 1})
    with pytest.raises(TypeError, match="params"):
        Chinchilla.predict_loss(1e6, 1e6)


exponents = st.floats(0.1, 1.0)
scales = st.floats(1.0, 1e5)
counts = st.floats(1e3, 1e13) | st.integers(1000, 2**62)


@settings(max_examples=50, deadline=None)
@given(exponents, exponents, scales, scales, st.floats(-1, 3), counts, counts, st.floats(1e9, 1e27))
def test_numbers_agree_with_the_package(tmp_path_factory, alpha, beta, A, B, E, N, D, C):
    # the package changes filters of warnings and the style of figures when it is imported
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("chinchilla").Chinchilla
    law = {"E": E, "A": A, "B": B, "alpha": alpha, "beta": beta}
    for budget in (C, int(C), np.array([C, 2 * C])):
        agree(Chinchilla.allocate_compute(budget, law), theirs.allocate_compute(budget, law))
    agree(Chinchilla.predict_loss(N, D, law), theirs.predict_loss(N, D, law))
    ns, ds = np.array([N, 1e9]), np.array([D, 1e9])
    agree(Chinchilla.predict_loss(ns, ds, law), theirs.predict_loss(ns, ds, law))
    ours, other = object.__new__(Chinchilla), object.__new__(theirs)
    for cc in (ours, other):
        vars(cc).update(law, logger=logging.getLogger("quiet"))
    agree(ours.adjust_D_to_N(N), other.adjust_D_to_N(N))


def agree(ours, theirs):
    """What the package gives, of the same shape and to 1e-12."""
    assert np.shape(ours) == np.shape(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("N", [0, -1.0, float("nan"), "1e9", None, [1e9]])
def test_a_size_must_be_a_positive_number(tmp_path, N):
    with pytest.raises(ValueError, match="N must be a positive number"):
        make_known(tmp_path).adjust_D_to_N(N)


# Scaling


def test_compute_is_scaled_from_the_largest_of_seeds_and_runs(tmp_path):
    cc = make_known(tmp_path, 3, scaling_factor=10.0)
    assert cc.scale()[0] == cc.allocate(1e17)
    assert cc.scale(scaling_factor=2.0)[0] == cc.allocate(2e16)
    assert cc.scale(C=5e20)[0] == cc.allocate(5e20)
    cc.append(N=1e9, D=1e10, loss=2.0)
    (N, D), config = cc.scale(simulation=True)
    assert cc.allocate(6e20) == (N, D) and config is None
    last = cc.visualizer.plots[-1]
    assert last == {"next_point": {"C": 6e20, "N": N, "D": D}, "simulation": True}


def test_a_regime_without_runs_can_be_scaled(tmp_path):
    cc = make_known(tmp_path)
    assert cc.scale(2.0)[0] == cc.allocate(2e16)


def test_a_scaled_model_gets_the_data_of_its_size(tmp_path):
    cc = make_known(tmp_path, 3, model_search_config=SEARCH)
    (N, D), config = cc.scale(2.0)
    assert size_of(**config) == N and cc.adjust_D_to_N(N) == D


def test_models_that_grow_no_more_are_told(tmp_path, capsys):
    cc = make_known(tmp_path, 3, model_search_config=SEARCH, log_level=30)
    cc.scale(1e6)
    assert "saturated" not in capsys.readouterr().err
    cc.append(N=1e10, D=1e12, loss=2.0)
    cc.scale(2.0)
    assert "saturated" in capsys.readouterr().err


def test_scaling_asks_for_one_of_factor_and_compute(tmp_path):
    cc = make_known(tmp_path, 3)
    for use in (cc.scale, lambda **kwargs: cc.step(3, **kwargs)):
        with pytest.raises(ValueError, match="either `C` or `scaling_factor`"):
            use()
        with pytest.raises(ValueError, match="both `C` and `scaling_factor`"):
            use(C=1e18, scaling_factor=2.0)
    with pytest.raises(ValueError, match="give `C`"):
        make_known(tmp_path / "new", seed_ranges={}).scale(2.0)


# Fits and steps


def test_a_step_seeds_then_fits_and_scales(tmp_path):
    cc = make(tmp_path, num_seeding_steps=12, loss_fn=log_huber)
    append(cc, 11)
    (N, D), _ = cc.step(generator=random.Random(0))
    assert is_between(6 * N * D, RANGES["C"]) and not cc.is_fitted
    cc.append(N=N, D=D, loss=Chinchilla.predict_loss(N, D, LAW))
    (N, D), _ = cc.step(C=1e18, parallel=False)
    assert cc.params == pytest.approx(LAW, rel=1e-3)
    assert cc.allocate(1e18) == (N, D)
    assert cc.visualizer.errors[-1]["error"] < 1e-5
    (N, D), _ = cc.step(scaling_factor=5.0, simulation=True)
    assert pytest.approx(5e16) == 6 * N * D
    assert cc.visualizer.errors[-1]["simulation"] and cc.visualizer.plots[-1]["simulation"]


def test_a_grid_is_read_by_name(tmp_path):
    fits = []
    for at, grid in enumerate([GRID, dict(reversed(GRID.items()))]):
        cc = make(tmp_path / str(at), param_grid=grid, loss_fn=log_huber)
        append(cc, 8)
        cc.fit()
        fits.append(cc.params)
    assert fits[0] == fits[1]


def test_a_step_needs_to_know_how_many_seeds(tmp_path):
    with pytest.raises(ValueError, match="num_seeding_steps"):
        make(tmp_path).step()
    with pytest.raises(AttributeError, match="seed_ranges"):
        make(tmp_path, seed_ranges=None).step(3)


def test_runs_outside_of_the_regime_are_no_seeds(tmp_path):
    cc = make(tmp_path)
    append(cc, 3)
    for _ in range(3):
        cc.append(N=1e9, D=1e10, loss=2.0)
    cc.step(4)
    assert not cc.is_fitted


def test_a_fit_has_intervals_for_those_who_ask(tmp_path, monkeypatch):
    few = partialmethod(_fitting.Fitted.result, bootstrap=20)
    monkeypatch.setattr(_fitting.Fitted, "result", few)
    cc = make(tmp_path, loss_fn=log_huber, weight_fn=lambda C: np.ones(len(C), int))
    append(cc, 12)
    rng = np.random.default_rng(0)
    cc.database.df["loss"] += rng.exponential(0.01, 12)
    cc.fit()
    result = cc.fit_result
    assert result.__class__ is isoloss.Fit and cc.fit_result is result
    assert {name: result.values[name] for name in LAW} == pytest.approx(cc.params, rel=1e-9)
    rows = result.params.set_index("term")
    assert (rows.loc[list(LAW), "ci_low"] <= rows.loc[list(LAW), "ci_high"]).all()


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("loss", np.nan, "loss of run 2 is nan"), ("D", 0, "D of run 2 is 0"), ("N", -1, "N of run")],
)
def test_a_run_that_cannot_be_fitted_is_named(tmp_path, column, value, reason):
    cc = make(tmp_path)
    append(cc, 4)
    cc.database.df.loc[1, column] = value
    with pytest.raises(ValueError, match=reason):
        cc.fit()


def test_a_fit_needs_three_runs_and_64_bits(tmp_path, monkeypatch):
    cc = make(tmp_path)
    append(cc, 2)
    with pytest.raises(ValueError, match="there are 2 runs"):
        cc.fit()
    append(cc, 2)
    monkeypatch.setattr(core, "DTYPE", np.single)
    with pytest.raises(TypeError, match="64 bits"):
        cc.fit()


# Configuration


CONFIG = {"param_grid": GRID, "seed_ranges": {"C": [1e15, 1e16], "N_to_D": [10, 100]}}
YAML = """
param_grid: {E: [1, 2.5], A: [2e2, 1.0e+3], b: [5], alpha: [.3, 1e-1], beta: [0.4]}
seed_ranges:
  C: [1e18, 1E+20]
  N_to_D: [10, 1e2]
num_seeding_steps: 5
"""


def test_a_project_by_a_file(tmp_path):
    (tmp_path / "a.yml").write_text(YAML, encoding="utf-8")
    (tmp_path / "b.JSON").write_text(json.dumps(CONFIG), encoding="utf-8")
    folder = str(tmp_path / "new")
    cc = Chinchilla.from_config(str(tmp_path / "a.yml"), project_dir=folder, log_level=50)
    assert cc.param_grid["A"] == [200.0, 1000.0] and cc.param_grid["alpha"] == [0.3, 0.1]
    assert cc.seed_ranges.C == [1e18, 1e20] and cc.seed_ranges["N_to_D"] == [10, 100.0]
    assert (cc.num_seeding_steps, cc.project_dir) == (5, folder) and os.path.isdir(folder)
    given = {"num_seeding_steps": 7, "project_dir": folder, "log_level": 50}
    assert Chinchilla.from_config(tmp_path / "a.yml", **given).num_seeding_steps == 7
    assert Chinchilla.from_config(tmp_path / "b.JSON", **given).seed_ranges.C == [1e15, 1e16]


@pytest.mark.parametrize(
    ("name", "text", "error", "reason"),
    [
        ("a.toml", "", ValueError, "Unsupported file format"),
        ("a.json", "{", ValueError, "is not JSON"),
        ("a.yaml", "a: [", ValueError, "is not YAML"),
        ("a.yaml", "log_level: 1\nlog_level: 2", ValueError, "appears twice"),
        ("a.yaml", "- 1", ValueError, "must be a mapping"),
        (
            "a.yaml",
            "seed_range: {}",
            TypeError,
            "'seed_range' is not .* did you mean 'seed_ranges'",
        ),
        ("a.json", '{"self": 1}', TypeError, "'self' is not an argument"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path, name, text, error, reason):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=reason) as problem:
        Chinchilla.from_config(str(tmp_path / name))
    assert name in str(problem.value)


def test_arguments_are_checked(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileExistsError, match="is a file"):
        make(tmp_path / "file")
    for wrong in ({"loss_fn": 3}, {"weight_fn": 3}, {"weight_fn": 0}):
        with pytest.raises(TypeError, match="callable"):
            make(tmp_path, **wrong)
    with pytest.raises(ValueError, match="directory"):
        Chinchilla("", GRID)


# Messages


def test_messages_go_by_their_level_and_the_programs_own_loggers_stay(tmp_path, capsys):
    root, filters = logging.getLogger(), list(warnings.filters)
    before = (root.level, list(root.handlers))
    make(tmp_path / "[red]a", log_level="INFO")
    printed = capsys.readouterr().err.replace("\n", "")
    assert "Creating" in printed and "[red]a" in printed and "model_search_config" in printed
    make(tmp_path, log_level=30)
    assert "Using" not in capsys.readouterr().err
    make(tmp_path, log_level=40)
    assert capsys.readouterr().err == ""
    assert (root.level, list(root.handlers)) == before and warnings.filters == filters
    assert logging.getLogger("chinchilla").handlers.count(_logger._HANDLER) == 1


def test_a_report_has_parameters_and_the_mean_penalty(tmp_path, capsys):
    cc = make_known(tmp_path, 4, weight_fn=np.sqrt, log_level=20)
    capsys.readouterr()
    cc.report()
    printed = capsys.readouterr().err
    assert "alpha: 0.289" in printed and "asymmetric_mae" in printed
    assert len(cc.visualizer.plots) == 1
    cc.report(plot=False)
    assert len(cc.visualizer.plots) == 1


MODULES = ("_metrics", "_utils", "_formula", "_validator", "_logger", "database", "core", "_grid")
MODULES += ("_fitting", "_whole", "visualizer", "simulator")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    outcome = doctest.testmod(importlib.import_module(f"isoloss.chinchilla.{name}"))
    assert outcome.attempted and not outcome.failed


@pytest.mark.parametrize("package", ["pydantic", "rich"])
def test_what_is_not_installed_is_named_with_the_extra(package):
    code = f"import sys; sys.modules[{package!r}] = None; import isoloss; isoloss.chinchilla"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = run.stderr.splitlines()[-1]
    assert f"needs the package {package}; install it with `pip install 'isoloss[chin" in last


def test_handlers_of_the_program_are_given_the_messages_too(tmp_path, caplog, capsys):
    make(tmp_path, log_level=30)
    assert ["model_search_config" in text for text in caplog.messages] == [True]
    assert capsys.readouterr().err.count("model_search_config") == 1
