"""Structural entropies are what the enumeration of all paths gives, and faults are told."""

import doctest
import math
import time
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.observables import structural_entropy

observe = structural_entropy.observe


def costs_of_edges(matrix: np.ndarray) -> list[list[tuple[int, float]]]:
    """Of every unit below a matrix the edges that exist: unit above, and 1 - ln p."""
    edges = []
    for column in np.abs(np.asarray(matrix, float)).T:
        odds = [math.exp(size - max(column)) for size in column]
        p = [part / math.fsum(odds) for part in odds]
        edges.append([(v, 1 - math.log(part)) for v, part in enumerate(p) if part > 1e-9])
    return edges


def costs_of_paths(edges: list, unit: int) -> list[float]:
    """The cost of every path from a unit to the outputs."""
    if not edges:
        return [0.0]
    return [c + rest for v, c in edges[0][unit] for rest in costs_of_paths(edges[1:], v)]


def entropies_of_costs(costs) -> tuple[float, float]:
    """H_TSE and H_SIE of the costs of all paths, as they are defined."""
    costs = np.asarray(costs)
    odds = np.exp(-costs)
    q = odds / math.fsum(odds)
    return 1 / math.fsum(1 / costs), -math.fsum(q * np.log2(q + 1e-9))


def enumerated(weights) -> pd.DataFrame:
    """The table by enumeration of all paths of all hidden units."""
    layers = [costs_of_edges(matrix) for matrix in weights]
    rows = [
        (layer, unit, *entropies_of_costs(costs_of_paths(layers[layer:], unit)))
        for layer in range(1, len(layers))
        for unit in range(len(layers[layer]))
    ]
    return pd.DataFrame(rows, columns=["layer", "unit", "h_tse", "h_sie"])


def network(rng, *widths: int, scale: float = 1.0) -> list[np.ndarray]:
    """Normal weights of linear layers, (out, in) each."""
    return [scale * rng.standard_normal(pair[::-1]) for pair in pairwise(widths)]


def random_small_network(seed: int) -> list[np.ndarray]:
    """Two to five layers of one to five units, with ties, zeros and absent edges."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 6, rng.integers(3, 7))
    weights = network(rng, *widths, scale=rng.choice([0.1, 1.0, 8.0, 30.0, 1000.0]))
    for matrix in weights:
        matrix[rng.random(matrix.shape) < 0.2] = 0.0
        if rng.random() < 0.4:
            matrix[:] = np.round(matrix)
    return weights


def test_two_hundred_random_small_networks_agree_with_the_enumeration_of_paths():
    absent = ties = single = 0
    for seed in range(200):
        weights = random_small_network(seed)
        expected = enumerated(weights)
        pd.testing.assert_frame_equal(
            isoloss.structural_entropies(weights), expected, rtol=1e-9, atol=1e-9
        )
        absent += any(len(unit) < len(m) for m in weights[1:] for unit in costs_of_edges(m))
        ties += any(len(np.unique(np.abs(m))) < m.size for m in weights[1:])
        single += (expected["h_sie"] < 1e-8).any()
    assert min(absent, ties, single) > 20


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0, 12.0])
def test_networks_with_a_million_paths_agree_with_the_enumeration_of_paths(scale):
    weights = network(np.random.default_rng(7), 3, 4, 100, 100, 100, scale=scale)
    table = isoloss.structural_entropies(weights)
    costs = np.zeros((1, 100))
    for layer, matrix in reversed(list(enumerate(weights))[1:]):
        step = np.full(matrix.shape, np.inf)
        for unit, edges in enumerate(costs_of_edges(matrix)):
            for v, cost in edges:
                step[v, unit] = cost
        costs = (costs[:, :, None] + step).reshape(-1, matrix.shape[1])
        expected = [entropies_of_costs(c[np.isfinite(c)]) for c in costs.T]
        measured = table.loc[table["layer"] == layer, ["h_tse", "h_sie"]]
        np.testing.assert_allclose(measured, expected, rtol=1e-9, atol=1e-9)
    assert costs.shape == (10**6, 4)


@pytest.mark.parametrize(("width", "depth"), [(2, 30), (64, 5), (64, 6), (10, 40), (300, 120)])
def test_equal_weights_give_the_closed_form_at_any_number_of_paths(width, depth):
    """All paths alike: c = depth (1 + ln width), q = 1 / width^depth."""
    weights = [np.full((width, width), -0.7)] * (depth + 1)
    first = isoloss.structural_entropies(weights).iloc[0]
    cost, count = depth * (1 + math.log(width)), depth * math.log(width)
    assert first["h_tse"] == pytest.approx(cost * math.exp(-count), rel=1e-9, abs=0)
    assert first["h_sie"] == pytest.approx(-math.log2(math.exp(-count) + 1e-9), abs=1e-9)


def test_a_unit_with_a_single_path_has_its_cost_and_no_entropy():
    weights = [np.ones((2, 3)), [[100.0, 0.0], [0.0, 100.0]], np.array([[1.0, 1.0]])]
    table = isoloss.structural_entropies(weights)
    np.testing.assert_allclose(table["h_tse"], [2.0, 2.0, 1.0, 1.0], rtol=1e-9)
    np.testing.assert_allclose(table["h_sie"], 0.0, atol=3e-9)


def test_an_edge_is_absent_from_a_billionth_on():
    for ratio, paths in ((0.99e-9, 1), (1.01e-9, 2)):
        strong = -math.log(ratio / (1 - ratio))
        table = isoloss.structural_entropies([np.ones((1, 1)), [[0.0], [strong]]])
        inverse = 1.0 if paths == 1 else 1 / (1 - math.log1p(-ratio)) + 1 / (1 - math.log(ratio))
        np.testing.assert_allclose(table["h_tse"], 1 / inverse, rtol=1e-9)


def test_the_largest_and_smallest_weights_neither_overflow_nor_vanish():
    huge, tiny = np.finfo(float).max, np.finfo(float).tiny
    weights = [np.ones((2, 1)), [[huge, tiny], [-huge, 0.0], [0.0, -tiny]]]
    table = isoloss.structural_entropies(weights)
    expected = [entropies_of_costs([1 + math.log(n)] * n) for n in (2, 3)]
    np.testing.assert_allclose(table[["h_tse", "h_sie"]], expected, rtol=1e-9)


def test_signs_units_of_the_input_and_single_precision_do_not_matter():
    weights = network(np.random.default_rng(3), 5, 4, 3, 2)
    table = isoloss.structural_entropies(weights)
    same = [weights[0][:, :1] + 9, -weights[1], weights[2]]
    pd.testing.assert_frame_equal(isoloss.structural_entropies(same), table)
    single = [matrix.astype(np.float32) for matrix in weights]
    exact = [matrix.astype(float) for matrix in single]
    pd.testing.assert_frame_equal(
        isoloss.structural_entropies(single), isoloss.structural_entropies(exact)
    )


def test_five_hidden_layers_take_less_than_a_tenth_of_a_second():
    weights = network(np.random.default_rng(0), 784, 64, 64, 64, 64, 64, 10, scale=0.1)
    isoloss.structural_entropies(weights)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        table = isoloss.structural_entropies(weights)
        seconds.append(time.process_time() - start)
    assert len(table) == 5 * 64
    assert sorted(seconds)[2] < 0.1


# Faults


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda w: w[:1],
            "weights: a hidden layer needs 2 weight matrices or more, and there are 1",
        ),
        (lambda w: [], "2 weight matrices or more, and there are 0"),
        (
            lambda w: [w[0], w[1].T, w[2]],
            r"weights\[1\], shape \(4, 3\): takes 3 values, but weights\[0\], shape \(4, 5\), gives"
            r" 4; give matrices \(out, in\)",
        ),
        (lambda w: [w[0], w[1][0], w[2]], r"weights\[1\], shape \(4,\): is not a matrix"),
        (lambda w: [w[0][:0], w[1][:, :0]], r"weights\[0\], shape \(0, 5\): is not a matrix"),
        (
            lambda w: [w[0], np.broadcast_to(0.0, (10**9, 4))],
            r"weights\[1\], shape \(1000000000, 4\): is not a matrix with 1 to 999999999 rows",
        ),
    ],
)
def test_matrices_that_are_not_a_chain_of_layers_are_named(change, words):
    weights = network(np.random.default_rng(0), 5, 4, 3, 2)
    with pytest.raises(IsolossError, match=words):
        isoloss.structural_entropies(change(weights))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layer", [0, 1])
def test_weights_that_are_not_finite_are_named(value, layer):
    weights = network(np.random.default_rng(0), 5, 4, 3)
    weights[layer][2, 3] = value
    words = rf"weights\[{layer}\], shape \(.*\): the weight in row 2, column 3 is {value}; take"
    with pytest.raises(IsolossError, match=words):
        isoloss.structural_entropies(weights)


# The observable


@pytest.fixture(scope="module")
def layers() -> dict[str, np.ndarray]:
    """Twelve layers as the store has them: in the order of their names as text, with biases."""
    weights = network(np.random.default_rng(5), 6, *range(3, 13), 9, 8)
    named = {f"layers.{i}.weight": matrix for i, matrix in enumerate(weights)}
    named |= {f"layers.{i}.bias": np.ones(len(matrix)) for i, matrix in enumerate(weights)}
    return dict(sorted(named.items()))


def means(table: pd.DataFrame, part: str) -> list[float]:
    """H_TSE and H_SIE of one part."""
    rows = table[table["part"] == part].set_index("quantity")["value"]
    return [rows["h_tse"], rows["h_sie"]]


def test_the_observable_has_means_over_all_hidden_units_and_over_a_sample(layers):
    table = isoloss.structural_entropies([layers[f"layers.{i}.weight"] for i in range(12)])
    entropies = table[["h_tse", "h_sie"]]
    assert len(entropies) == 84
    measured = observe(layers)
    np.testing.assert_allclose(means(measured, "all"), entropies.mean())
    assert means(measured, "sample") != means(measured, "all")
    one = means(observe(layers, units=1), "sample")
    assert np.isclose(entropies, one, rtol=1e-12).all(axis=1).sum() == 1
    firsts = {means(observe(layers, units=1, seed=seed), "sample")[0] for seed in range(200)}
    assert len(firsts) > 70  # of 84: any hidden unit can be drawn
    for units in (84, 1000):
        np.testing.assert_allclose(means(observe(layers, units=units), "sample"), entropies.mean())


def test_the_same_seed_draws_the_same_units_and_none_twice(layers):
    pd.testing.assert_frame_equal(observe(layers, seed=3), observe(layers, seed=3))
    assert means(observe(layers, seed=3), "sample") != means(observe(layers), "sample")
    table = isoloss.structural_entropies([layers[f"layers.{i}.weight"] for i in range(12)])
    all_but_one = [(table[q].sum() - table[q]) / 83 for q in ("h_tse", "h_sie")]
    for mean, possible in zip(means(observe(layers, units=83), "sample"), all_but_one, strict=True):
        assert np.isclose(mean, possible, rtol=1e-12).any()


def test_tensors_are_taken_in_the_order_in_which_the_option_names_them():
    first, second = network(np.random.default_rng(1), 4, 4, 4)
    weights = {"b": first, "a": second, "c": np.ones((7, 2))}
    expected = isoloss.structural_entropies([first, second])[["h_tse", "h_sie"]].mean()
    np.testing.assert_allclose(means(observe(weights, tensors=["b", "a"]), "all"), expected)
    with pytest.raises(IsolossError, match=r"c, shape \(7, 2\): takes 2 .*in the option `tensors`"):
        observe(weights)
    with pytest.raises(IsolossError, match=r"no tensor 'layer.0'; did you mean 'layer0'"):
        observe({"layer0": first, "layer1": second}, tensors=["layer.0", "layer1"])


def test_the_example_of_the_observable_holds():
    outcome = doctest.testmod(structural_entropy)
    assert outcome.attempted and not outcome.failed
    assert registry.lacking("observable", "structural_entropy") == ()
