"""Which columns of a table are proportions of a mixture, and what they are divided by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from names import NASTY

from isoloss.aggregate.guess import guess_columns
from isoloss.aggregate.proportions import mixture_columns
from isoloss.aggregate.table import Rules, read_table
from isoloss.core.problems import TableError

DOMAINS = ("web", "code", "wiki")
RNG = np.random.default_rng(0)
SHARES = RNG.dirichlet(np.ones(3), 20)
ODD = [name for name in NASTY if name != "\ud800"]  # which no column of pandas has
LOSSES = {f"loss_{d}": 3 - SHARES[:, i] for i, d in enumerate(DOMAINS)}


def table(shares=SHARES, name="p_{}", **columns):
    names = {name.format(d): shares[:, i] for i, d in enumerate(DOMAINS)}
    return pd.DataFrame({**names, **LOSSES, **columns})


def applied(raw):
    return mixture_columns(raw, "runs.csv").applied(raw)


@pytest.mark.parametrize(
    "name",
    ["p_{}", "P_{}", "prop_{}", "proportion.{}", "mix/{}", "config/mixture.{}", "share {}",
     "weight_{}", "frac-{}", "{}_share", "{}_pct", "{} (%)", "{} %", "{}_weight", "{}"],
)  # fmt: skip
def test_proportions_are_known_by_the_pattern_of_their_names(name):
    columns = applied(table(name=name))
    assert [c for c in columns if c.startswith("p_")] == [f"p_{d}" for d in DOMAINS]
    assert columns[[f"p_{d}" for d in DOMAINS]].to_numpy() == pytest.approx(SHARES)


@pytest.mark.parametrize(
    "name",
    ["loss_{}", "{}_loss", "val_loss_{}", "eval/{}/loss", "{} val loss", "loss/{}", "{}/val/loss",
     "metrics.{}_loss", "{}_nll", "bpb/{}"],
)  # fmt: skip
def test_losses_by_domain_are_known_by_their_names(name):
    raw = table().rename(columns={f"loss_{d}": name.format(d) for d in DOMAINS})
    assert list(mixture_columns(raw, "t").losses.values()) == [f"loss_{d}" for d in DOMAINS]


TOTALS = RNG.integers(10**8, 10**9, (20, 1))
COUNTS = np.round(SHARES * TOTALS)
TEXT = np.char.add(np.char.mod("%.6f", SHARES * 100), "%").astype(object)


@pytest.mark.parametrize(
    ("shares", "note"),
    [
        (SHARES * 100, "proportions sum to 100: divided by it"),
        (TEXT, "proportions sum to 100: divided by it"),
        (SHARES * 5e9, "proportions sum to 5e+09: divided by it"),
        (COUNTS, "proportions are counts, each row with its own total: divided by it"),
    ],
    ids=["percent", "percent signs", "one total", "totals of their own"],
)
def test_proportions_of_another_total_are_divided_by_it(shares, note):
    raw = table(shares)
    assert note in mixture_columns(raw, "t").notes
    assert applied(raw)[[f"p_{d}" for d in DOMAINS]].to_numpy(float) == pytest.approx(
        SHARES, abs=1e-7
    )


def test_proportions_that_sum_to_one_are_left_as_they_are():
    raw = table(np.round(SHARES, 2))
    mixture = mixture_columns(raw, "t")
    assert mixture.divisor == 1.0 and mixture.notes == ()
    pd.testing.assert_frame_equal(mixture.applied(raw), raw)


@pytest.mark.parametrize(
    "columns",
    [
        {"p_dropout": 0.1, "p_mask": 0.15, "train_loss": 3.0},
        {"p_dropout": RNG.random(20), "p_mask": RNG.random(20), "val_loss": 3.0},
        {"mix_id": np.arange(20), "share_embeddings": np.arange(20) % 2, "val_loss": 3.0},
        {"p_a": SHARES[:, 0], "val_loss": 3.0},
        {"p_a": [0.5] * 20, "p_b": [0.5] * 20, "val_loss": 3.0},
        {"p_a": SHARES[:, 0], "p_b": 1 - SHARES[:, 0], "accuracy": 3.0},
        {"p_a": ["x"] * 20, "p_b": ["y"] * 20, "val_loss": 3.0},
    ],
    ids=["constants", "no sum", "identity", "one", "no mixture varies", "no loss", "text"],
)
def test_columns_that_do_not_sum_to_one_or_do_not_vary_are_no_mixture(columns):
    assert mixture_columns(pd.DataFrame({"params": np.arange(1.0, 21), **columns}), "t") is None


def test_other_columns_of_the_pattern_are_omitted_and_said():
    mixture = mixture_columns(table(p_dropout=RNG.random(20), p_mask=0.15), "t")
    assert set(mixture.shares) == {f"p_{d}" for d in DOMAINS}
    assert "no proportions: p_dropout, p_mask" in mixture.notes
    assert mixture_columns(table(mix_id=range(20)), "t").shares == mixture.shares


def test_domains_and_losses_without_each_other_are_said():
    raw = table(all_loss=3.0).drop(columns="loss_wiki")
    assert mixture_columns(raw, "t").notes == (
        "without a loss of their own: wiki",
        "losses of no domain: all",
    )


@pytest.mark.parametrize("name", ["loss", "nll", "val_bpb", "CE loss", "normalized_loss"])
def test_a_table_whose_one_loss_is_of_the_whole_run_is_one_of_mixtures(name):
    raw = table().drop(columns=[*LOSSES]).assign(**{name: 3 - SHARES[:, 0]})
    mixture = mixture_columns(raw, "t.csv", whole=True)
    assert mixture is not None and set(mixture.losses) == {name}
    runs = read_table(raw, Rules({})).runs
    assert {f"p_{one}" for one in DOMAINS} | set(mixture.losses.values()) <= {*runs}


def test_of_a_perplexity_of_the_whole_run_the_logarithm_is_fitted():
    raw = table().drop(columns=[*LOSSES]).assign(perplexity=np.exp(3 - SHARES[:, 0]))
    reading = read_table(raw, Rules({}))
    np.testing.assert_allclose(reading.runs["loss_all"], 3 - SHARES[:, 0])
    assert "of the loss is fitted: its logarithm" in reading.notes


def test_a_loss_has_the_spelling_of_its_domain():
    raw = table(name="p_{}").rename(columns={"p_web": "p_Web-Text", "loss_web": "webtext_loss"})
    assert mixture_columns(raw, "t").losses["webtext_loss"] == "loss_Web-Text"


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (
            SHARES * 0.7 * RNG.random((20, 1)),
            "a domain is missing; add its column, or name the columns of another law: --columns",
        ),
        (SHARES * (1 + RNG.random((20, 1))), "make the proportions of each row sum to 1"),
    ],
)
def test_domains_of_losses_that_do_not_sum_to_one_are_refused(shares, message):
    with pytest.raises(
        TableError, match=r"runs\.csv: the proportions p_web, p_code, p_wiki"
    ) as told:
        mixture_columns(table(shares), "runs.csv")
    assert message in str(told.value)
    assert mixture_columns(table(shares), "runs.csv", strict=False) is None


def test_a_row_with_a_cell_that_is_no_proportion_does_not_change_the_others():
    shares = (SHARES * 100).astype(object)
    shares[3, 0], shares[4, 1], shares[5, 2] = "many", -20.0, np.nan
    columns = applied(table(shares))
    assert columns.loc[3, "p_web"] == "many" and columns.loc[4, "p_code"] == -0.2
    assert columns.loc[6:, "p_wiki"].to_numpy(float) == pytest.approx(SHARES[6:, 2])


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*ODD, "loss", "val_", "p_", "share", " %", ".", "/", "p_a", "loss_a"]),
            st.sampled_from([*ODD, "loss", "_loss", "_share", "(%)", "a", "tokens", "params"]),
        ).map("".join),
        min_size=1,
        max_size=6,
        unique=True,
    ),
    st.lists(
        st.sampled_from([0.5, 0.25, np.nan, -1.0, 1e300, np.inf, "x", "7B", None]), min_size=6
    ),
)
def test_any_names_and_cells_are_guessed_or_refused_and_nothing_else(names, cells):
    raw = pd.DataFrame({n: [*cells[i:], *cells[:i]] for i, n in enumerate(names)})
    guess = guess_columns(raw)
    assert {*guess.columns.values(), *guess.unused} <= set(names)
    try:
        mixture = mixture_columns(raw, "t")
    except TableError as error:
        assert "make the proportions" in str(error) or "a domain is missing" in str(error)
    else:
        shares = list(mixture.shares) if mixture else []
        assert len(shares) != 1 and set(shares) <= set(names)


def test_a_table_of_runs_is_read_with_the_same_proportions():
    reading = read_table(table(SHARES * 100, name="{} %"), Rules({}))
    assert reading.notes == ("proportions sum to 100: divided by it",)
    assert reading.runs[[f"p_{d}" for d in DOMAINS]].to_numpy() == pytest.approx(SHARES)


def test_a_table_of_sizes_may_have_any_columns_beside_its_own():
    sizes = {"N": np.geomspace(1e6, 1e9, 20), "D": 1e9, "loss": np.linspace(4, 2, 20)}
    rules = Rules({key: key for key in sizes})
    runs = read_table(table(SHARES * 0.7 * RNG.random((20, 1)), **sizes), rules).runs
    assert runs["loss"].tolist() == sizes["loss"].tolist()
