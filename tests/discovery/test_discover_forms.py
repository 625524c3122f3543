"""The forms of a search, what is held out, and the fits of one form."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from isoloss.discovery import fitting
from isoloss.discovery.discovery import simplest
from isoloss.discovery.fitting import FormOnBlocks, _shared
from isoloss.discovery.grammar import forms
from isoloss.discovery.holdouts import holdouts
from isoloss.discovery.roles import Columns, columns_of, level_of
from isoloss.discovery.scaled import blocks_of, scale_of
from isoloss.discovery.search import Nested, _turns, edge_of, fitted, looseness, settings
from isoloss.discovery.structure import SHIFTED, Exponential, Factor, Sum
from isoloss.discovery.typed import kept_units
from isoloss.formulas import Evaluator, read_formula

ALL = ("N", "D", "K")


def columns(*free: str, **roles) -> Columns:
    return Columns((*free, "loss"), free, frozenset(free), **roles)


@pytest.mark.parametrize(("count", "least"), [(1, 13), (2, 27), (3, 42)])
def test_forms_of_so_many_variables(count, least):
    free = ALL[:count]
    made = forms(columns(*free), positive=True)
    assert len(made) >= least
    for form in made:
        names = {p.name for p in form.parameters}
        assert set(read_formula(form.text).names) == names | set(form.variables)
        assert set(form.variables) <= set(free)


def test_parameters_are_not_called_as_columns_are():
    form = next(f for f in forms(columns("E"), True) if f.text == "E_0 + A / E**alpha")
    assert form.variables == ("E",)


@pytest.mark.parametrize("roles", [{}, {"counts": frozenset("K"), "tuned": ("D",)}])
def test_what_is_called_linear_is(roles):
    draws = np.random.default_rng(0)
    for form in forms(columns(*ALL, **roles), True):
        evaluator = Evaluator(read_formula(form.text).tree, form.linear)
        given = {name: draws.uniform(1, 2, (1, 3)) for name in ALL}
        given |= {p.name: draws.uniform(0.1, 0.9, (2, 1)) for p in form.parameters}
        _, slopes = evaluator.gradient(given)
        other = given | {name: given[name] + 1.0 for name in form.linear}
        assert np.allclose(slopes, evaluator.gradient(other)[1]), form.text


def test_distinct_data_make_forms_of_repetition():
    texts = [f.text for f in forms(columns("U", "N", "D", unique="U", data="D"), True)]
    assert any("1 - exp(-(D/U - 1)/" in text for text in texts)


def test_a_structure_grows_by_a_part_and_loses_one():
    shape = Sum(True, ((Factor("N"),), (Factor("D"),)))
    made = [one.form(columns("N", "D")).text for one in shape.grown(columns("N", "D"))]
    assert "E + A / (N + N_0)**alpha + B / D**beta" in made
    assert "E + A / N**alpha + B / D**beta + F / (N**gamma * D**delta)" in made
    square = Exponential(False, (("N",), ("D",), ("N", "N")))
    fewer = [one.form(columns("N", "D")).text for one in square.pruned()]
    assert fewer == [
        "exp(A + B*log(N) + F*log(N)**2)",
        "exp(A + B*log(N) + F*log(D))",
    ]


def test_the_roles_of_columns_follow_from_names_and_values():
    draws = np.random.default_rng(0)
    lr = np.tile(np.geomspace(1e-4, 1e-2, 7), 12)
    tokens, unique = np.repeat([1e9, 4e9, 8e9], 28), np.repeat([1e9, 1e9, 2e9], 28)
    streams, bits = draws.choice([1.0, 2, 4], 84), np.tile([-1.0, 0.0, 0.5], 28)
    loss = 3 + (np.log(lr / 1e-3)) ** 2 + 1e9 / tokens + bits / 10
    roles = columns_of(
        {"lr": lr, "tokens": tokens, "unique": unique, "streams": streams, "bits": bits},
        loss,
        ("loss",),
    )
    assert (roles.unique, roles.data) == ("unique", "tokens")
    assert roles.counts == {"streams"}
    assert roles.tuned == ("lr",)
    assert "bits" not in roles.sizes


def test_levels_are_distinct_values_or_quantiles_of_many():
    assert level_of(np.array([1.0, 1.0, 10, 100])).tolist() == [0, 0, 1, 2]
    assert level_of(np.geomspace(1, 1e6, 500)).max() == 11


def test_the_largest_levels_are_held_out_and_never_all_of_a_group():
    size = np.tile(np.geomspace(1, 1e5, 6), 2)
    group = np.repeat([0, 1], 6)
    group[-3:] = 2  # a group of three runs is always fitted whole
    held = holdouts({"N": size}, frozenset("N"), group, 4)
    assert held
    for one in held:
        assert not one.out[-3:].any()
        assert size[one.out].min() > size[:6][~one.out[:6]].max()


def fits_of(form, n, d, response, groups=None):
    variables = {"N": n, "D": d}
    roles = columns("N", "D")
    group = np.zeros(len(n), int) if groups is None else groups
    data = scale_of(variables, roles).apply(variables)
    blocks = blocks_of(data, response, group)
    return edge_of(blocks, holdouts(variables, roles.sizes, group, 6), True)


def test_groups_and_holdouts_are_one_batch_and_exact_on_exact_runs():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    group = np.repeat([0, 1], len(n))
    n, d = np.tile(n, 2), np.tile(d, 2)
    loss = 1.7 + np.where(group, 300, 400) / n**0.34 + 400 / d**0.28
    shape = Sum(True, ((Factor("N"),), (Factor("D"),)))
    edge = fits_of(None, n, d, loss, group)
    one = fitted(shape.form(columns("N", "D")), edge, seed=0)
    assert one.errors.max() < 1e-5
    assert one.theta.shape == (2, 5)
    wrong = fitted(Sum(True, ((Factor("N"),),)).form(columns("N", "D")), edge, seed=0)
    assert wrong.score(1e-6) > one.score(1e-6)


def test_an_outlier_does_not_move_a_fit():
    n = np.geomspace(1e7, 1e9, 20)
    loss = 1.7 + 400 / n**0.34
    loss[3] *= 1.5
    form = Sum(True, ((Factor("N"),),)).form(columns("N"))
    data = scale_of({"N": n}, columns("N")).apply({"N": n})
    model = FormOnBlocks(form, blocks_of(data, loss, np.zeros(20, int)), True)
    theta = fitting.fit(model, np.ones((1, 1, 20)), seed=0)
    made = model.predicted(theta)[0, 0]
    assert made[-1] == pytest.approx(1.7 + 400 / 1e9**0.34, rel=1e-3)


def test_a_share_has_forms_that_end_at_0_and_1():
    texts = {f.text for f in forms(columns("N", share=True), True)}
    assert "sigmoid(c + c1*log(N))" in texts
    assert "E + (1 - E) * sigmoid(c + c1*log(N))" in texts
    assert "A * sigmoid(c + c1*log(N))" in texts
    assert not any("(1 - E)" in f.text for f in forms(columns("N"), True))


@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_a_logistic_function_is_fitted_from_its_logits(floor):
    n = np.geomspace(1e7, 1e11, 12)
    accuracy = floor + (1 - floor) / (1 + (n / 1e10) ** -0.7)
    roles = columns("N", share=True)
    text = "E + (1 - E) * sigmoid(c + c1*log(N))" if floor else "sigmoid(c + c1*log(N))"
    form = next(f for f in forms(roles, True) if f.text == text)
    data = scale_of({"N": n}, roles).apply({"N": n})
    group = np.zeros(12, int)
    blocks = blocks_of(data, accuracy, group)
    held = holdouts({"N": n}, roles.sizes, group, 6)
    one = fitted(form, edge_of(blocks, held, True, bounded=True), seed=0)
    assert one.errors.max() < 1e-4
    assert one.leaves == 0


def test_an_accuracy_that_leaves_1_beyond_the_runs_is_ranked_lower():
    n = np.geomspace(1e7, 1e9, 12)
    accuracy = 0.1 + 0.15 * np.log10(n / 1e7)
    roles = columns("N", share=True)
    form = next(f for f in forms(roles, True) if f.text == "A + B*log(N)")
    data = scale_of({"N": n}, roles).apply({"N": n})
    group = np.zeros(12, int)
    blocks = blocks_of(data, accuracy + 0.5, group)
    held = holdouts({"N": n}, roles.sizes, group, 6)
    one = fitted(form, edge_of(blocks, held, True, bounded=True), seed=0)
    other = fitted(form, edge_of(blocks, held, True), seed=0)
    assert (one.leaves, other.leaves) == (1, 0)
    assert one.score(1e-3) > other.score(1e-3)


def test_a_form_grows_only_where_the_largest_runs_say_so():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 8), np.geomspace(1e9, 1e11, 8)))
    noise = 1 + 0.002 * np.random.default_rng(0).normal(size=64)
    plain, both = Sum(True, ((Factor("N"),),)), Sum(True, ((Factor("N"),), (Factor("D"),)))
    roles = columns("N", "D")
    largest = n * d > np.quantile(n * d, 0.8)
    for amplitude, grows in ((400.0, True), (0.0, False)):
        loss = (1.7 + 400 / n**0.34 + amplitude / d**0.28) * noise
        edge = fits_of(None, n[~largest], d[~largest], loss[~largest])
        own = scale_of({"N": n[~largest], "D": d[~largest]}, roles)
        outer = own.apply({"N": n[largest], "D": d[largest]})
        group = np.zeros(largest.sum(), int)
        nested = Nested(edge, outer, loss[largest], group)
        small, large = (fitted(shape.form(roles), edge, seed=0) for shape in (plain, both))
        assert nested.better(large, small) == grows
    assert settings(edge.blocks) == (~largest).sum()


def test_a_response_that_turns_back_beyond_the_runs_is_told_from_one_that_overflows():
    inside = np.linspace(3, 2, 25)
    assert _turns(np.concatenate([inside, np.linspace(2, 2.5, 14)]))
    assert not _turns(np.concatenate([inside, np.linspace(2, 1, 14)]))
    assert not _turns(np.concatenate([inside, np.full(14, -np.inf)]))


def test_the_law_of_a_form_projects_what_the_form_calls_linear():
    n = np.geomspace(1.0, 9.0, 8)
    for roles in ({"share": True}, {"counts": frozenset("K"), "tuned": ("D",)}):
        free = ALL if "counts" in roles else ("N",)
        blocks = blocks_of(dict.fromkeys(free, n), n, np.zeros(8, int))
        for form in forms(columns(*free, **roles), True):
            law = FormOnBlocks(form, blocks, True).law
            assert form.exponent or set(form.linear) <= set(law.asked.roles.linear), form.text


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        (Sum(True, ((Factor("N", by="D"),), (Factor("D"),))), ["N"]),
        (Sum(True, ((Factor("N", by="D", through="power"),),)), ["N"]),
        (Sum(True, ((Factor("N", by="D"), Factor("D")),)), []),
        (Sum(True, ((Factor("N"),),), (("D",), ("N", "D"))), ["D"]),
        (Exponential(True, (("N",), ("D",), ("N", "D"))), []),
    ],
)
def test_a_formula_keeps_the_units_that_its_parameters_do_not_absorb(shape, kept):
    roles = columns("N", "D")
    data = {"N": np.geomspace(1e6, 1e9, 12), "D": np.geomspace(1e8, 1e9, 12)[::-1]}
    scale = scale_of(data, roles)
    blocks = blocks_of(scale.apply(data), np.linspace(3, 2, 12), np.zeros(12, int))
    assert kept_units(FormOnBlocks(shape.form(roles), blocks, True), roles, scale) == kept


@pytest.mark.parametrize(("starts", "kept"), [([np.nan, 0.5], []), ([np.nan], ["N", "D"])])
def test_units_are_kept_where_no_start_says_that_they_are_absorbed(monkeypatch, starts, kept):
    roles = columns("N", "D")
    data = {"N": np.geomspace(1e6, 1e9, 12), "D": np.geomspace(1e8, 1e9, 12)[::-1]}
    scale = scale_of(data, roles)
    blocks = blocks_of(scale.apply(data), np.linspace(3, 2, 12), np.zeros(12, int))
    model = FormOnBlocks(Sum(True, ((Factor("N"), Factor("D")),)).form(roles), blocks, True)
    made = np.outer(starts, np.ones(len(model.parameters)))
    monkeypatch.setattr(fitting, "starts_of", lambda *given: made)
    assert kept_units(model, roles, scale) == kept


def test_a_scale_that_vanishes_is_loose():
    n = np.geomspace(1e7, 1e9, 12)
    loss = (1.7 + 400 / n**0.34) * (1 + 0.002 * np.random.default_rng(0).normal(size=12))
    shape = Sum(True, ((Factor("N", SHIFTED),),))
    edge = fits_of(None, n, n[::-1], loss)
    model = edge.model(shape.form(columns("N", "D")))
    names = [term.name for term in model.law.terms]
    values = {"E": 1.7, "A": 0.4, "alpha": 0.34}
    for size, loose in ((0.5, 0), (1e-15, 1)):
        own = model.law.theta({**values, names[2]: size} | {"N_0": size})
        assert looseness(model, own[None], 0.003) == loose


def test_a_power_without_an_exponent_is_tried_as_a_logarithm():
    shape = Sum(True, ((Factor("N"),), (Factor("D"), Factor("K"))))
    texts = [one.form(columns(*ALL)).text for one in shape.straightened()]
    assert texts == ["A + B / (D**alpha * K**beta) + F*log(N)"]


def test_fits_of_one_form_share_the_basins_that_they_reach():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    edge = fits_of(
        None, *np.tile((n, d), 2), np.tile(1.7 + 400 / n**0.34, 2), np.repeat([0, 1], 25)
    )
    model = edge.model(Sum(True, ((Factor("N"),),)).form(columns("N", "D")))
    at = [term.name for term in model.law.terms].index("alpha")
    count = 2 * len(edge.weight)
    which = [np.repeat(np.arange(len(edge.weight)), 2)] * 2
    ends = []
    for exponents in ((0.34, 0.36), (2.0, 2.1)):
        free = np.zeros((count, len(model.parameters)))
        free[:, at] = np.tile(exponents, count // 2)
        ends.append(SimpleNamespace(free=free, objective=np.tile([1.0, 2.0], count // 2)))
    points = _shared(model, ends, which, edge.weight)
    assert points[1][::2, at] == pytest.approx(2.0)
    assert points[1][1::2, at] == pytest.approx(0.34)


def test_the_simplest_is_judged_by_holdouts_of_one_variable_together():
    kinds = ("N",) * 3 + ("D",) * 3

    def form(size, terms):
        terms = np.array(terms)
        own = SimpleNamespace(size=size)
        return SimpleNamespace(form=own, kinds=kinds, terms=lambda noise: terms)

    best = form(9, [0.0] * 6)
    near, far = form(5, [0.3, 0.3, 0.3, -0.1, -0.1, -0.1]), form(4, [0.3, 0.2, 0.3, 0.2, 0.3, 0.2])
    assert simplest([best, near, far], 0.0) == [near, best]
