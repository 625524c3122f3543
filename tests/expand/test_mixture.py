"""Mixtures: target proportions solved into weights, drawn, cornered, or taken from a fit."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_in_memory import batches_of

import isoloss
from isoloss.core import tables
from isoloss.core.problems import IsolossError
from isoloss.expand import job
from isoloss.expand.mixture import Domains, best_of, target_of

TOKENS = {"code": 100, "docs": 300, "web": 600}
shares = st.lists(st.integers(1, 1000), min_size=2, max_size=6)


@pytest.fixture
def corpus(tmp_path) -> tuple[pd.DataFrame, str]:
    """Rows of three domains and some without the tag, and the file in which they are."""
    random = np.random.default_rng(3)
    rows = []
    for i in range(3000):
        domain = ("web", "web", "docs", "code", None)[int(random.integers(5))]
        text = b"x" * int(random.integers(1, 30))
        rows.append(
            {
                "row_id": f"{i:05d}",
                "text": text,
                "n_tokens": len(text),
                "tags": [("year", str(i % 2)), *([("domain", domain)] if domain else [])],
                "split": "valid" if i % 10 == 0 else "train",
                "group": f"{i:05d}",
            }
        )
    frame = pd.DataFrame(rows).assign(features=None, label=pd.NA)
    tables.write("rows", frame, tmp_path / "rows.parquet", {})
    return frame, tmp_path / "rows.parquet"


def expanded(corpus, mixture, tmp_path, best=(), seed=5):
    """Index and `mixture` of a mixture of the corpus, as the job writes them."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    specification = {"mixture": {"tag_key": "domain", "size": 1.0, **mixture}, "seed": seed}
    job.run(specification, corpus[1], out, {"weighting": "mixed"}, best)
    return tables.frame(out / "index.parquet", "index"), tables.frame(
        out / "mixture.parquet", "mixture"
    )


def of_domain(corpus, index) -> dict[str | None, int]:
    """Tokens of the expanded rows by domain."""
    rows = corpus[0].iloc[index["row"]]
    domains = [dict(tags).get("domain") for tags in rows["tags"]]
    tokens = rows["n_tokens"].to_numpy() * index["copies"].to_numpy()
    return pd.Series(tokens).groupby(pd.Series(domains), dropna=False).sum().to_dict()


@given(shares, shares, st.floats(0.1, 50))
def test_weights_make_the_target_at_its_size(natural, target, size):
    names = [f"d{i}" for i in range(min(len(natural), len(target)))]
    tokens = dict(zip(names, natural, strict=False))
    asked = {d: t / sum(target[: len(names)]) for d, t in zip(names, target, strict=False)}
    weights = isoloss.mixture_weights(tokens, asked, size)
    made = {d: weights[d] * tokens[d] for d in names}
    assert math.fsum(made.values()) == pytest.approx(size * sum(tokens.values()))
    for domain in names:
        assert made[domain] / math.fsum(made.values()) == pytest.approx(asked[domain])


def test_the_natural_mixture_leaves_every_row_as_it_is():
    natural = {d: n / 1000 for d, n in TOKENS.items()}
    assert isoloss.mixture_weights(TOKENS, natural) == dict.fromkeys(TOKENS, 1.0)


def test_a_domain_that_is_not_named_gets_nothing():
    assert isoloss.mixture_weights(TOKENS, {"docs": 1.0}) == {
        "code": 0.0,
        "docs": 1 / 0.3,
        "web": 0.0,
    }


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"wbe": 1.0}, "no training row has 'wbe'; did you mean 'web'?"),
        ({"web": 0.5}, "the proportions sum to 0.5; they have to sum to 1"),
        ({"web": 1.5, "code": -0.5}, "the proportion of 'code' is -0.5; give a number from 0 to 1"),
        ({"none": 1.0}, "the rows of 'none' have no tokens; leave the domain out"),
        (
            {"rare": 1.0},
            "'rare' has 1e-07 of the training tokens; to be 1 of 1 times as many, each of its rows "
            "would be copied 1e+07 times; at most 1e+06 are allowed: lower its proportion",
        ),
    ],
)
def test_a_target_that_cannot_be_made_is_an_error(target, message):
    natural = {"web": 6e6, "code": 4e6 - 1, "rare": 1, "none": 0}
    with pytest.raises(IsolossError) as error:
        isoloss.mixture_weights(natural, target)
    assert message in str(error.value)


def test_a_mixture_is_made_of_the_rows_of_the_tag(corpus, tmp_path, capsys):
    target = {"web": 0.2, "docs": 0.5, "code": 0.3}
    index, mixture = expanded(corpus, {"proportions": target, "size": 3}, tmp_path)
    tokens = of_domain(corpus, index)
    assert set(tokens) == set(target)
    train = corpus[0][corpus[0]["split"] == "train"]
    tagged = train[["domain" in dict(tags) for tags in train["tags"]]]
    assert sum(tokens.values()) == pytest.approx(3 * tagged["n_tokens"].sum(), rel=0.01)
    rows = mixture[mixture["tag_key"] == "domain"].set_index("domain")
    for domain, share in target.items():
        achieved = tokens[domain] / sum(tokens.values())
        assert achieved == pytest.approx(share, abs=0.01)
        assert rows.loc[domain, "achieved"] == pytest.approx(achieved, rel=1e-12)
        assert rows.loc[domain, "target"] == share
        natural = rows.loc[domain, "natural"]
        assert rows.loc[domain, "multiplier"] == pytest.approx(3 * share / natural)
    years = mixture[mixture["tag_key"] == "year"]
    assert years[["target", "multiplier"]].isna().all(axis=None)
    assert years["achieved"].sum() == pytest.approx(1)
    log = capsys.readouterr().err
    lacking = len(train) - len(tagged)
    assert f"{lacking} training rows (" in log
    assert "share of tokens by domain  natural  target  achieved  weight" in log


def test_rows_are_counted_by_domain_whatever_the_batches(corpus):
    frame = corpus[0]
    train = frame[frame["split"] == "train"]
    domains = [dict(tags).get("domain") for tags in train["tags"]]
    tokens = train["n_tokens"].groupby(np.array(domains, dtype=object)).sum()
    for size in (7, 100_000):
        counted = Domains.of(batches_of(frame, size), "domain")
        assert counted.tokens == tokens.to_dict()
        assert counted.rows_without == domains.count(None)
        assert counted.tokens_without == train["n_tokens"].sum() - tokens.sum()


def test_a_tag_without_rows_is_an_error(corpus, tmp_path):
    with pytest.raises(IsolossError) as error:
        expanded(corpus, {"tag_key": "kind", "proportions": "natural"}, tmp_path)
    place = "expand.mixed.mixture.tag_key"
    assert str(error.value).startswith(f"{place}: no training row has the tag 'kind'")
    assert list((tmp_path / "out").iterdir()) == []


def test_words_and_corners_are_relative_to_the_rows():
    def target(**mixture):
        return target_of(mixture, TOKENS, 0)

    assert target(proportions="natural") == {"code": 0.1, "docs": 0.3, "web": 0.6}
    assert target(proportions="uniform") == dict.fromkeys(TOKENS, 1 / 3)
    assert target(proportions="uniform", domains=["web", "code"]) == {"web": 0.5, "code": 0.5}
    corner = target(corner={"domain": "code", "share": 0.7})
    assert corner == pytest.approx({"code": 0.7, "docs": 0.1, "web": 0.2})
    assert target(corner={"domain": "web", "share": 1}, domains=["web"]) == {"web": 1}
    for wrong in (
        {"corner": {"domain": "cod", "share": 0.7}},
        {"proportions": "uniform", "domains": ["cod"]},
    ):
        with pytest.raises(IsolossError, match="no training row has 'cod'; did you mean 'code'"):
            target(**wrong)
    with pytest.raises(IsolossError, match="'web' is the only domain"):
        target(corner={"domain": "web", "share": 0.5}, domains=["web"])


def test_draws_are_dirichlet_around_the_natural_mixture_and_each_of_its_own():
    def draw(label, seed=1, concentration=5.0):
        mixture = {"draw": {"label": label, "concentration": concentration}}
        return target_of(mixture, TOKENS, seed)

    drawn = pd.DataFrame([draw(f"d/{i}") for i in range(2000)])
    assert np.allclose(drawn.sum(axis=1), 1)
    share = np.array([TOKENS[name] / 1000 for name in drawn])
    assert np.allclose(drawn.mean(), share, atol=0.02)
    assert np.allclose(drawn.var(), share * (1 - share) / (5 + 1), rtol=0.15)
    assert draw("d/0") == draw("d/0")
    assert draw("d/0") != draw("d/1")
    assert draw("d/0") != draw("d/0", seed=2)
    near = pd.DataFrame([draw(f"d/{i}", concentration=1e5) for i in range(20)])
    assert np.allclose(near, share, atol=0.01)


def test_a_best_mixture_is_that_of_its_group(corpus, tmp_path):
    best = pd.DataFrame(
        {
            "group": ["a", "a", "b", "b"],
            "domain": ["web", "code", "web", "code"],
            "proportion": [0.25, 0.75, 1.0000001, -1e-7],
        }
    )
    assert best_of(best, "a") == {"web": 0.25, "code": 0.75}
    assert best_of(best[:2], None) == {"web": 0.25, "code": 0.75}
    assert best_of(best, "b") == {"web": 1.0, "code": 0.0}
    for rows, group, message in (
        (best, None, "the fit has 2 groups; name one: a, b"),
        (best, "c", "the fit has no group 'c'"),
        (best[:0], None, "the fit keeps no best mixture; set its `domain_weights`"),
        (best.assign(proportion=np.nan), "a", "the fit found no best mixture for group 'a'"),
    ):
        with pytest.raises(IsolossError) as error:
            best_of(rows, group)
        assert message in str(error.value)


def test_the_same_mixture_has_the_same_rows_again(corpus, tmp_path):
    mixture = {"draw": {"label": "d/3", "concentration": 2.0}}
    first, _ = expanded(corpus, mixture, tmp_path)
    second, _ = expanded(corpus, json.loads(json.dumps(mixture)), tmp_path)
    assert first.equals(second)
