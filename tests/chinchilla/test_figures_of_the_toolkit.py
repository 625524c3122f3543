"""Figures of the toolkit: which files there are, what they show, and that none stays open."""

from __future__ import annotations

import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

pytest.importorskip("pydantic")
pytest.importorskip("rich")

from isoloss.chinchilla import Chinchilla, visualizer
from isoloss.chinchilla._grid import GridSweep
from isoloss.chinchilla._metrics import asymmetric_mae, log_huber, mse
from isoloss.chinchilla.visualizer import Planes, Visualizer
from isoloss.figures._figure import STYLE

LAW = {"E": 1.7, "A": 120.0, "B": 900.0, "alpha": 0.34, "beta": 0.41}
GRID = {"E": [1, 2], "a": [4, 5, 6], "b": [6, 7], "alpha": [0.3, 0.4], "beta": [0.4]}
RANGES = {"C": (1e15, 1e16), "N_to_D": (10, 100)}
NEXT = {"C": 1e17, "N": 3e7, "D": 1e17 / 6 / 3e7}


def loss_of(n, d):
    return LAW["E"] + LAW["A"] / n ** LAW["alpha"] + LAW["B"] / d ** LAW["beta"]


def runs(count: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = np.exp(rng.uniform(*np.log([2e6, 1e7]), count))
    d = n * np.exp(rng.uniform(*np.log([10, 100]), count))
    loss = loss_of(n, d) + rng.exponential(0.02, count)
    return pd.DataFrame({"C": 6 * n * d, "N": n, "D": d, "loss": loss})


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Small pictures, which are soon drawn."""
    monkeypatch.setitem(STYLE, "savefig.dpi", 30)


@pytest.fixture
def toolkit(tmp_path):
    """A maker of a project with runs; with the law, unless it is not fitted."""

    def make(fitted=True, seed_ranges=RANGES, table=None) -> Chinchilla:
        cc = Chinchilla(str(tmp_path), GRID, seed_ranges, log_level=40)
        cc.database.df = runs() if table is None else table
        if fitted:
            for name, value in LAW.items():
                setattr(cc, name, value)
        return cc

    return make


def pictures(folder) -> set[str]:
    """The names of PNG files in a folder."""
    names = {file.name for file in folder.glob("*.png")}
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in names)
    return names


@pytest.mark.parametrize(
    ("fitted", "given", "name"),
    [
        (True, {}, "parametric_fit"),
        (True, {"next_point": NEXT, "simulation": True}, "simulation--parametric_fit"),
        (True, {"img_name": "mine", "cmap_name": "viridis"}, "mine"),
        (True, {"fitted": False, "img_name": "mine"}, "raw_data_points"),
        (False, {"simulation": True}, "simulation--raw_data_points"),
    ],
)
def test_runs_are_drawn_into_the_file_of_the_package(toolkit, tmp_path, fitted, given, name):
    toolkit(fitted).plot(**given)
    assert pictures(tmp_path) == {f"{name}.png"}


def test_fewer_than_three_runs_are_not_drawn_with_a_warning(toolkit, tmp_path, monkeypatch):
    cc = toolkit(table=runs(2))
    texts = []
    monkeypatch.setattr(cc.visualizer.logger, "warning", texts.append)
    cc.plot()
    assert texts == ["2 training runs: nothing is drawn of fewer than 3"]
    assert pictures(tmp_path) == set()


@pytest.mark.parametrize("point", [{"N": 1.0, "D": 2.0}, {"C": 1, "N": 1, "X": 1}, (1, 2, 3)])
def test_a_next_run_is_a_mapping_of_c_n_and_d(toolkit, point):
    with pytest.raises(TypeError, match="`next_point` must be None or a dict of C, N and D"):
        toolkit().plot(next_point=point)


def test_runs_are_a_data_frame(toolkit):
    with pytest.raises(TypeError, match=r"`database\.df` must be a pandas DataFrame, not list"):
        toolkit(table=[1, 2, 3, 4]).plot()


def planes(cc, point=None, fitted=True):
    """The three panels and the colour bar, as they are drawn."""
    with matplotlib.rc_context(STYLE):
        figure = Planes.of(cc, point, fitted, "plasma").draw(Figure)
    figure.draw_without_rendering()
    return figure, figure.axes


def test_lines_of_equal_loss_frontier_and_bar_are_those_of_the_law(toolkit):
    cc = toolkit()
    figure, (first, _, plane, bar) = planes(cc, dict(NEXT))
    contours = plane.collections[0]
    for level, path in list(zip(contours.levels, contours.get_paths(), strict=True))[5:20:5]:
        n, d = path.vertices.T
        assert cc.L(n, d) == pytest.approx(np.full(len(n), level), rel=2e-3)
    assert bar.get_ylim() == (contours.levels[0], contours.levels[-1])  # the bar is of the lines
    assert contours.levels[0] < cc.L(NEXT["N"], NEXT["D"]) < runs()["loss"].min()
    for line in first.lines[:2]:
        flops, n = line.get_data()
        assert n == pytest.approx([cc.allocate_compute(c)[0] for c in flops])
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    for part in ("L(N, D) = 1.700 + 120.0 / N^0.3400", "seed regime", "efficient frontier",
                 "next run: C = 1e17, N = 30M", "(FLOP)", "(parameters)", "(samples)"):  # fmt: skip
        assert part in words
    assert figure.axes[0].get_legend() is None  # it is over the panels, and hides no run


def test_every_run_the_regime_and_the_next_run_are_inside_the_axes(toolkit):
    cc = toolkit()
    for axes, (x, y) in zip(planes(cc, dict(NEXT))[1], visualizer.PANELS, strict=False):
        shown = pd.concat([runs(), pd.DataFrame([NEXT]), visualizer._corners(cc.regime)])
        for name, (low, high) in ((x, axes.get_xlim()), (y, axes.get_ylim())):
            assert low < shown[name].min() < shown[name].max() < high


@pytest.mark.parametrize(
    ("table", "ranges"), [("floats", None), ("objects", RANGES), ("objects", None), ("same", None)]
)
def test_any_numbers_are_drawn(toolkit, tmp_path, ranges, table):
    given = runs(4)
    if table == "objects":
        given = pd.DataFrame({"N": [10**9, 10**10, 10**20], "D": [10**11, 10**12, 10**13]})
        given = given.assign(C=[6 * n * d for n, d in given.to_numpy()], loss=[2, "1.9", 1.8])
        given = given.astype(object)
    elif table == "same":
        given = pd.concat([given[:1]] * 3, ignore_index=True)
    cc = toolkit(seed_ranges=ranges, table=given)
    point = {"C": np.array(1e30), "N": np.float32(1e12), "D": 10**19}
    cc.plot(next_point=point)
    cc.plot(fitted=False)
    assert pictures(tmp_path) == {"parametric_fit.png", "raw_data_points.png"}


def test_a_law_without_a_frontier_is_drawn(toolkit, tmp_path):
    cc = toolkit()
    cc.alpha = -0.2
    cc.plot(next_point=NEXT)
    cc.E, cc.alpha = -3.0, 0.34
    cc.plot()
    cc.E = 1e6  # far above every loss
    cc.plot()
    assert pictures(tmp_path) == {"parametric_fit.png"}


@pytest.mark.parametrize(
    ("shape", "by_compute"),
    [("exponential", False), ("constant", False), ("constant", True), ("not a number", True)],
)
def test_errors_are_drawn(tmp_path, shape, by_compute):
    table, rng = runs(40), np.random.default_rng(1)
    error = {"exponential": rng.exponential(0.1, 40), "normal": rng.normal(0, 0.1, 40)}
    error |= {"constant": np.zeros(40), "not a number": np.append(np.nan, rng.normal(0, 1, 39))}
    observed = loss_of(table["N"], table["D"])
    flops = table["C"] if by_compute else None
    Visualizer(str(tmp_path)).optim(observed - error[shape], observed, C=flops, simulation=True)
    assert pictures(tmp_path) == {"simulation--optim.png"}


def drawn_errors(predicted, observed, flops=None):
    """The panels of predictions and of errors, and all that is written on them."""
    figure = visualizer._draw_errors(Figure, np.array(predicted), np.array(observed), flops)
    figure.draw_without_rendering()
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    return *figure.axes, words


def test_errors_are_observed_minus_predicted_and_exponential_only_where_they_look_so():
    rng = np.random.default_rng(2)
    observed = np.linspace(2, 3, 200)
    left, right, words = drawn_errors(observed - rng.exponential(0.1, 200), observed)
    assert (left.collections[0].get_offsets().T[1] == observed).all()
    assert "exponential, mean 0.0988" in words and right.get_xlim()[1] > 0.3
    assert "exponential" not in drawn_errors(observed + rng.normal(0, 0.1, 200), observed)[2]
    words = drawn_errors([2.0, np.nan, 2.5], [2.1, 2.2, 2.4], np.array([1e15, 1e16, 1e17]))[2]
    assert "Fit of 2 runs: RMSE 0.1, 1 without a finite loss not shown" in words


def test_errors_of_nothing_finite_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="no run has a finite loss and a finite prediction"):
        Visualizer(str(tmp_path)).optim([np.nan], [2.0])
    assert pictures(tmp_path) == set()


def test_lbfgs_is_the_old_name_of_optim(tmp_path):
    with pytest.warns(DeprecationWarning, match=r"Visualizer\.optim"):
        Visualizer(str(tmp_path)).LBFGS([1.0, 2.0], [1.1, 2.1], img_name="old")
    assert pictures(tmp_path) == {"old.png"}


def empty(make):
    """A figure with nothing on it."""
    return make(figsize=(1, 1))


def test_no_figure_stays_open_no_style_changes_and_nothing_warns(toolkit, tmp_path):
    from matplotlib import pyplot

    cc, before = toolkit(), dict(matplotlib.rcParams)
    own = pyplot.figure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(30):
            visualizer.write(empty, tmp_path / "empty.png")
        cc.visualizer.optim([1.0, 2.0], [1.1, 2.1])
        cc.plot()
        cc.sweep_param_grid()
    assert pyplot.get_fignums() == [own.number]
    pyplot.close(own)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("backend", "interactive", "seen"),
    [
        ("agg", False, False),
        ("agg", True, False),
        ("tkagg", False, False),  # a script would wait for a window
        ("tkagg", True, True),
        ("module://matplotlib_inline.backend_inline", False, True),
        (None, True, False),
    ],
)
def test_a_figure_is_shown_where_a_person_sees_it(
    tmp_path, monkeypatch, backend, interactive, seen
):
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(matplotlib, "get_backend", lambda *, auto_select: backend)
    monkeypatch.setattr(matplotlib, "is_interactive", lambda: interactive)
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pictures(tmp_path)))
    visualizer.write(empty, tmp_path / "empty.png")
    assert shown == [{"empty.png"}] * seen  # saved before
    assert pyplot.get_fignums() == []


def test_the_grid_is_evaluated_at_every_point(toolkit, tmp_path):
    cc = toolkit(fitted=False)
    best, loss = cc.sweep_param_grid(img_name="grid")
    table, means = runs(), {}
    for e in GRID["E"]:
        for a in GRID["a"]:
            for b in GRID["b"]:
                for alpha in GRID["alpha"]:
                    predicted = e + np.exp(a) / table["N"] ** alpha
                    predicted += np.exp(b) / table["D"] ** 0.4
                    means[e, a, b, alpha] = asymmetric_mae(table["loss"], predicted).mean()
    e, a, b, alpha = min(means, key=means.get)
    assert loss == pytest.approx(min(means.values()), rel=1e-12)
    # in ranges of the grid, as the package has it; a single value has the range 1
    assert best == pytest.approx([e / 1, a / 2, b / 1, alpha / 0.1, 0.4])
    assert pictures(tmp_path) == {"grid.png"}


def test_the_grid_is_read_by_names_whatever_their_order_and_scale():
    table = runs()
    plain = {"E": [1.5, 1.7], "A": [100.0, 120.0], "B": [900.0], "alpha": [0.34], "beta": [0.41]}
    logs = {"beta": [0.41], "e": np.log(plain["E"]), "b": np.log([900.0]), "alpha": [0.34]}
    logs["a"] = np.log(plain["A"])
    one = GridSweep.of(table, plain, mse, None)
    other = GridSweep.of(table, logs, mse, None)
    assert other.losses.shape == (1, 2, 1, 1, 2)
    assert other.losses[0, :, 0, 0, :] == pytest.approx(one.losses[:, :, 0, 0, 0])
    assert other.lowest("e") == pytest.approx(one.losses.min(axis=(1, 2, 3, 4)))


def test_weights_are_of_the_compute_and_have_the_mean_one():
    table = runs(3)
    grid = {name: [value] for name, value in LAW.items()}
    weighted = GridSweep.of(table, grid, mse, lambda flops: flops**2)
    errors = (table["loss"] - loss_of(table["N"], table["D"])) ** 2
    expected = np.average(errors, weights=table["C"] ** 2)
    assert weighted.best[1] == pytest.approx(expected, rel=1e-12)


def test_a_start_beyond_what_a_float_holds_is_the_worst(toolkit, tmp_path):
    grid = {"E": [1.0], "a": [5.0, 900.0], "b": [6.0], "alpha": [0.3], "beta": [0.4]}
    sweep = GridSweep.of(runs(), grid, log_huber, None)
    assert np.isinf(sweep.losses.ravel()).tolist() == [False, True]
    visualizer.write(sweep.draw, tmp_path / "grid.png")
    assert pictures(tmp_path) == {"grid.png"}


def test_a_grid_without_runs_is_refused(toolkit):
    with pytest.raises(ValueError, match="there are 0 runs"):
        toolkit(table=runs(0)).sweep_param_grid()
