"""Database, metrics, search of models, validators and logger behave as those of the package."""

from __future__ import annotations

import datetime
import importlib
import logging
import warnings
from pathlib import PurePosixPath

import numpy as np
import pytest
from toolkits import MODULES, differs, execute

FOUR = ["C", "N", "D", "loss"]


@pytest.mark.parametrize("name", MODULES)
def test_a_submodule_imports(toolkit, name):
    assert toolkit.module(name).__name__.endswith(f"chinchilla.{name}")


def test_the_figures_come_with_the_core(toolkit):
    core = toolkit.module("core")
    assert core.Visualizer is toolkit.module("visualizer").Visualizer
    assert core.Database is toolkit.module("database").Database


def test_names_of_the_package_itself(toolkit):
    assert toolkit.top.Chinchilla is toolkit.module("core").Chinchilla
    assert "Chinchilla" in toolkit.top.__all__


# -- Database ---------------------------------------------------------------------------------


def test_a_database_in_memory(toolkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = toolkit.module("database").Database()
    assert list(database.df.columns) == FOUR
    assert len(database.df) == 0
    assert database.filepath is None
    database.append(N=10, D=100, loss=3.5)
    assert database.df.to_dict("records") == [{"C": 6000, "N": 10, "D": 100, "loss": 3.5}]
    assert list(tmp_path.iterdir()) == []


def test_a_database_in_a_folder(toolkit, tmp_path):
    database = toolkit.module("database").Database(str(tmp_path), log_level=50)
    assert database.project_dir == str(tmp_path)
    assert database.filepath == str(tmp_path / "df.csv")
    assert not (tmp_path / "df.csv").exists()
    database.append(N=10, D=100, loss=3.5)
    assert (tmp_path / "df.csv").read_text() == "C,N,D,loss\n6000,10,100,3.500000\n"
    again = toolkit.module("database").Database(str(tmp_path), log_level=50)
    assert again.df.to_dict("records") == database.df.to_dict("records")
    assert again.df.C.dtype == float


def test_a_database_with_other_columns(toolkit):
    database = toolkit.module("database").Database(columns=[*FOUR, "width"], log_level=50)
    database.append(N=10, D=100, loss=3.5, width=64)
    assert list(database.df.columns) == [*FOUR, "width"]


def test_an_empty_file_is_a_new_database(toolkit, tmp_path):
    (tmp_path / "df.csv").write_text("")
    database = toolkit.module("database").Database(str(tmp_path), log_level=50)
    assert list(database.df.columns) == FOUR


def test_numbers_are_rounded_and_the_budget_may_be_given(toolkit):
    database = toolkit.module("database").Database(log_level=50)
    database.append(N=10.4, D=99.6, loss=3.5)
    database.append(N=10, D=100, loss=3.5, C=7000.2)
    assert database.df.N.tolist() == [10, 10]
    assert database.df.D.tolist() == [100, 100]
    assert database.df.C.tolist() == [round(6 * 10.4 * 99.6), 7000]


@pytest.mark.parametrize(
    "result", [{}, {"N": 1, "D": 2}, {"N": 1, "loss": 2.0}, {"D": 1, "loss": 2.0}, {"C": 5}]
)
def test_a_result_has_size_data_and_loss(toolkit, result):
    database = toolkit.module("database").Database(log_level=50)
    with pytest.raises(ValueError, match="'N', 'D'"):
        database.append(**result)
    assert len(database.df) == 0


def test_further_columns_are_kept(toolkit, tmp_path):
    database = toolkit.module("database").Database(str(tmp_path), log_level=50)
    database.append(N=10, D=100, loss=3.5)
    database.append(N=20, D=100, loss=3.0, seed=1)
    database.append(N=30, D=100, loss=2.5, note="best")
    assert list(database.df.columns) == [*FOUR, "seed", "note"]
    assert database.df.seed.isna().tolist() == [True, False, True]
    again = toolkit.module("database").Database(str(tmp_path), log_level=50)
    assert list(again.df.columns) == [*FOUR, "seed", "note"]
    assert again.df.note.tolist()[2] == "best"


def test_further_columns_of_any_type_are_texts_when_they_are_read_back(toolkit, tmp_path):
    Database = toolkit.module("database").Database
    database = Database(str(tmp_path), log_level=50)
    for config in ({"width": 64}, {}, {"depth": 2}):
        database.append(N=10, D=100, loss=3.5, config=config)
    others = {
        "day": datetime.datetime(2026, 1, 2, 3),
        "place": PurePosixPath("/runs/1"),
        "complex": 1j,
        "shape": [1, "a"],
        "fine": True,
    }
    database.append(N=10, D=100, loss=3.0, **others)
    database.append(N=10, D=100, loss=2.5)
    again = Database(str(tmp_path), log_level=50).df
    assert again["config"].tolist()[:3] == ["{'width': 64}", "{}", "{'depth': 2}"]
    assert again["config"].isna().tolist()[3:] == [True, True]
    texts = {"day": "2026-01-02 03:00:00", "place": "/runs/1", "complex": "1j", "shape": "[1, 'a']"}
    assert {name: again[name][3] for name in texts} == texts
    assert again["fine"][3] is True or again["fine"][3] == np.True_


def test_a_further_column_may_be_long(toolkit, tmp_path):
    (tmp_path / "df.csv").write_text(f"C,N,D,loss,log\n6,1,1,2,{'x' * 200_000}\n", "utf-8")
    database = toolkit.module("database").Database(str(tmp_path), log_level=50)
    assert len(database.df["log"][0]) == 200_000


def test_a_run_without_a_loss_is_kept(toolkit, tmp_path):
    database = toolkit.module("database").Database(str(tmp_path), log_level=50)
    database.append(N=10, D=100, loss=None)
    assert (tmp_path / "df.csv").read_text().splitlines()[1] == "6000,10,100,"
    assert database.df.loss.isna().all()


def test_a_file_elsewhere_may_be_linked(toolkit, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "shared.csv").write_text("C,N,D,loss\n6000,10,100,3.5\n", encoding="utf-8")
    (tmp_path / "project/df.csv").symlink_to("../shared.csv")
    database = toolkit.module("database").Database(str(tmp_path / "project"), log_level=50)
    database.append(N=20, D=100, loss=3.0)
    assert (tmp_path / "project/df.csv").is_symlink()
    assert len((tmp_path / "shared.csv").read_text(encoding="utf-8").splitlines()) == 3


@differs("counts_of_numpy")
def test_a_budget_does_not_overflow(toolkit):
    database = toolkit.module("database").Database(log_level=50)
    database.append(N=np.int64(5 * 10**9), D=np.int64(10**11), loss=2.0)
    assert database.df.C.tolist() == [3 * 10**21]


def plain(database):
    """Small and large, whole and broken numbers."""
    database.append(N=10, D=100, loss=3.5)
    database.append(N=1234567, D=7654321.6, loss=0.1234567890123)
    database.append(N=1e8, D=2e9, loss=2)


def huge(database):
    """Budgets above 2 ** 63."""
    database.append(N=70 * 10**9, D=14 * 10**11, loss=1.9366)
    database.append(N=530 * 10**9, D=27 * 10**10, loss=2.042, C=8.6e23)


def numbers_of_numpy(database):
    """Numbers that are scalars of NumPy."""
    database.append(N=np.int64(10), D=np.float64(100.2), loss=np.float32(3.5))
    database.append(N=np.float64(11.0), D=np.int32(7), loss=2)


def columns(database):
    """Columns that come with the second and the third run."""
    database.append(N=10, D=100, loss=3.5)
    database.append(N=20, D=100, loss=3.0, lr=1e-3, seed=2)
    database.append(N=20, D=100, loss=2.0, name="x, y")
    database.append(N=20, D=100, loss=1.0)


# What the package writes: when the runs are appended, and when they are appended once more to the
# file that was opened again, where budgets are floats
FILES = {
    plain: (
        "C,N,D,loss\n"
        "6000,10,100,3.500000\n"
        "56698637128483,1234567,7654322,0.123457\n"
        "1200000000000000000,100000000,2000000000,2.000000\n",
        "C,N,D,loss\n"
        "6000.000000,10,100,3.500000\n"
        "56698637128483.000000,1234567,7654322,0.123457\n"
        "1200000000000000000.000000,100000000,2000000000,2.000000\n"
        "6000.000000,10,100,3.500000\n"
        "56698637128483.000000,1234567,7654322,0.123457\n"
        "1200000000000000000.000000,100000000,2000000000,2.000000\n",
    ),
    huge: (
        "C,N,D,loss\n"
        "588000000000000000000000,70000000000,1400000000000,1.936600\n"
        "859999999999999974834176,530000000000,270000000000,2.042000\n",
        None,
    ),
    numbers_of_numpy: (
        "C,N,D,loss\n6012,10,100,3.500000\n462,11,7,2.000000\n",
        "C,N,D,loss\n"
        "6012.000000,10,100,3.500000\n"
        "462.000000,11,7,2.000000\n"
        "6012.000000,10,100,3.500000\n"
        "462.000000,11,7,2.000000\n",
    ),
    columns: (
        "C,N,D,loss,lr,seed,name\n"
        "6000,10,100,3.500000,,,\n"
        "12000,20,100,3.000000,0.001000,2.000000,\n"
        '12000,20,100,2.000000,,,"x, y"\n'
        "12000,20,100,1.000000,,,\n",
        None,
    ),
}


@pytest.mark.parametrize("appends", FILES)
def test_the_file_byte_for_byte(toolkit, tmp_path, appends):
    once, twice = FILES[appends]
    appends(toolkit.module("database").Database(str(tmp_path), log_level=50))
    assert (tmp_path / "df.csv").read_text() == once
    appends(toolkit.module("database").Database(str(tmp_path), log_level=50))
    if twice:
        assert (tmp_path / "df.csv").read_text() == twice
    again = toolkit.module("database").Database(str(tmp_path), log_level=50).df
    assert np.allclose(
        again.C.astype(float), [float(line.split(",")[0]) for line in once.splitlines()[1:]] * 2
    )


# -- metrics ----------------------------------------------------------------------------------

OBSERVED, PREDICTED = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 1.0, 3.0, 1.0])


def test_asymmetric_mae(toolkit):
    metric = toolkit.module("_metrics").asymmetric_mae
    assert np.allclose(metric(OBSERVED, PREDICTED), [5.0, 1.0, 0.0, 3.0])
    assert np.allclose(metric(OBSERVED, PREDICTED, w=3), [1.5, 1.0, 0.0, 3.0])


def test_huber(toolkit):
    metric = toolkit.module("_metrics").huber
    assert np.allclose(metric(OBSERVED, PREDICTED), [0.125, 0.5, 0.0, 2.5])
    assert np.allclose(metric(OBSERVED, PREDICTED, delta=0.1), [0.045, 0.095, 0.0, 0.295])


def test_log_huber(toolkit):
    metrics = toolkit.module("_metrics")
    expected = metrics.huber(np.log(OBSERVED), np.log(PREDICTED), 0.5)
    assert np.allclose(metrics.log_huber(OBSERVED, PREDICTED, delta=0.5), expected)
    one = np.log(2.0) ** 2 / 2
    assert np.allclose(metrics.log_huber(OBSERVED, PREDICTED)[1], one)


def test_mae(toolkit):
    assert np.allclose(toolkit.module("_metrics").mae(OBSERVED, PREDICTED), [0.5, 1.0, 0.0, 3.0])


def test_mse(toolkit):
    assert np.allclose(toolkit.module("_metrics").mse(OBSERVED, PREDICTED), [0.25, 1.0, 0.0, 9.0])


@pytest.mark.parametrize("name", ["asymmetric_mae", "huber", "log_huber", "mae", "mse"])
def test_a_metric_leaves_its_arguments_as_they_were(toolkit, name):
    observed, predicted = OBSERVED.astype(np.longdouble), PREDICTED.astype(np.longdouble)
    value = getattr(toolkit.module("_metrics"), name)(observed, predicted)
    assert np.array_equal(observed, OBSERVED)
    assert np.array_equal(predicted, PREDICTED)
    assert value.shape == OBSERVED.shape


# -- search of models -------------------------------------------------------------------------

GRID = {"width": [1024, 2048, 4096], "depth": [1, 2, 4, 8, 16, 32]}


def size(width, depth):
    """Parameters of a toy model."""
    return 12 * depth * width**2


@pytest.mark.parametrize("target", [1.0, 1e7, 1e9, 3.3e9, 1e12])
def test_the_nearest_model(toolkit, target):
    search = toolkit.module("_utils").search_model_config
    config, n = search(target, hyperparam_grid=GRID, size_estimator=size)
    assert n == size(**config)
    assert abs(n - target) == min(
        abs(size(w, d) - target) for w in GRID["width"] for d in GRID["depth"]
    )


def test_models_without_a_size_are_not_chosen(toolkit):
    search = toolkit.module("_utils").search_model_config
    sizes = {1: 10, 2: None, 3: float("inf"), 4: 0, 5: float("nan"), 6: 40}
    for target, width in ((0.0, 1), (24, 1), (26, 6), (1e9, 6)):
        assert search(target, {"width": list(sizes)}, lambda width: sizes[width]) == (
            {"width": width},
            sizes[width],
        )


def test_the_first_of_equal_models(toolkit):
    search = toolkit.module("_utils").search_model_config
    grid = {"width": [3, 1, 2], "depth": [2, 1]}
    assert search(5, grid, lambda width, depth: width * depth) == ({"width": 2, "depth": 2}, 4)
    assert search(2, grid, lambda width, depth: width * depth) == ({"width": 1, "depth": 2}, 2)


def test_sizes_are_kept_for_the_next_search(toolkit):
    search = toolkit.module("_utils").search_model_config
    asked = []

    def estimator(width):
        asked.append(width)
        return width

    search(1.0, {"width": [1, 2, 3]}, estimator)
    for target in (1.0, 2.2, 3.0):
        config, n = search(target, {"width": [1, 2, 3]}, estimator, use_cache=True)
        assert (config, n) == ({"width": round(target)}, round(target))
    assert len(asked) == 3


def test_a_grid_that_changed_is_sized_again(toolkit):
    search = toolkit.module("_utils").search_model_config
    search(1.0, {"width": [1, 2, 3]}, lambda width: width)
    assert search(9.0, {"width": [10, 20]}, lambda width: width) == ({"width": 10}, 10)


@differs("stale_cache")
def test_the_cache_knows_its_grid(toolkit):
    search = toolkit.module("_utils").search_model_config
    search(1.0, {"width": [1, 2, 3]}, lambda width: width)
    chosen = search(9.0, {"width": [10, 20]}, lambda width: width, use_cache=True)
    assert chosen == ({"width": 10}, 10)


@pytest.mark.parametrize(
    ("value", "inside"), [(1.0, True), (2.0, True), (1.5, True), (0.99, False), (2.01, False)]
)
def test_is_between(toolkit, value, inside):
    is_between = toolkit.module("_utils").is_between
    assert bool(is_between(value, (1.0, 2.0))) is inside
    assert bool(is_between(np.float64(value), np.array([1.0, 2.0]))) is inside


@differs("is_between_arrays")
def test_is_between_of_an_array(toolkit):
    inside = toolkit.module("_utils").is_between(np.array([0.5, 1.0, 3.0]), (1.0, 2.0))
    assert inside.tolist() == [False, True, False]


# -- validators -------------------------------------------------------------------------------

STARTS = {"E": (1.0,), "A": (2.0,), "B": (3.0,), "alpha": (0.3,), "beta": (0.4,)}


def without(name, **others):
    """STARTS without a key, and with others."""
    return {k: v for k, v in STARTS.items() if k != name} | others


def test_a_grid_of_starts(toolkit):
    grid = toolkit.module("_validator").ParamGrid
    assert grid(**STARTS).E == (1.0,)
    assert grid(**without("E", e=[0.5, 1])).e == (0.5, 1.0)
    assert grid(**without("A", a=np.linspace(1, 2, 3))).a == (1.0, 1.5, 2.0)
    assert grid(**without("B", b=(1,))).B is None


@pytest.mark.parametrize(
    ("starts", "told"),
    [
        ({}, "5 keys"),
        (without("E"), "5 keys"),
        ({**STARTS, "gamma": (1.0,)}, "5 keys"),
        ({**STARTS, "e": (1.0,)}, "duplicate"),
        (without("E", F=(1.0,)), "F"),
        (without("E", F=(1.0,)), "E/e"),
        (without("alpha", Alpha=(0.3,)), "Alpha"),
        (without("beta", gamma=(0.3,)), "beta"),
        ({**STARTS, "E": ("one",)}, "E"),
        ({**STARTS, "alpha": None}, "alpha"),
        ({**STARTS, "beta": 0.3}, "beta"),
    ],
)
def test_a_grid_of_starts_that_is_refused(toolkit, starts, told):
    pydantic = importlib.import_module("pydantic")
    with pytest.raises(pydantic.ValidationError, match=told):
        toolkit.module("_validator").ParamGrid(**starts)


def test_a_seed_regime(toolkit):
    regime = toolkit.module("_validator").SeedRanges(C=[10**18, 1e25], N_to_D=(5, 5))
    assert regime.C == (1e18, 1e25)
    assert regime.N_to_D == (5.0, 5.0)


@pytest.mark.parametrize(
    ("regime", "told"),
    [
        ({"N_to_D": (1, 2)}, "C"),
        ({"C": (1, 2)}, "N_to_D"),
        ({"C": (-1, 2), "N_to_D": (1, 2)}, "Negative"),
        ({"C": (2, 1), "N_to_D": (1, 2)}, "less than"),
        ({"C": (2, 2), "N_to_D": (1, 2)}, "less than"),
        ({"C": (1, 2, 3), "N_to_D": (1, 2)}, "C"),
        ({"C": (1, 2), "N_to_D": (1,)}, "N_to_D"),
        ({"C": ("low", 2), "N_to_D": (1, 2)}, "C"),
    ],
)
def test_a_seed_regime_that_is_refused(toolkit, regime, told):
    pydantic = importlib.import_module("pydantic")
    with pytest.raises(pydantic.ValidationError, match=told):
        toolkit.module("_validator").SeedRanges(**regime)


def test_a_search_of_models(toolkit):
    search = toolkit.module("_validator").ModelSearchConfig
    config = search(size_estimator=size, hyperparam_grid={"width": [64, 128], "rate": (0.5,)})
    assert config.size_estimator is size
    assert config.hyperparam_grid == {"width": (64.0, 128.0), "rate": (0.5,)}


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"hyperparam_grid": GRID}, "size_estimator"),
        ({"size_estimator": size}, "hyperparam_grid"),
        ({"size_estimator": 3, "hyperparam_grid": GRID}, "size_estimator"),
        ({"size_estimator": size, "hyperparam_grid": [1, 2]}, "hyperparam_grid"),
        ({"size_estimator": size, "hyperparam_grid": {"kind": ["gelu"]}}, "hyperparam_grid"),
    ],
)
def test_a_search_of_models_that_is_refused(toolkit, search, told):
    pydantic = importlib.import_module("pydantic")
    with pytest.raises(pydantic.ValidationError, match=told):
        toolkit.module("_validator").ModelSearchConfig(**search)


SIMULATION = {
    "num_seeding_steps": 3,
    "num_scaling_steps": 1,
    "scaling_factor": 2.0,
    "target_params": {"E": 1.7, "A": 400, "B": 400, "alpha": 0.34, "beta": 0.28},
    "noise_generator": None,
}


def test_arguments_of_a_simulation(toolkit):
    arguments = toolkit.module("_validator").SimulationArgs
    assert arguments(**SIMULATION).scaling_factor == 2.0
    assert arguments(**{**SIMULATION, "noise_generator": iter([0.1])}).num_seeding_steps == 3
    seeds_only = {"num_seeding_steps": 1, "num_scaling_steps": 0, "scaling_factor": None}
    assert arguments(**{**SIMULATION, **seeds_only}).num_scaling_steps == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"num_seeding_steps": 2}, "Too few"),
        ({"num_seeding_steps": 0, "num_scaling_steps": 0}, "num_seeding_steps"),
        ({"num_scaling_steps": -1}, "num_scaling_steps"),
        ({"num_seeding_steps": 3.5}, "num_seeding_steps"),
        ({"scaling_factor": None}, "scaling_factor"),
        ({"target_params": {"E": "low"}}, "target_params"),
        ({"target_params": [1, 2]}, "target_params"),
        ({"noise_generator": 0.1}, "noise_generator"),
    ],
)
def test_arguments_of_a_simulation_that_are_refused(toolkit, change, told):
    pydantic = importlib.import_module("pydantic")
    with pytest.raises(pydantic.ValidationError, match=told):
        toolkit.module("_validator").SimulationArgs(**{**SIMULATION, **change})


# -- logger -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "number"), [(10, 10), ("INFO", 20), (30, 30), (50, 50)])
def test_a_logger(toolkit, level, number, capsys):
    logger = toolkit.module("_logger").get_logger(level, name="parity.of.loggers")
    assert isinstance(logger, logging.Logger)
    assert logger.name == "parity.of.loggers"
    assert logger.getEffectiveLevel() == number
    logger.warning("something [b]bold[/]")
    told = capsys.readouterr()
    assert told.out == ""
    assert ("something bold" in told.err) == (number <= 30)


@differs("root_logger")
def test_the_loggers_of_the_program_stay(toolkit):
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        toolkit.module("_logger").get_logger(20, name="chinchilla")
        assert handler in root.handlers
    finally:
        root.removeHandler(handler)


@differs("warning_filters")
def test_the_filters_of_warnings_stay(toolkit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        execute(toolkit.module("_logger"))
        assert warnings.filters == before
