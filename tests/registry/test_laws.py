"""One contract over every law card, with every choice of its options; mixture laws have theirs."""

from __future__ import annotations

import itertools
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_laws import of_sizes

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.fitted import bibliography
from isoloss.laws._make import made_law

VARIABLES = "NDCU"
NAMES = of_sizes()
ANY_SIGN = {"logarithm"}


def choices(spec: dict) -> list:
    return spec.get("enum", [True, False] if spec["type"] == "boolean" else [spec["default"]])


def laws() -> list:
    every = []
    for name in NAMES:
        options = registry.options("law", name)
        for chosen in itertools.product(*map(choices, options.values())):
            made = registry.card("law", name).make(**dict(zip(options, chosen, strict=True)))
            every.append(pytest.param(name, made, id=" ".join([name, *map(str, chosen)])))
    return every


def mixture_laws() -> list:
    every = []
    for name in filter(registry.of_mixtures, registry.names("law")):
        made = made_law(name, registry.defaults("law", name), ["p_web", "p_code", "p_books"])
        every.append(pytest.param(name, made.for_response("loss_web"), id=name))
    return every


LAWS = laws()
every_law = pytest.mark.parametrize(("name", "law"), LAWS)
every_law_of_any_kind = pytest.mark.parametrize(("name", "law"), [*LAWS, *mixture_laws()])
every_card = pytest.mark.parametrize("name", NAMES)
ALLOCATING = pytest.mark.parametrize(("name", "law"), [p for p in LAWS if p.values[1].allocates])
ESTIMATING = pytest.mark.parametrize(("name", "law"), [p for p in LAWS if p.values[1].recipe])


def points(n: int, decades: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Runs in their own scale, no two alike, as far from 1 as told."""
    logs = np.random.default_rng(seed).uniform(-decades, decades, (len(VARIABLES), n))
    logs[:, :2] = [[-decades, decades]] * len(VARIABLES)  # the ends are among them
    return dict(zip(VARIABLES, 10**logs, strict=True))


WIDE, NEAR = points(24, 4.0), points(24, 1.0)


def thetas(law, share: float = 1.0):
    """Any coordinates inside the bounds; within a share of them around the starts."""

    def within(term):
        ends = (term.starts[0], term.low), (term.starts[-1], term.high)
        low, high = (start + share * (end - start) for start, end in ends)
        return st.floats(low, high)

    return st.tuples(*map(within, law.terms)).map(np.array)


def some_thetas(law, *shape: int) -> np.ndarray:
    """Coordinates close to the starts, (*shape, p)."""
    draw = np.random.default_rng(1).random((*shape, len(law.terms)))
    low = np.array([t.starts[0] + 0.02 * (max(t.low, -20) - t.starts[0]) for t in law.terms])
    high = np.array([t.starts[-1] + 0.02 * (min(t.high, 20) - t.starts[-1]) for t in law.terms])
    return low + (high - low) * draw


def differences(function, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of function(theta) by the terms, last, and how far they can be trusted."""

    def central(step):
        return np.stack(
            [(function(theta + step * u) - function(theta - step * u)) / (2 * step)
             for u in np.eye(len(theta))],
            axis=-1,
        )  # fmt: skip

    coarse, fine = central(2e-5), central(1e-5)
    value = np.abs(function(theta))[..., None]
    # the exponential of a large number has lost as many digits as the number has before its point
    rounding = 1e-9 * value * (1 + np.abs(np.log(np.maximum(value, 1e-300))) / 50)
    return (4 * fine - coarse) / 3, 2 * np.abs(fine - coarse) + rounding


# Parameters in their units and coordinates


@every_law_of_any_kind
@given(draws=st.data())
@settings(max_examples=25)
def test_coordinates_and_values_are_each_others_inverse(name, law, draws):
    theta = draws.draw(thetas(law))
    values = law.values(theta)
    assert list(values) == [term.name for term in law.terms]
    assert all(v > 0 for t, v in zip(law.terms, values.values(), strict=True) if t.log)
    np.testing.assert_allclose(law.theta(values), theta, rtol=1e-12, atol=1e-12)
    backwards = dict(reversed(list(values.items())))
    again = law.values(law.theta(backwards))
    np.testing.assert_allclose(list(again.values()), list(values.values()), rtol=1e-9)


@every_law_of_any_kind
def test_coordinates_and_values_may_be_many(name, law):
    theta = some_thetas(law, 2, 4)
    values = law.values(theta)
    assert all(value.shape == (2, 4) for value in values.values())
    np.testing.assert_allclose(law.theta(values), theta, rtol=1e-12, atol=1e-12)
    one = law.values(theta[1, 2])
    assert [v[1, 2] for v in values.values()] == list(one.values())
    assert all(type(value) is float for value in one.values())


@every_law_of_any_kind
def test_values_that_are_not_those_of_a_law_are_told_all_at_once(name, law):
    first, *others = law.terms
    values = {term.name: 0.5 for term in others} | {"Q": 1.0}
    with pytest.raises(IsolossError) as told:
        law.theta(values)
    assert {p.place for p in told.value.problems} == {"parameter Q", f"parameter {first.name}"}
    with pytest.raises(IsolossError, match="found an array of shape"):
        law.values(np.zeros(len(law.terms) + 1))
    for bad in (np.nan, np.inf, *([0.0, -1.0] if first.log else [])):
        with pytest.raises(IsolossError, match=f"parameter {first.name}: found"):
            law.theta({term.name: 0.5 for term in law.terms} | {first.name: bad})


# What a card says


def latex(symbol: str) -> str:
    """R_D* -> R_D^*, α_N -> \\alpha_N."""
    named = [
        f"\\{unicodedata.name(c).split()[-1].lower()}" if "GREEK" in unicodedata.name(c) else c
        for c in symbol
    ]
    return "".join(named).replace("*", "^*")


@every_card
def test_a_law_says_where_it_is_from_and_where_it_holds(name):
    facts = registry.facts("law", name)
    for constant in ("TITLE", "FORMULA", "LATEX", "SOURCE", "DOMAIN", "KIND", "OPTIONS", "PRESETS"):
        assert constant in facts, constant
    assert "arXiv:" in facts["SOURCE"] or name == "logarithm"  # older than papers
    assert facts["LATEX"].count("{") == facts["LATEX"].count("}")


@pytest.mark.parametrize("name", registry.names("law"))
def test_the_bibtex_of_a_law_is_that_of_its_source_and_of_its_presets(name):
    facts = registry.facts("law", name)
    assert "BIBTEX" in facts, "give the card a BIBTEX, or an empty one for a law without a paper"
    known = bibliography.entries(facts["BIBTEX"])
    presets = [preset["source"] for preset in facts["PRESETS"].values()]
    of_source = bibliography.arxiv_ids(facts["SOURCE"])
    named = {*of_source, *(one for text in presets for one in bibliography.arxiv_ids(text))}
    ids = [bibliography.eprint(entry) for entry in known.values()]
    assert {one for one in ids if one} == named - (set() if ids else set(of_source))
    for key, entry in known.items():
        year = re.search(r"year = \{(\d{4})\}", entry)[1]
        assert key.startswith(re.search(r"author = \{(\w+),", entry)[1].lower() + year)
        assert year[2:] == bibliography.eprint(entry)[:2] or not bibliography.eprint(entry)
        assert "title = {" in entry
    # a law without an entry of its own is the project's, or older than papers
    assert bibliography.of_law(name) or name == "logarithm" or "this project" in facts["SOURCE"]


def test_two_cards_that_cite_a_paper_write_the_same_entry():
    written: dict[str, str] = {}
    for name in registry.names("law"):
        for key, entry in bibliography.entries(registry.facts("law", name)["BIBTEX"]).items():
            assert written.setdefault(key, entry) == entry, (name, key)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("@misc{a,\n  title = {x},\n", "does not end"),
        ("@misc{a,\n  title = {{x},\n}\n", "not a line of a BibTeX entry"),
        ("@misc{a,\n}\n@misc{a,\n}\n", "appears twice"),
        ("title = {x},\n", "not a line"),
    ],
)
def test_bibtex_that_is_not_whole_is_told(text, told):
    with pytest.raises(ValueError, match=told):
        bibliography.entries(text)


def test_a_card_whose_bibtex_is_not_whole_is_told_by_its_name(monkeypatch):
    facts = {"SOURCE": "me", "BIBTEX": "@misc{me2026,\n  title = {x}\n}\n"}
    monkeypatch.setattr(registry, "facts", lambda kind, name: facts)
    with pytest.raises(IsolossError, match=r"law card mine, BIBTEX: not a line .* a field a line"):
        bibliography.of_law("mine")
    del facts["BIBTEX"]
    assert bibliography.of_law("mine") == {}


@every_law
def test_a_law_is_of_the_kind_that_its_card_says(name, law):
    assert law.kind == registry.facts("law", name)["KIND"]
    several = {"joint": True, "curve": False, "frontier": True}
    assert (len(law.variables) > 1) == several[law.kind]


@every_law
def test_a_law_that_does_not_divide_a_budget_says_so(name, law):
    theta = np.array([term.starts[0] for term in law.terms])
    if law.allocates:
        assert all(np.shape(quantity) == () for quantity in law.allocate(theta, 1e20))
    else:
        with pytest.raises(IsolossError, match="best N and D of a budget"):
            law.allocate(theta, 1e20)


def test_a_card_that_does_not_say_its_kind_is_told(monkeypatch):
    monkeypatch.setattr(registry, "facts", lambda kind, name: {"TITLE": "x"})
    with pytest.raises(IsolossError, match="law card mine, KIND: found None; give the card one of"):
        registry.of_mixtures("mine")


@every_law
def test_terms_are_told_apart_and_their_starts_lie_inside_their_bounds(name, law):
    shown = re.sub(r"_\{(\w)\}", r"_\1", registry.facts("law", name)["LATEX"])
    assert law.variables and set(law.variables) <= set(VARIABLES)
    for labels in ([term.name for term in law.terms], [term.symbol for term in law.terms]):
        assert len(set(labels)) == len(labels)
    for i, term in enumerate(law.terms):
        assert law.index(term.name) == i
        assert term.starts == tuple(sorted(set(term.starts)))
        assert all(term.low < start < term.high for start in term.starts)
        for start in term.starts:
            assert term.coordinate(term.value(start)) == pytest.approx(start, abs=1e-12)
        assert term.unit
        assert term.symbol in law.formula or term.name in law.formula
        assert latex(term.symbol) in shown
    starts = law.starts()
    assert starts.shape == (np.prod([len(t.starts) for t in law.terms]), len(law.terms))
    assert 1 <= len(starts) <= 200


@every_law
def test_presets_name_every_term_and_predict_losses_of_language_models(name, law):
    data = {k: np.array([v]) for k, v in {"N": 1e9, "D": 2e10, "C": 1.2e20, "U": 1e10}.items()}
    for preset in registry.facts("law", name)["PRESETS"].values():
        assert "arXiv:" in preset["source"] and preset["of"]
        assert set(preset["ranges"]) == set(law.variables)  # of a law that divides budgets, too
        assert all(0 < low < high for low, high in preset["ranges"].values())
        assert {term.name for term in law.terms} <= set(preset["values"])
        theta = np.array([t.coordinate(preset["values"][t.name]) for t in law.terms])
        for term, coordinate in zip(law.terms, theta, strict=True):
            assert term.log or term.low < coordinate < term.high
        assert 1.5 < law.loss(theta, data)[0] < 5


# Values and derivatives


@every_law
@settings(max_examples=100)
@given(data=st.data())
def test_a_law_is_finite_and_positive_anywhere_in_its_bounds(name, law, data):
    theta = data.draw(thetas(law))
    loss, gradient = law.loss(theta, WIDE), law.gradient(theta, WIDE)
    assert loss.shape == (24,) and gradient.shape == (24, len(law.terms))
    assert np.isfinite(loss).all() and np.isfinite(gradient).all()
    offset = next((t for t in law.terms if t.name == "E"), None)
    assert name in ANY_SIGN or (offset and not offset.log) or (loss > 0).all()


@every_law
@settings(max_examples=100)
@given(data=st.data())
def test_the_gradient_of_a_law_is_that_of_its_loss(name, law, data):
    theta = data.draw(thetas(law, share=0.9))
    expected, error = differences(lambda at: law.loss(at, WIDE), theta)
    gradient = law.gradient(theta, WIDE)
    assert (np.abs(gradient - expected) <= error + 1e-6 * np.abs(gradient)).all()


@every_law
def test_a_loss_is_a_straight_line_in_its_amplitudes(name, law):
    for theta in some_thetas(law, 5):
        loss = law.loss(theta, NEAR)
        for term in (t for t in law.terms if t.amplitude):
            moved = [theta.copy() for _ in range(2)]
            for at, factor in zip(moved, (0.5, 1.5), strict=True):
                at[law.index(term.name)] += np.log(factor)
            middle = np.mean([law.loss(at, NEAR) for at in moved], axis=0)
            np.testing.assert_allclose(middle, loss, rtol=1e-10)


@every_law
def test_leading_dimensions_are_kept_and_runs_may_differ_between_thetas(name, law):
    theta, p = some_thetas(law, 2, 3), len(law.terms)
    own = {k: np.stack([v, v[::-1], v * 1.7]) for k, v in NEAR.items()}
    assert law.loss(theta, NEAR).shape == law.loss(theta, own).shape == (2, 3, 24)
    assert law.gradient(theta, NEAR).shape == law.gradient(theta, own).shape == (2, 3, 24, p)
    for i, j in itertools.product(range(2), range(3)):
        for data, alone in ((NEAR, NEAR), (own, {k: v[j] for k, v in own.items()})):
            for function in (law.loss, law.gradient):
                expected = function(theta[i, j], alone)
                np.testing.assert_allclose(function(theta, data)[i, j], expected, rtol=1e-12)


def shared(law) -> list[str]:
    """Exponents of several parts: `absolute` has the size of each part, not of their sum."""
    named = [name for part in getattr(law, "parts", ()) for name in part.exponents]
    return [name for name in named if named.count(name) > 1]


@every_law
def test_sums_over_runs_are_sums_of_derivatives(name, law):
    theta, rng = some_thetas(law, 5), np.random.default_rng(2)
    slope, curvature = rng.normal(size=(2, 5, 24))
    weight = rng.random((5, 24))
    bound = law.on(NEAR)
    loss, state = bound.at(theta)
    np.testing.assert_allclose(loss, law.loss(theta, NEAR), rtol=1e-12)
    assert bound.project(theta, np.ones(24), np.ones(24)).shape == theta.shape
    sums = bound.sums(state, slope, curvature, weight)
    for i in range(5):
        gradient = law.gradient(theta[i], NEAR)
        second, error = differences(lambda at: law.gradient(at, NEAR), theta[i])
        expected = {
            "gradient": slope[i] @ gradient,
            "hessian": np.einsum("n,np,nq->pq", curvature[i], gradient, gradient)
            + np.einsum("n,npq->pq", slope[i], second),
            "outer": np.einsum("n,np,nq->pq", weight[i], gradient, gradient),
        }
        size = np.abs(gradient).max(axis=0)
        absolute = np.abs(slope[i]) @ np.abs(gradient)
        own = ~np.isin([term.name for term in law.terms], shared(law))
        np.testing.assert_allclose(sums.absolute[i][own], absolute[own], rtol=1e-9)
        assert (sums.absolute[i] >= absolute * (1 - 1e-9)).all()
        for what, value in expected.items():
            atol = 1e-9 * size.max() ** (1 if value.ndim == 1 else 2)
            if what == "hessian":
                atol += 24 * error.max() + 1e-6 * np.abs(second).max()
            np.testing.assert_allclose(getattr(sums, what)[i], value, rtol=1e-6, atol=atol)


@every_law
@settings(max_examples=50)
@given(data=st.data())
def test_a_law_predicts_the_same_in_other_units(name, law, data):
    theta = data.draw(thetas(law, share=0.9))
    drawn = data.draw(st.lists(st.floats(-5, 5), min_size=5, max_size=5))
    log_scale, log_loss = dict(zip(VARIABLES, drawn, strict=False)), drawn[-1]
    log_scale, log_loss = law.scales(log_scale, log_loss)
    matrix, shift = law.rescaling(log_scale, log_loss)
    assert abs(np.linalg.slogdet(matrix)[1]) < 100
    other = {k: v / np.exp(log_scale[k]) for k, v in NEAR.items()}
    loss = law.loss(matrix @ theta + shift, other) * np.exp(log_loss)
    expected = law.loss(theta, NEAR)
    np.testing.assert_allclose(loss, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


# Allocation


@ALLOCATING
def test_an_allocation_spends_the_budget_and_no_neighbour_is_better(name, law):
    theta = some_thetas(law, 40)
    if name == "formula":  # whose exponents may be below 0, where no division is the best
        theta = np.where([term.log for term in law.terms], theta, np.maximum(theta, 0.03))
    for flops in (0.3, 6.0, 500.0):
        n, d = law.allocate(theta, flops)
        assert n.shape == d.shape == (40,)
        np.testing.assert_allclose(6 * n * d, flops, rtol=1e-12)
        np.testing.assert_allclose(law.allocate(theta[3], flops)[0], n[3], rtol=1e-12)
        if name == "envelope":
            continue  # its loss is that of the best N already
        least = law.loss(theta, on_isoflop(n[:, None], flops))
        for factor in (0.5, 0.99, 1.01, 2.0):
            beside = law.loss(theta, on_isoflop(n[:, None] * factor, flops))
            assert (beside >= least * (1 - 1e-12)).all()
            assert (beside > least)[np.isfinite(np.log(n))].mean() > 0.9


def on_isoflop(n: np.ndarray, flops: float) -> dict[str, np.ndarray]:
    return {"N": n, "D": flops / 6 / n, "C": np.full_like(n, flops)}


# Published values


def test_the_data_constrained_law_has_its_published_values():
    card = registry.card("law", "data_constrained")
    law, values = card.make(decay="both"), card.PRESETS["muennighoff"]["values"]
    theta = np.array([term.coordinate(values[term.name]) for term in law.terms])
    runs = np.array([[6.34e9, 242e9, 25e9], [8.67e9, 178e9, 25e9]]).T
    loss = law.loss(theta, dict(zip("NDU", runs, strict=True)))
    np.testing.assert_allclose(loss, [2.2256440889984477, 2.2269634075087867], rtol=1e-13)


def test_data_seen_once_by_small_models_is_the_chinchilla_law():
    limited = registry.card("law", "data_constrained")
    free = registry.card("law", "chinchilla").make()
    values = limited.PRESETS["muennighoff"]["values"]
    data = {"N": np.array([1e8, 1e9]), "D": np.array([1e11, 3e11]), "U": np.array([1e11, 1e12])}
    for decay in ("both", "data"):
        law = limited.make(decay=decay)
        theta = np.array([term.coordinate(values[term.name]) for term in law.terms])
        np.testing.assert_allclose(law.loss(theta, data), free.loss(theta[:5], data), rtol=1e-12)


def test_m4_solves_its_equation_and_is_a_power_law_far_from_guessing():
    law = registry.card("law", "m4").make(variable="D")
    e, i, alpha, beta, c = 1.5, 5.0, 0.7, 2.0, -0.4
    theta = np.array([np.log(e), np.log(i - e), alpha, np.log(beta), c])
    d = np.logspace(-6, 12, 40)
    loss = law.loss(theta, {"D": d})
    assert (np.diff(loss) <= 0).all() and e < loss.min() and loss.max() < i
    np.testing.assert_allclose((loss - e) / (i - loss) ** alpha, beta * d**c, rtol=1e-9)


def test_an_over_trained_run_costs_what_its_formula_says():
    law = registry.card("law", "over_training").make()
    e, a, b, eta = 1.5, 141.0, 190.0, 0.121
    n, d = np.array([4e8, 1.4e9]), np.array([8e9, 9e11])
    m, c = d / n, 6 * n * d
    expected = e + (a * m**eta + b * m**-eta) * c**-eta
    theta = np.array([*np.log([e, a, b]), eta])
    np.testing.assert_allclose(law.loss(theta, {"N": n, "D": d}), expected, rtol=1e-12)


# Estimators


TRUTH = {"N_0": np.log(0.3), "a": 0.46, "L_0": np.log(9.0), "g": 0.05, "k": np.log(0.3), "h": 0.04}


def profile(law, sizes: int = 7) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """theta, runs and losses of the law's own form, at five budgets, shuffled."""
    theta = np.array([TRUTH[term.name] for term in law.terms])
    c = np.repeat(np.logspace(17, 20, 5), sizes)
    away = np.tile(np.linspace(-1.2, 1.2, sizes), 5)
    n = law.allocate(theta, c)[0] * np.exp(away)
    loss = 9.0 * c**-0.05 + 0.3 * c**-0.04 * away**2
    order = np.random.default_rng(0).permutation(len(c))
    return theta, {"N": n[order], "C": c[order]}, loss[order]


@ESTIMATING
def test_an_estimator_finds_its_own_form_again(name, law):
    theta, data, loss = profile(law)
    rng = np.random.default_rng(1)
    for weight in (np.ones(35), rng.uniform(0.5, 2.0, 35)):
        np.testing.assert_allclose(law.estimate(data, loss, weight).theta, theta, rtol=1e-8)
    assert law.recipe


@ESTIMATING
def test_an_estimate_is_the_same_in_other_units(name, law):
    _, data, loss = profile(law)
    loss = loss * np.exp(np.random.default_rng(2).normal(0, 0.003, 35))
    matrix, shift = law.rescaling({"N": 18.0, "C": 40.0}, 0.7)
    other = {"N": data["N"] / np.exp(18.0), "C": data["C"] / np.exp(40.0)}
    estimate = law.estimate(other, loss / np.exp(0.7), np.ones(35)).theta
    expected = matrix @ law.estimate(data, loss, np.ones(35)).theta + shift
    np.testing.assert_allclose(estimate, expected, rtol=1e-8, atol=1e-10)


@ESTIMATING
def test_a_weight_of_two_is_a_run_drawn_twice_and_of_zero_one_left_out(name, law):
    _, data, loss = profile(law)
    loss = loss * np.exp(np.random.default_rng(3).normal(0, 0.003, 35))
    weight = np.random.default_rng(4).integers(0, 3, 35)
    drawn = np.repeat(np.arange(35), weight)
    estimate = law.estimate(data, loss, weight.astype(float)).theta
    expected = law.estimate(
        {k: v[drawn] for k, v in data.items()}, loss[drawn], np.ones(len(drawn))
    ).theta
    np.testing.assert_allclose(estimate, expected, rtol=1e-9)


@ESTIMATING
def test_budgets_that_differ_by_rounding_are_one(name, law):
    theta, data, loss = profile(law)
    data["C"] = data["C"] * np.random.default_rng(5).uniform(0.99, 1.01, 35)
    np.testing.assert_allclose(
        law.estimate(data, loss, np.ones(35)).theta, theta, rtol=0.05, atol=0.1
    )


@ESTIMATING
def test_one_budget_has_no_frontier(name, law):
    _, data, loss = profile(law)
    weight = (data["C"] == data["C"].min()).astype(float)
    for none in (weight, np.zeros(35)):
        assert np.isnan(law.estimate(data, loss, none).theta).all()


def test_a_budget_without_a_minimum_is_no_part_of_the_frontier():
    law = registry.card("law", "isoflop_parabolas").make()
    theta, data, loss = profile(law)
    first = data["C"] == data["C"].min()
    upside_down = law.estimate(data, np.where(first, 10.0 - loss, loss), np.ones(35)).theta
    np.testing.assert_allclose(upside_down, theta, rtol=1e-8)
    two_sizes = np.where(first & (np.cumsum(first) > 2), 0.0, 1.0)
    estimate = law.estimate(data, np.where(first, loss + 1.0, loss), two_sizes).theta
    np.testing.assert_allclose(estimate, theta, rtol=1e-8)


@pytest.mark.parametrize("sizes", ["the same", "1/30 to 30", "1/4 to 4"])
def test_sizes_far_from_the_best_do_not_move_the_minima_of_parabolas(sizes):
    parabolas = registry.card("law", "isoflop_parabolas").make()
    chinchilla = registry.card("law", "chinchilla").make()
    truth = np.array([np.log(1.8), np.log(480.0), np.log(2100.0), 0.347, 0.367])
    c = np.repeat(np.logspace(17, 20, 7), 12)
    best = chinchilla.allocate(truth, c)[0]
    ends = {"1/30 to 30": (1 / 30, 30), "1/4 to 4": (1 / 4, 4)}
    n = np.tile(np.geomspace(5e6, 5e9, 12), 7)  # up to 200 times the best
    if sizes in ends:
        n = best * np.tile(np.geomspace(*ends[sizes], 12), 7)
    data = {"N": n, "C": c}
    loss = chinchilla.loss(truth, {"N": n, "D": c / 6 / n})
    values = parabolas.values(parabolas.estimate(data, loss, np.ones(84)).theta)
    assert values["a"] == pytest.approx(0.367 / (0.347 + 0.367), abs=1e-3)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(84, np.full(84, 1 / 84), size=100)
    replicates = [parabolas.estimate(data, loss, weight).theta[1] for weight in drawn]
    low, high = np.quantile(replicates, [0.025, 0.975])
    assert low < 0.5140 < high


def test_parabolas_are_biased_by_wide_grids_of_profiles_that_are_not_symmetric():
    parabolas = registry.card("law", "isoflop_parabolas").make()
    chinchilla = registry.card("law", "chinchilla").make()
    truth = np.array([np.log(1.7), np.log(400.0), np.log(2000.0), 0.5, 0.25])
    c = np.repeat(np.logspace(18, 21, 4), 9)
    best = chinchilla.allocate(truth, c)[0]

    def error(width):
        n = best * np.exp(np.tile(np.linspace(-width, width, 9), 4))
        loss = chinchilla.loss(truth, {"N": n, "D": c / 6 / n})
        theta = parabolas.estimate({"N": n, "C": c}, loss, np.ones(36)).theta
        return np.abs(np.log(parabolas.allocate(theta, c)[0] / best)).max()

    assert error(0.1) < 0.01 < error(1.0) < error(2.0)
