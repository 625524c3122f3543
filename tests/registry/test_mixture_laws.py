"""One contract over every law card of mixtures."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fit.mixture import mixtures
from isoloss.fitted import load_fit, quantiles
from isoloss.fitted.export import export_fit
from isoloss.laws import mixture_power
from isoloss.laws._law import Estimate, stacked
from isoloss.laws._make import made_law

NAMES = [n for n in registry.names("law") if registry.of_mixtures(n)]
DOMAINS = ("p_web", "p_code", "p_books", "p_talk")
every_card = pytest.mark.parametrize("name", NAMES)
FIXED = {"exponential_mixing": {"t_web": -1.0}}  # what no data can tell
OPTIMISED = ["exponential_mixing"]
ESTIMATING = pytest.mark.parametrize("name", [n for n in NAMES if n not in OPTIMISED])


def law(name: str, own: str | None = "p_web", domains=DOMAINS):
    made = registry.card("law", name).make(domains=list(domains))
    return made.for_response(own.replace("p_", "loss_") if own else "loss_all")


def loss_of(made, estimate: Estimate, data) -> np.ndarray:
    return made.given(estimate.state).loss(estimate.theta, data)


def posterior_sd_of(made, estimate: Estimate, data, noise: bool = False) -> np.ndarray:
    return made.given(estimate.state).posterior_sd(estimate.theta, data, noise)


def shares(n: int, seed: int = 0, zeros: bool = True) -> np.ndarray:
    """Mixtures, about a quarter of their proportions zero."""
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet(np.ones(len(DOMAINS)), n)
    if zeros:
        drawn *= rng.random(drawn.shape) > 0.25
        drawn[drawn.sum(axis=1) == 0] = 1.0
    return drawn / drawn.sum(axis=1, keepdims=True)


def data_of(p: np.ndarray, domains=DOMAINS) -> dict[str, np.ndarray]:
    return dict(zip(domains, np.moveaxis(p, -1, 0), strict=True))


def losses(p: np.ndarray, noise: float = 0.003, seed: int = 1) -> np.ndarray:
    """Of a domain that learns most from the web, something from books."""
    value = 2.0 + 0.3 * (p @ [1.0, 0.01, 0.1, 0.03]) ** -0.4 + 0.1 * p[:, 1]
    return value + noise * np.random.default_rng(seed).standard_normal(len(p))


@pytest.fixture
def table(make_runs):
    """A maker of a `runs` table of mixtures."""

    def make(n=24, seed=0, **columns):
        p = shares(n, seed)
        own = {"loss_web": losses(p), "loss_all": losses(p[:, ::-1])}
        return make_runs(np.ones(n), np.ones(n), np.nan, **data_of(p), **own, **columns)

    return make


def fitted(name: str, runs, **settings):
    fixed = FIXED.get(name, {})
    return fit_law(runs, name, fixed=fixed, **{"bootstrap": 0, **settings})


# What a card says


@every_card
def test_a_mixture_law_says_where_it_is_from_and_where_it_holds(name):
    facts = registry.facts("law", name)
    for constant in ("TITLE", "FORMULA", "LATEX", "SOURCE", "DOMAIN", "KIND", "OPTIONS", "PRESETS"):
        assert constant in facts, constant
    assert law(name).kind == facts["KIND"] == "mixture" and not law(name).allocates
    assert re.search(r"arXiv:|\b(19|20)\d\d\b", facts["SOURCE"])
    assert facts["LATEX"].count("{") == facts["LATEX"].count("}")
    for preset in facts["PRESETS"].values():
        assert "arXiv:" in preset["source"] and all(np.isfinite(list(preset["values"].values())))


@every_card
@pytest.mark.parametrize("own", ["p_web", None])
def test_terms_are_told_apart_and_their_starts_lie_inside_their_bounds(name, own):
    made = law(name, own)
    assert made.variables == DOMAINS and made.proportions
    for labels in ([t.name for t in made.terms], [t.symbol for t in made.terms]):
        assert len(set(labels)) == len(labels)
    for term in made.terms:
        assert term.unit
        assert all(term.low < start < term.high for start in term.starts)
    assert 1 <= len(made.starts()) <= 200
    assert bool(made.recipe) == (name not in OPTIMISED)
    assert made.least <= 3 if made.recipe else made.least == len(made.terms)


# Values and derivatives


def estimate_of(name: str, seed: int = 0) -> Estimate:
    made, p = law(name), shares(24, seed)
    if made.recipe:
        return made.estimate(data_of(p), losses(p, seed=seed + 1), np.ones(24))
    rng = np.random.default_rng(seed)
    return Estimate(np.concatenate([[0.8, -1.0], rng.normal(0, 2, len(DOMAINS))]))


@every_card
def test_leading_dimensions_are_kept_and_runs_may_differ_between_thetas(name):
    made = law(name)
    single = [[estimate_of(name, i + 3 * j) for i in range(3)] for j in range(2)]
    flat = stacked([one for row in single for one in row], len(made.terms))
    theta = flat.theta.reshape(2, 3, -1)
    many = made.given(None if flat.state is None else flat.state.reshape(2, 3))
    near = data_of(shares(9, 5))
    own = {k: np.stack([v, v[::-1], np.roll(v, 1)]) for k, v in near.items()}
    count = len(made.terms)
    for data, alone in ((near, lambda j: near), (own, lambda j: {k: v[j] for k, v in own.items()})):
        assert many.loss(theta, data).shape == (2, 3, 9)
        assert many.gradient(theta, data).shape == (2, 3, 9, count)
        for i in range(2):
            for j in range(3):
                one = made.given(single[i][j].state)
                for function, other in (
                    (many.loss, one.loss),
                    (many.gradient, one.gradient),
                    (many.posterior_sd, one.posterior_sd),
                ):
                    expected = other(single[i][j].theta, alone(j))
                    np.testing.assert_allclose(function(theta, data)[i, j], expected, rtol=1e-12)


@every_card
def test_the_gradient_of_a_law_is_that_of_its_loss(name):
    estimate, data = estimate_of(name), data_of(shares(24, 7, zeros=False))
    made, theta = law(name).given(estimate.state), estimate.theta
    gradient = made.gradient(theta, data)
    for i in range(len(made.terms)):
        step = np.zeros(len(theta))
        step[i] = 1e-5
        expected = (made.loss(theta + step, data) - made.loss(theta - step, data)) / 2e-5
        np.testing.assert_allclose(gradient[:, i], expected, rtol=1e-5, atol=1e-8)


@every_card
def test_an_equal_law_is_the_same_law(name):
    assert law(name) == law(name)
    assert law(name) != law(name, domains=DOMAINS[:3])


@every_card
def test_a_law_of_mixtures_has_a_law_for_each_response(name):
    made = made_law(name, registry.defaults("law", name), DOMAINS)
    assert made.for_response("loss_all") == made
    assert made.for_response("loss_web").for_response("loss_all") == made
    own, other = made.for_response("loss_web"), made.for_response("loss_code")
    assert (own == other) == (name not in ("mixture_power", "transfer_power"))
    assert own.terms == other.terms and own.variables == DOMAINS


@every_card
def test_an_estimate_comes_back_from_the_numbers_of_a_table(name):
    made = law(name)
    single = [estimate_of(name, seed) for seed in range(3)]
    several = stacked(single, len(made.terms))
    numbers = made.to_numbers(several)
    again, data = made.from_numbers(numbers), data_of(shares(9, 5))
    np.testing.assert_array_equal(made.to_numbers(again), numbers)
    expected = [loss_of(made, one, data) for one in single]
    np.testing.assert_array_equal(loss_of(made, again, data), expected)
    np.testing.assert_array_equal(made.to_numbers(single[0]), numbers[0])
    np.testing.assert_array_equal(made.to_numbers(again[1]), numbers[1])
    assert numbers.shape[-1] > len(made.terms) if name == "mixture_power" else again.state is None


def test_a_law_with_a_state_says_so_where_it_is_not_given_one():
    with pytest.raises(IsolossError, match="needs the state of an estimate"):
        law("mixture_power").loss(estimate_of("mixture_power").theta, data_of(shares(3)))


# Recipes


@ESTIMATING
@pytest.mark.parametrize("own", ["p_web", None])
@pytest.mark.parametrize("n", [3, 4, 7, 15, 26, 40, 61])
def test_an_estimate_is_finite_with_few_runs_zeros_and_losses_all_alike(name, own, n):
    made, p = law(name, own), shares(n)
    for loss in (losses(p), np.full(n, 2.5), np.where(np.arange(n) < 1, 3.0, 2.5)):
        estimate = made.estimate(data_of(p), loss, np.ones(n))
        assert np.isfinite(made.to_numbers(estimate)).all()
        predicted = loss_of(made, estimate, data_of(shares(30, 8)))
        assert predicted.shape == (30,) and np.isfinite(predicted).all()
        if np.ptp(loss) == 0 and name != "log_linear":  # a ridge shrinks exponents, not to zero
            np.testing.assert_allclose(predicted, 2.5, rtol=1e-4)
    pure = made.estimate(data_of(np.eye(len(DOMAINS))), losses(np.eye(len(DOMAINS))), np.ones(4))
    assert np.isfinite(loss_of(made, pure, data_of(p))).all()


@ESTIMATING
def test_the_same_mixture_again_and_again_is_no_trouble(name):
    made, p = law(name), np.repeat(shares(5), 5, axis=0)
    for noise in (0.0, 0.01):
        estimate = made.estimate(data_of(p), losses(p, noise), np.ones(25))
        assert np.isfinite(loss_of(made, estimate, data_of(p))).all()
    one = np.repeat(shares(1), 6, axis=0)
    estimate = made.estimate(data_of(one), losses(one, 0.01), np.ones(6))
    assert np.isfinite(loss_of(made, estimate, data_of(p))).all()


@ESTIMATING
@pytest.mark.parametrize("n", [20, 70])
def test_a_run_of_no_weight_does_not_enter(name, n):
    made, p = law(name), shares(n)
    rng = np.random.default_rng(3)
    weight = rng.permutation(np.where(np.arange(n) < n // 3, 0.0, rng.integers(1, 3, n)))
    loss, out = losses(p), weight == 0
    estimate = made.estimate(data_of(p), loss, weight)
    numbers = made.to_numbers(estimate)
    assert np.isfinite(numbers).all()
    assert len(numbers) == len(made.to_numbers(made.estimate(data_of(p), loss, np.ones(n))))
    shuffled = p.copy()
    shuffled[out] = p[out][::-1]
    again = made.estimate(data_of(shuffled), np.where(out, 99.0, loss), weight)
    np.testing.assert_array_equal(made.to_numbers(again), numbers)
    if name == "mixture_power" and n >= mixture_power.HYPERPARAMETERS.many:
        return  # how many runs there are, with weight or without, decides on its members
    alone = made.estimate(data_of(p[~out]), loss[~out], weight[~out])
    there = data_of(shares(30, 8))
    expected = loss_of(made, estimate, there)
    np.testing.assert_allclose(loss_of(made, alone, there), expected, rtol=1e-6)
    none = made.to_numbers(made.estimate(data_of(p), loss, np.zeros(n)))
    assert np.isnan(none[: len(made.terms)]).all()
    assert np.isnan(loss_of(made, made.estimate(data_of(p), loss, np.zeros(n)), there)).all()


@ESTIMATING
def test_weights_count_relative_to_each_other_where_noise_is_estimated(name):
    made, p = law(name), shares(20)
    loss, there = losses(p), data_of(shares(30, 8))
    estimate = made.estimate(data_of(p), loss, np.ones(20))
    many = made.estimate(data_of(p), loss, np.full(20, 3.0))
    expected = loss_of(made, estimate, there)
    np.testing.assert_allclose(loss_of(made, many, there), expected, rtol=1e-3)


@ESTIMATING
@pytest.mark.parametrize("n", [24, 64])
def test_a_replicate_that_starts_from_the_estimate_is_near_one_that_does_not(name, n):
    made, p = law(name), shares(n)
    loss, there = losses(p), data_of(shares(30, 8, zeros=False))
    estimate = made.estimate(data_of(p), loss, np.ones(n))
    weight = np.random.default_rng(4).multinomial(n, np.full(n, 1 / n)).astype(float)
    (short,) = made.again(estimate, [(data_of(p), loss, weight)])
    whole = made.estimate(data_of(p), loss, weight)
    lengths = {len(made.to_numbers(one)) for one in (short, whole, estimate)}
    assert len(lengths) == 1
    expected = loss_of(made, whole, there)
    np.testing.assert_allclose(loss_of(made, short, there), expected, rtol=0.01)
    (same,) = made.again(estimate, [(data_of(p), np.full(n, 2.5), weight)])
    assert np.isfinite(loss_of(made, same, there)).all()


# Posterior standard deviations


def test_a_band_holds_about_what_it_promises():
    """The law, whose truth is known, and new runs with their noise."""
    made, noise, held = law("mixture_power"), 0.003, []
    for seed in range(40):
        p, there = shares(24, seed), shares(30, 1000 + seed)
        estimate = made.estimate(data_of(p), losses(p, noise, 500 + seed), np.ones(24))
        predicted = loss_of(made, estimate, data_of(there))
        error = predicted - losses(there, 0.0)
        run_error = predicted - losses(there, noise, 1000 + seed)
        sd, run_sd = (posterior_sd_of(made, estimate, data_of(there), n) for n in (False, True))
        assert (run_sd > sd).all()
        held.append([np.abs(error) < 1.96 * sd, np.abs(run_error) < 1.96 * run_sd])
    law_share, run_share = np.mean(held, axis=(0, 2))
    assert 0.92 < law_share < 0.99
    assert 0.92 < run_share < 0.99


@pytest.mark.parametrize("n", [24, 64])
def test_a_posterior_is_narrow_at_the_runs_and_wide_far_from_them(n):
    made, p = law("mixture_power"), shares(n) * [1, 1, 1, 0] + 1e-9
    p /= p.sum(axis=1, keepdims=True)
    estimate = made.estimate(data_of(p), losses(p), np.ones(n))
    near = posterior_sd_of(made, estimate, data_of(p))
    far = posterior_sd_of(made, estimate, data_of(np.eye(4)[3:]))
    assert (near > 0).all() and 3 * np.median(near) < far.item() < 10
    weight = np.ones(n)
    weight[: n // 3] = 0.0
    fewer = posterior_sd_of(made, made.estimate(data_of(p), losses(p), weight), data_of(p))
    assert fewer[: n // 3].mean() > near[: n // 3].mean()
    same = made.estimate(data_of(p), np.full(n, 2.5), np.ones(n))
    assert (posterior_sd_of(made, same, data_of(p)) < 1e-6).all()


def test_bands_are_those_of_the_posterior_with_replicates_or_without(table):
    there = data_of(shares(6, 8))
    for replicates in (0, 4):
        fit = fitted("mixture_power", table(), bootstrap=replicates, ci_level=0.9)
        predictions = fit.predict(**there)
        wide = 1.6449 * posterior_sd_of(fit.law_of("loss_web"), fit.estimate(), there)
        np.testing.assert_allclose(predictions["high"] - predictions["loss"], wide, rtol=1e-4)
        np.testing.assert_allclose(predictions["loss"] - predictions["low"], wide, rtol=1e-4)
        best = fit.best_mixture({"web": 1.0, "loss_all": 1.0}).iloc[0]
        assert best.loss_low < best.loss < best.loss_high
        assert np.isnan(best.proportion_low) == (replicates == 0)
    held = table(n=40).assign(n_flops=np.repeat([1e18, 1e20], [28, 12]))
    scores = fitted("mixture_power", held, holdout="largest_compute").scores
    assert (scores["run_coverage"] >= scores["coverage"]).all()
    assert scores["run_coverage"].mean() > 0.8


@pytest.mark.parametrize("name", [n for n in NAMES if n != "mixture_power"])
def test_a_law_without_a_posterior_has_bands_of_its_replicates(name, table):
    there, fit = data_of(shares(6, 8, zeros=False)), fitted(name, table(), bootstrap=4)
    made, thetas = fit.law_of(), fit.replicate_thetas()
    assert (made.posterior_sd(fit.theta(), there) == 0).all()
    expected = quantiles(made.loss(thetas, there), fit.level, fit.loss(**there))
    predictions = fit.predict(**there)
    np.testing.assert_array_equal([predictions["low"], predictions["high"]], expected)


# Fits


@every_card
@pytest.mark.parametrize("own", [True, False])
def test_the_order_of_domains_does_not_matter(name, own, table):
    runs = table()
    order = [c for c in runs if not c.startswith("p_")] + list(reversed(DOMAINS))
    response = "loss_web" if own else "loss_all"
    fits = [fitted(name, some) for some in (runs, runs[order])]
    assert fits[0].law.variables != fits[1].law.variables
    there = data_of(shares(30, 8))
    one, other = (fit.loss(response=response, **there) for fit in fits)
    np.testing.assert_allclose(one, other, rtol=1e-5)


@every_card
def test_runs_that_are_held_out_do_not_enter(name, table):
    runs = table(n=24).assign(n_flops=np.repeat([1e18, 1e20], [18, 6]))
    other = runs.copy()
    other.iloc[18:, other.columns.get_loc("loss_web")] = runs["loss_web"].to_numpy()[18:][::-1]
    other = other.iloc[[*range(18), *range(23, 17, -1)]].reset_index(drop=True)
    thetas = [fitted(name, some, holdout="largest_compute").theta() for some in (runs, other)]
    np.testing.assert_array_equal(*thetas)


@every_card
def test_a_fit_has_replicates_scores_and_a_best_mixture(name, table, tmp_path):
    runs = table()
    holdout = {"rule": "random", "repeats": 2}
    fit = fitted(name, runs, bootstrap=4, holdout=holdout)
    assert fit.responses == ["loss_web", "loss_all"] and fit.groups == ["all"]
    assert list(fit.summary["n_runs"]) == [24, 24]
    assert (fit.summary["n_replicates_converged"] == 4).all()
    assert len(fit.scores) == 4 and np.isfinite(fit.scores["rmse"]).all()
    best = fit.best_mixture({"web": 1.0, "loss_all": 1.0})
    assert list(best["domain"]) == [d.removeprefix("p_") for d in DOMAINS]
    assert best["proportion"].sum() == pytest.approx(1.0, abs=1e-6)
    chosen = {d: best["proportion"].to_numpy()[i] for i, d in enumerate(DOMAINS)}
    mean = sum(fit.loss(response=r, **chosen)[0] for r in fit.responses) / 2
    assert best.loc[0, "loss"] == pytest.approx(mean, abs=1e-6)
    every = data_of(shares(200, 9))
    within = fit.distance(every) == 1
    grid = sum(fit.loss(response=r, **every) for r in fit.responses) / 2
    if name != "log_linear":  # it falls without end towards some proportions of 0: no slope there
        assert mean <= grid[within].min() + 1e-4
    fit.save(tmp_path)
    again = load_fit(tmp_path)
    np.testing.assert_array_equal(again.loss(response="loss_all", **every),
                                  fit.loss(response="loss_all", **every))  # fmt: skip


@every_card
def test_the_fit_of_all_runs_answers_for_a_group_without_one(name, table):
    runs = table(n=30, group=np.repeat(["a", "b", "tiny"], [14, 15, 1]))
    fit = fitted(name, runs)
    assert set(fit.groups) == {"a", "b", "ALL"} | (
        {"tiny"} if fit.summary.n_runs.min() < 2 else set()
    )
    there = data_of(shares(5, 8))
    np.testing.assert_array_equal(fit.loss("nobody", **there), fit.loss("ALL", **there))
    assert (fit.loss("a", **there) != fit.loss("ALL", **there)).any()
    assert any("tiny" in left for left in fit.facts["not_fitted"])
    alone = fitted(name, table())
    np.testing.assert_array_equal(alone.loss("nobody", **there), alone.loss("all", **there))


@every_card
def test_a_proportion_that_is_missing_counts_0(name, table):
    runs = table()
    holes = runs.copy()
    for d in DOMAINS:
        holes[d] = holes[d].mask(holes[d] == 0)
    assert holes[list(DOMAINS)].isna().any(axis=None)
    fit = fitted(name, runs)
    np.testing.assert_array_equal(fitted(name, holes).theta(), fit.theta())
    half = {"p_web": np.array([0.5]), "p_code": np.array([0.5])}
    none = {"p_books": np.zeros(1), "p_talk": np.zeros(1)}
    np.testing.assert_array_equal(fit.loss(**half), fit.loss(**half, **none))


@every_card
def test_an_exported_mixture_law_predicts_what_the_fit_does(name, table, tmp_path):
    runs = table(n=30, group=np.repeat(["a", "b"], 15))
    fit = fitted(name, runs)
    export_fit(fit, tmp_path)
    p = shares(6, 8)
    points = [dict(zip(DOMAINS, map(float, row), strict=True)) for row in p]
    code = (
        "import json, sys; sys.modules['isoloss'] = None; from law import law;"
        "points = json.load(sys.stdin);"
        "print(json.dumps([law(points, group) for group in ('b', 'nobody')]))"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True,
                         input=json.dumps(points), capture_output=True, text=True)  # fmt: skip
    for group, answer in zip(("b", "ALL"), json.loads(run.stdout), strict=True):
        for response in fit.responses:
            expected = fit.loss(group, response, **data_of(p))
            np.testing.assert_allclose([a[response] for a in answer], expected, rtol=1e-9)


# The preparation of mixtures


def test_rounded_proportions_are_divided_by_their_sum_and_bad_ones_dropped(table):
    runs = table(n=8)
    exact = runs[list(DOMAINS)].to_numpy()
    runs.loc[0, list(DOMAINS)] = exact[0] * 1.03
    runs.loc[1, list(DOMAINS)] = exact[1] * 100
    runs.loc[2, "p_web"] = -0.1
    runs.loc[3, "p_code"] = np.inf
    runs.loc[4, list(DOMAINS)] = np.nan
    cleaned = mixtures(runs, "here")
    assert list(cleaned["status"]) == ["done", "done", *["dropped"] * 3, *["done"] * 3]
    assert cleaned.loc[2, "status_reason"] == "a proportion is negative or no finite number"
    assert cleaned.loc[4, "status_reason"] == "no proportion is above 0"
    shown = cleaned[list(DOMAINS)].to_numpy()
    np.testing.assert_allclose(shown[[0, 5, 6, 7]], exact[[0, 5, 6, 7]], rtol=1e-12)
    np.testing.assert_allclose(shown[1], 100 * exact[1])
    fit = fit_law(runs, "linear_mixture", bootstrap=0)
    assert list(fit.summary["n_dropped"]) == [3, 3] and list(fit.summary["n_runs"]) == [5, 5]
    words = table(n=8)
    words["p_web"] = words["p_web"].astype(object)
    words.loc[2, "p_web"] = "half"
    assert list(mixtures(words, "here")["status"]).count("dropped") == 1


def test_a_loss_that_few_runs_have_is_not_fitted_and_told(table):
    runs = table(n=12)
    runs["loss_rare"] = np.where(np.arange(12) < 5, 2.0, np.nan)
    runs["loss_text"] = "x"
    fit = fit_law(runs, "linear_mixture", bootstrap=0)
    assert fit.responses == ["loss_web", "loss_all"]
    assert fit.facts["not_fitted"] == [
        "loss_rare of group all: 5 of 12 runs have it",
        "loss_text of group all: 0 runs have it, the law needs 2",
    ]
    runs["loss_all"] = runs["loss_all"].astype(object)
    runs.loc[0, "loss_all"] = "lost"
    some = fit_law(runs, "linear_mixture", bootstrap=0).summary.set_index("response")
    assert some.loc["loss_all", "n_runs"] == 11 and some.loc["loss_all", "n_dropped"] == 1


def test_a_table_without_proportions_or_losses_is_told(table):
    runs = table(n=8)
    with pytest.raises(IsolossError, match="no column of proportions"):
        fit_law(runs.drop(columns=list(DOMAINS)), "linear_mixture", bootstrap=0)
    with pytest.raises(IsolossError, match="no column of losses"):
        fit_law(runs.drop(columns=["loss_web", "loss_all"]), "linear_mixture", bootstrap=0)


# The best mixture as a table


@every_card
def test_the_best_mixture_for_some_weights_is_a_table_of_the_fit(name, table, tmp_path):
    runs = table(n=30)
    runs["group"] = np.repeat(["a", "b"], 15)
    fit = fitted(name, runs, bootstrap=3)
    assert fit.tables["best_mixture"].empty
    weighted = fit.with_best_mixtures({"web": 3.0, "loss_all": 1.0})
    weighted.save(tmp_path)
    again = load_fit(tmp_path)
    assert again.facts["domain_weights"] == {"loss_web": 3.0, "loss_all": 1.0}
    best = again.tables["best_mixture"]
    assert list(dict.fromkeys(best["group"])) == fit.groups == ["a", "b", "ALL"]
    for group, rows in best.groupby("group"):
        expected = fit.best_mixture({"web": 3.0, "all": 1.0}, group)
        np.testing.assert_array_equal(rows["proportion"], expected["proportion"])
        there = dict(zip("p_" + rows["domain"], rows["proportion"], strict=True))
        loss = fit.weighted_loss({"web": 3.0, "all": 1.0}, group, **there)
        parts = [fit.loss(group, f"loss_{d}", **there) for d in ("web", "all")]
        assert loss["loss"].item() == pytest.approx((3 * parts[0] + parts[1]).item() / 4)
        assert rows["loss"].iloc[0] == pytest.approx(loss["loss"].item(), abs=1e-9)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"wep": 1.0}, "domain weight loss_wep: no such loss; did you mean 'loss_web'"),
        ({"web": 0.0}, "domain_weights: no weight is above 0"),
    ],
)
def test_weights_of_losses_that_say_nothing_are_told(weights, message, table):
    with pytest.raises(IsolossError, match=message):
        fitted("linear_mixture", table()).with_best_mixtures(weights)


def test_the_interval_of_a_weighted_loss_of_one_domain_is_that_of_its_prediction(table):
    there = data_of(shares(5, 8))
    for name in ("mixture_power", "linear_mixture"):
        fit = fitted(name, table(), bootstrap=6)
        weighted = fit.weighted_loss({"web": 2.0}, **there)
        alone = fit.predict(response="loss_web", **there)
        for column in ("loss", "low", "high"):
            np.testing.assert_allclose(weighted[column], alone[column], rtol=1e-9)
