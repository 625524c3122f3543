"""The forms of a search, what is held out, and the fits of one form."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.discovery import fitting
from isoloss.discovery.fitting import FormOnBlocks, Task
from isoloss.discovery.grammar import forms
from isoloss.discovery.holdouts import holdouts
from isoloss.discovery.roles import Columns, columns_of, level_of
from isoloss.discovery.scaled import blocks_of, scale_of
from isoloss.discovery.search import edge_of, fitted
from isoloss.discovery.structure import Exponential, Factor, Sum, form_of, grown, pruned
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
        evaluator = Evaluator(read_formula(form.expression).tree, form.linear)
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
    made = [form_of(columns("N", "D"), one).text for one in grown(columns("N", "D"), shape)]
    assert "E + A / (N + N_0)**alpha + B / D**beta" in made
    assert "E + A / N**alpha + B / D**beta + F / (N**gamma * D**delta)" in made
    square = Exponential(False, (("N",), ("D",), ("N", "N")))
    fewer = [form_of(columns("N", "D"), one).text for one in pruned(columns("N", "D"), square)]
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
    blocks = blocks_of(data, response, group, bool((response > 0).all()))
    return edge_of(blocks, holdouts(variables, roles.sizes, group, 6), 1e-3, True)


def test_groups_and_holdouts_are_one_batch_and_exact_on_exact_runs():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    group = np.repeat([0, 1], len(n))
    n, d = np.tile(n, 2), np.tile(d, 2)
    loss = 1.7 + np.where(group, 300, 400) / n**0.34 + 400 / d**0.28
    shape = Sum(True, ((Factor("N"),), (Factor("D"),)))
    edge = fits_of(None, n, d, loss, group)
    one = fitted(form_of(columns("N", "D"), shape), edge, seed=0)
    assert one.errors.max() < 1e-5
    assert one.theta.shape == (2, 5)
    wrong = fitted(form_of(columns("N", "D"), Sum(True, ((Factor("N"),),))), edge, seed=0)
    assert wrong.score(1e-6) > one.score(1e-6)


def test_an_outlier_does_not_move_a_fit():
    n = np.geomspace(1e7, 1e9, 20)
    loss = 1.7 + 400 / n**0.34
    loss[3] *= 1.5
    form = form_of(columns("N"), Sum(True, ((Factor("N"),),)))
    data = scale_of({"N": n}, columns("N")).apply({"N": n})
    model = FormOnBlocks(form, blocks_of(data, loss, np.zeros(20, int), True), 1e-3, True)
    task = Task(np.zeros(1, int), np.ones((1, 20)))
    theta, _ = fitting.fit(model, task, fitting.starts_of(model, 32, 0), 3)
    made = model.predicted(theta, task)[0]
    assert made[-1] == pytest.approx(1.7 + 400 / 1e9**0.34, rel=1e-3)
