"""Scripts that were written for the package run with ours when their import is changed.

The first two do what the two examples of the package's README do, the others what its notebooks
and scripts of its users do. The same text runs with the package and, the import replaced, with
ours, in a folder of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from toolkits import PACKAGE_MARKS, ROOTS, TRUTH, loss_of, some_runs

FIT_A_TABLE = """
import numpy as np
from chinchilla import Chinchilla

cc = Chinchilla(
    "./",
    param_grid=dict(
        E=np.linspace(1, 2, POINTS),
        a=np.linspace(1, 10, POINTS),
        b=np.linspace(1, 10, POINTS),
        alpha=np.linspace(0.1, 0.7, POINTS),
        beta=np.linspace(0.1, 0.7, POINTS),
    ),
)
cc.fit()
params = cc.params
allocation = cc.allocate_compute(C=1e24)
"""

SCALE_FROM_SCRATCH = """
import numpy as np
from chinchilla import Chinchilla

def estimate_model_size(hidden_size, num_hidden_layers, num_heads):
    if hidden_size % num_heads:
        return float("inf")
    return num_hidden_layers * 12 * hidden_size**2 + 1000 * hidden_size

cc = Chinchilla(
    "your_project__dir",
    param_grid=dict(
        E=np.linspace(1.1, 1.5, POINTS),
        A=np.linspace(200, 1000, POINTS),
        B=np.linspace(200, 1000, POINTS),
        alpha=np.linspace(0.1, 0.5, POINTS),
        beta=np.linspace(0.1, 0.5, POINTS),
    ),
    seed_ranges=dict(C=(1e15, 1e16), N_to_D=(10, 100)),
    model_search_config=dict(
        hyperparam_grid=dict(
            hidden_size=list(range(64, 1024 + 1, 64)),
            num_hidden_layers=list(range(1, 10 + 1)),
            num_heads=[1, 2, 4],
        ),
        size_estimator=estimate_model_size,
    ),
    num_seeding_steps=SEEDS,
    scaling_factor=2.0,
)
models = []
for i in range(SEEDS + ROUNDS):
    (N, D), model_config = cc.step(num_seeding_steps=SEEDS)
    models.append(model_config)
    cc.append(N=N, D=D, loss=train_and_evaluate(N, D))
"""

SIMULATE = """
import random

cc.simulate(
    num_seeding_steps=SEEDS,
    num_scaling_steps=1,
    scaling_factor=10.0,
    target_params=dict(
        E=1.69337368, A=406.401018, B=410.722827, alpha=0.33917084, beta=0.2849083
    ),
    noise_generator=(random.expovariate, (10,)),
)
"""

FRONTIER = """
import numpy as np
from chinchilla import Chinchilla

cc = Chinchilla(param_grid=dict(E=[1.6], a=[5], b=[7], alpha=[.3], beta=[.4]), log_level="ERROR")
best_start, value = cc.sweep_param_grid()
cc.fit()
C = np.logspace(18, 24, 13)
N, D = cc.allocate_compute(C)
loss = cc.predict_loss(N, D)
twenty = cc.predict_loss(np.sqrt(C / 120), 20 * np.sqrt(C / 120))
_ = cc.scale(C=1e24)
cc.report()
"""

FIT_RESULTS_OF_A_SWEEP = """
import json
import numpy as np
from pathlib import Path
from chinchilla import Chinchilla

cc = Chinchilla(
    project_dir=str(Path(".") / "chinchilla_db"),
    param_grid=dict(
        E=np.linspace(1.5, 1.7, 1), A=np.linspace(100, 2000, 1), B=np.linspace(100, 2000, 1),
        alpha=np.linspace(0.3, 0.4, 1), beta=np.linspace(0.3, 0.5, 1),
    ),
)
for r in results:
    cc.append(N=r["N"], D=r["D"], loss=r["loss"])
cc.fit(parallel=True)
cc.report(plot=False)
params = cc.get_params()
params["n_points"] = len(results)
Path("scaling_law_fit.json").write_text(json.dumps(params))
"""

OWN_SIZE = """
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber
from chinchilla._utils import search_model_config
from chinchilla.database import Database
from chinchilla.simulator import Simulator
from chinchilla.visualizer import Visualizer

assert issubclass(Simulator, Chinchilla)

cc = Chinchilla(
    "efficientcube",
    seed_ranges=dict(C=(10**14.5, 10**15.5), N_to_D=(64, 256)),
    param_grid=dict(E=[1.2], a=[5.0], b=[7.0], alpha=[0.3], beta=[0.4]),
    loss_fn=log_huber,
    scaling_factor=2.0,
    log_level=30,
)
cc.simulate(10, 0, noise_generator=None)
while len(cc.database.df) < 8:
    (N, D), _ = cc.seed()
    cc.append(N=N, D=D, loss=train_and_evaluate(N, D), epoch=1)
cc.fit()
(N, D), model_config = cc.scale()
N = int(N * 1.05)
D = cc.adjust_D_to_N(N)
cc.append(N=N, D=D, loss=cc.L(N, D))
"""


def run(toolkit, script: str, **names) -> dict:
    """The names that a script leaves behind."""
    script = script.replace("from chinchilla", f"from {ROOTS[toolkit.name]}")
    exec(compile(script, "script", "exec"), names)
    return names


# the package takes seconds for every picture
WITH_PACKAGE_SLOW = pytest.mark.parametrize(
    "toolkit",
    [pytest.param("package", marks=[*PACKAGE_MARKS, pytest.mark.slow]), "isoloss"],
    indirect=True,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a script."""
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    return tmp_path


def train_and_evaluate(n, d):
    """The loss of a run, a little above the law."""
    return loss_of(n, d) + 0.01 * random.random()


PUBLISHED = {
    "E": 1.7004437920205586,
    "A": 185.388090185727,
    "B": 1627.0012474587165,
    "alpha": 0.28923265350161337,
    "beta": 0.3556020928031086,
}


def mean_penalty(runs: pd.DataFrame, params: dict[str, float]) -> float:
    """The package's default objective: ten times the error where too much is predicted."""
    error = runs.loss - loss_of(runs.N, runs.D, params)
    return float(np.maximum(error, -10 * error).mean())


@pytest.fixture
def published_runs(reference_data, folder) -> pd.DataFrame:
    """The runs of the README's first example, saved as df.csv."""
    runs = pd.read_csv(reference_data / "kyo_chinchilla" / "runs.csv")
    names = {"flops": "C", "n_params": "N", "tokens": "D", "loss": "loss"}
    runs = runs.rename(columns=names)[list(names.values())]
    runs.to_csv(folder / "df.csv", index=False)
    return runs


def test_the_readme_fits_a_table(toolkit, folder, published_runs):
    """With its full grid for ours; with one start for the package, which takes minutes."""
    points = 1 if toolkit.name == "package" else 5
    names = run(toolkit, FIT_A_TABLE, POINTS=points)
    assert sorted(names["params"]) == ["A", "B", "E", "alpha", "beta"]
    n, d = names["allocation"]
    assert 6 * n * d == pytest.approx(1e24, rel=1e-9)
    assert (folder / "optim.png").is_file()
    if points == 5:
        value, published = (mean_penalty(published_runs, p) for p in (names["params"], PUBLISHED))
        assert value <= published * (1 + 1e-9)
        assert names["params"] == pytest.approx(PUBLISHED, rel=2e-2)


@WITH_PACKAGE_SLOW
def test_the_readme_scales_from_scratch(toolkit, folder):
    rounds = 5 if toolkit.name == "package" else 2
    settings = {"POINTS": 1, "SEEDS": 10, "ROUNDS": rounds}
    names = run(toolkit, SCALE_FROM_SCRATCH, train_and_evaluate=train_and_evaluate, **settings)
    cc = names["cc"]
    runs = cc.database.df
    assert len(runs) == len(pd.read_csv(folder / "your_project__dir" / "df.csv")) == 10 + rounds
    for model, n in zip(names["models"], runs.N, strict=True):
        assert names["estimate_model_size"](**model) == n
    budgets = runs.C.astype(float).to_numpy()
    assert (budgets[:10] <= 1e16).all()
    assert (budgets[10:] > 1e16).all()
    assert budgets[10:].max() > 1.5e16
    pictures = {file.name for file in (folder / "your_project__dir").glob("*.png")}
    assert pictures == {"optim.png", "parametric_fit.png"}
    run(toolkit, SIMULATE, cc=cc, SEEDS=10)
    assert len(cc.database.df) == 10 + rounds
    assert {file.name for file in (folder / "your_project__dir").glob("simulation--*")} == {
        "simulation--optim.png",
        "simulation--parametric_fit.png",
    }


@WITH_PACKAGE_SLOW
def test_a_notebook_draws_the_frontier(toolkit, folder):
    table = [{"C": 6 * n * d, "N": n, "D": d, "loss": loss} for n, d, loss in some_runs(noise=0.01)]
    pd.DataFrame(table).to_csv(folder / "df.csv", index=False)
    names = run(toolkit, FRONTIER)
    assert names["N"].shape == names["loss"].shape == (13,)
    assert (names["loss"] <= names["twenty"] * (1 + 1e-9)).all()
    pictures = {file.name for file in folder.glob("*.png")}
    assert pictures == {"sweep_param_grid.png", "optim.png", "parametric_fit.png"}


def test_a_script_fits_the_results_of_a_sweep(toolkit, folder):
    results = [{"N": n, "D": d, "loss": loss} for n, d, loss in some_runs()]
    run(toolkit, FIT_RESULTS_OF_A_SWEEP, results=results)
    params = json.loads((folder / "scaling_law_fit.json").read_text())
    assert params.pop("n_points") == 12
    assert set(params) == set(TRUTH)


@WITH_PACKAGE_SLOW
def test_a_notebook_takes_the_size_of_its_own_model(toolkit, folder):
    names = run(toolkit, OWN_SIZE, train_and_evaluate=train_and_evaluate)
    cc = names["cc"]
    assert len(cc.database.df) == 9
    assert list(cc.database.df.columns) == ["C", "N", "D", "loss", "epoch"]
    assert cc.database.df.N.iloc[-1] == names["N"]
    assert (folder / "efficientcube" / "simulation--raw_data_points.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("points", [2, 5])
def test_the_readme_fits_a_table_with_both(published_runs, folder, points):
    """The package with its own processes: it takes minutes with the full grid."""
    params = []
    for root in ROOTS.values():
        script = FIT_A_TABLE.replace("from chinchilla", f"from {root}")
        script = f"import json\nPOINTS = {points}\n{script}\nprint(json.dumps(params))"
        told = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            cwd=folder,
            env={**os.environ, "MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
            check=True,
        )
        params.append(json.loads(told.stdout.splitlines()[-1]))
    theirs, ours = (mean_penalty(published_runs, p) for p in params)
    assert ours <= theirs * (1 + 1e-9)
    if points == 5:
        assert params[0] == pytest.approx(PUBLISHED, rel=1e-3)
        assert params[1] == pytest.approx(PUBLISHED, rel=2e-2)
