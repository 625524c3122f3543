"""The N-scaling experiment's numbers, and what its figure says beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.figures import _structure, structural_scaling
from isoloss.figures._figure import Inputs
from isoloss.fit import fit_law

SIZES = np.round(np.geomspace(800, 35000, 12))


def measured(seeds=(42,), noise=0.0, rise=6) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs whose loss falls as a power of N until run `rise`, and their entropies."""
    rng = np.random.default_rng(0)
    runs, seen = [], []
    for seed in seeds:
        for i, n in enumerate(SIZES):
            loss = 0.3 + 20 * min(n, SIZES[rise]) ** -0.6 + max(0, i - rise) * 0.05
            run = {"run_id": f"s{seed}-{i}", "seed": seed, "n_params": n, "n_unique": n * 2}
            run |= {"n_samples": 8e5, "n_flops_6nd": 6 * n * 8e5, "n_flops": 6 * n * 8e5}
            run |= {"loss": loss + rng.normal(0, noise), "status": "done", "status_reason": ""}
            runs.append(run | {"group": "all", "fit_weight": 1.0})
            for quantity, value in (("h_tse", 0.01 * n**0.3), ("h_sie", 1 + np.log10(n))):
                about = {"run_id": run["run_id"], "observable": "structural_entropy"}
                seen.append(about | {"part": "sample", "quantity": quantity, "value": value})
    return pd.DataFrame(runs), pd.DataFrame(seen)


def drawn(runs, seen, fits=None, **options):
    """Texts and table of the figure."""
    inputs = Inputs({"runs": runs, "observations": seen}, fits or {}, "image", "nats/image")
    options = registry.defaults("figure", "structural_scaling") | options
    figure, table = structural_scaling.draw(inputs, **options)
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(Text)), table


@given(
    st.lists(st.floats(1, 1e6), min_size=3, max_size=20, unique=True),
    st.floats(-2, 2),
    st.floats(-3, 3),
)
def test_a_line_has_the_slope_that_least_squares_gives(x, slope, intercept):
    x = np.array(x)
    noise = np.cos(np.arange(len(x)))
    log_y = slope * np.log10(x) + intercept + 0.1 * noise
    line = _structure.fitted_line(x, 10**log_y, power=True)
    expected = np.polyfit(np.log10(x), log_y, 1)
    if np.ptp(np.log10(x)) > 0.01:
        np.testing.assert_allclose([line.slope, line.intercept], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(line.at(x), 10 ** np.polyval(expected, np.log10(x)), rtol=1e-5)
    assert 0 <= line.r2 <= 1 + 1e-12 and line.n == len(x)


def test_points_without_a_logarithm_are_left_out():
    x, y = [1.0, 10, 100, 1000, 0, np.nan], [4.0, 2, 0, 1, 9, 9]
    assert _structure.fitted_line(x, y, power=True).n == 3
    assert _structure.fitted_line(x, y, power=False).n == 4
    lone = _structure.fitted_line([5.0], [1.0], power=True)
    assert (lone.r2, lone.p, lone.n) == (0.0, 1.0, 1) and np.isnan(lone.slope)
    assert np.isnan(_structure.fitted_line([5.0, 5.0], [1.0, 2.0], power=True).slope)


def test_the_experiment_is_fitted_up_to_the_least_loss():
    runs, seen = measured()
    _, table = drawn(runs, seen)
    of_runs = table[table["kind"] == "run"]
    assert of_runs["in_regime"].tolist() == [True] * 7 + [False] * 5
    least = of_runs["final_test_loss"].min()
    kept = of_runs[of_runs["in_regime"]]
    np.testing.assert_allclose(kept["reducible_loss"], kept["final_test_loss"] - least)
    assert kept["reducible_loss"].iloc[-1] == 0
    tse = kept["final_htse"] - kept["final_htse"].min()
    sie = kept["final_hsie"] - kept["final_hsie"].min()
    np.testing.assert_allclose(kept["L_ideal_reducible"], np.sqrt(0.5 * tse**2 + 0.5 * sie**2))
    lines = table[table["kind"] != "run"].set_index("kind")
    assert lines.loc["line compression", "slope"] == pytest.approx(1, abs=1e-9)
    assert lines.loc["line performance", "n"] == 6  # the least loss has no logarithm
    slope = np.polyfit(
        np.log10(kept["num_params_N"][:-1]), np.log10(kept["reducible_loss"][:-1]), 1
    )
    assert lines.loc["line performance", "slope"] == pytest.approx(slope[0])
    slope = np.polyfit(np.log10(kept["L_ideal_reducible"][1:-1]),
                       np.log10(kept["reducible_loss"][1:-1]), 1)  # fmt: skip
    assert lines.loc["line core", "slope"] == pytest.approx(slope[0])


def test_the_weights_of_the_cost_are_the_users():
    runs, seen = measured()
    _, table = drawn(runs, seen, w1=0.0, w2=4.0)
    kept = table[table["in_regime"] == True]  # noqa: E712
    sie = kept["final_hsie"] - kept["final_hsie"].min()
    np.testing.assert_allclose(kept["L_ideal_reducible"].astype(float), 2 * sie)


def test_the_least_loss_as_offset_is_shown_beside_a_fitted_one():
    runs, seen = measured(rise=11)
    fit = fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0)
    texts, table = drawn(runs, seen, {"by_size": fit})
    # the truth is 0.6; subtracting the least loss itself makes the line far steeper
    assert "by_size, L∞ fitted: −0.6" in texts
    slope = table.set_index("kind").loc["line performance", "slope"]
    assert slope < -0.8
    with pytest.raises(IsolossError, match="logarithm has no exponent alpha"):
        drawn(runs, seen, {"x": fit_law(runs, "logarithm", {"variable": "N"}, bootstrap=0)})


def test_one_seed_has_no_error_bar_and_several_have():
    texts, _ = drawn(*measured())
    assert texts.count("one seed: nothing says how far it is off") == 4
    runs, seen = measured(range(40, 45), noise=0.004)
    texts, table = drawn(runs, seen, seed=42)
    assert "5 seeds: exponent" in texts and "5 seeds: a 1 ± " in texts
    assert "regime chosen by the other seeds" in texts
    assert set(table.loc[table["kind"] == "run", "seed"]) == set(range(40, 45))
    slopes = []
    for seed in range(40, 45):
        one = runs[runs["seed"] == seed]
        _, alone = drawn(one, seen[seen["run_id"].isin(one["run_id"])])
        slopes.append(alone.set_index("kind").loc["line performance", "slope"])
    shown = f"5 seeds: exponent {np.mean(slopes):.3g} ± {np.std(slopes, ddof=1):.2g} (sd)"
    assert shown.replace("-", "−") in texts


def test_a_regime_chosen_by_the_other_seeds_does_not_look_at_its_own_loss():
    runs, seen = measured((1, 2, 3))
    wide = seen.pivot(index="run_id", columns="quantity", values="value").reset_index()
    table = runs.merge(wide, on="run_id").rename(columns={"n_params": "x"})
    lucky = (table["seed"] == 1) & (table["x"] == SIZES[2])
    table.loc[lucky, "loss"] = 0.1  # its least loss is a stroke of luck at the third size
    seeds = _structure.by_seed(table)
    own = _structure.seeds_apart(seeds, 0.5, 0.5)
    others = _structure.regimes_of_others(seeds, 0.5, 0.5)
    assert [len(e.table) for e in own] == [3, 7, 7]
    assert len(others[0].table) == 7
    assert _structure.regimes_of_others({1: seeds[1]}, 0.5, 0.5) == []


def test_two_runs_are_too_few_for_a_line():
    runs, seen = measured((1, 2))
    few = runs["run_id"].isin(["s1-0", "s1-1", "s2-0", "s2-1"])
    texts, _ = drawn(runs[few], seen[seen["run_id"].isin(runs.loc[few, "run_id"])])
    assert texts.count("seed 1: 1 runs are too few for a line") == 2
    assert "seed 1: 2 runs are too few for a line" in texts
    assert "0 of 2 seeds have a line" in texts
    assert "nan" not in texts


def test_data_are_a_size_too():
    texts, table = drawn(*measured(), variable="U")
    assert "Distinct training data U (images)" in texts
    assert "dataset_size_D" in table and "num_params_N" not in table


def test_a_seed_that_was_not_run_and_entropies_that_were_not_measured_are_told():
    runs, seen = measured()
    options = registry.defaults("figure", "structural_scaling")
    (problem,) = structural_scaling.problems(options | {"seed": 7}, runs)
    assert str(problem) == "seed: no run has 7; one of 42"
    (problem,) = structural_scaling.problems(options | {"w1": 0, "w2": 0}, runs)
    assert "both weights are 0" in str(problem)
    assert structural_scaling.problems(options, runs) == []
    with pytest.raises(IsolossError, match="no run has h_tse and h_sie of the part 'all'"):
        drawn(runs, seen, part="all")
    with pytest.raises(IsolossError, match="no run of 7 was observed"):
        drawn(runs, seen, seed=7)
