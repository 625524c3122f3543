"""A corpus of known entropy: its rate against other ways to compute it, and its documents."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.datasets import markov_chain

SMALL = {"letters": 3, "domains": {"a": 0.4, "b": 1.5}, "mean_length": 4}
CASES = [
    {"order": 1, "domains": {"a": 0.3}},
    {"order": 2, "domains": {"a": 0.3}},
    {"order": 3, "letters": 2, "domains": {"a": 0.7}},
    {"order": 1},
    {"order": 2},
    {"order": 2, "mean_length": 2},
    {"order": 1, "mean_length": 2},
]


def options(**given):
    return registry.defaults("dataset", "markov_chain") | given


class Joined:
    """The joined documents as a chain of whole contexts, in a dense matrix.

    A state is a domain and the letters of the context; the beginning of a document is one state.
    """

    def __init__(self, **given):
        self.domains = markov_chain.chains(**given)
        letters, order = given["letters"], given["order"]
        held = [p for n in range(1, order + 1) for p in product(range(letters), repeat=n)]
        self.states = [(), *((d, c) for d in range(len(self.domains)) for c in held)]
        number = {state: i for i, state in enumerate(self.states)}
        self.by_letter = {}  # letter to a matrix of the steps that emit it
        for i, state in enumerate(self.states):
            for letter, after, chance in self._steps(state, letters, order):
                matrix = self.by_letter.setdefault(letter, np.zeros((len(number),) * 2))
                matrix[i, number[after]] += chance
        whole = sum(self.by_letter.values())
        values, vectors = np.linalg.eig(whole.T)
        one = np.real(vectors[:, np.argmin(np.abs(values - 1))])
        self.stationary = one / one.sum()

    def _steps(self, state, letters, order):
        if state == ():
            for d, domain in enumerate(self.domains):
                for k in range(letters):
                    chance = domain.follows[0][0, k] / len(self.domains)
                    yield (d, k), (d, (k,)), chance
            return
        d, context = state
        domain = self.domains[d]
        yield "end", (), domain.ends
        row = sum(k * letters**i for i, k in enumerate(reversed(context)))
        for k in range(letters):
            chance = (1 - domain.ends) * domain.follows[len(context)][row, k]
            yield (d, k), (d, (*context, k)[-order:]), chance

    def entropy(self):
        """The mean entropy of the next letter, by the stationary distribution."""
        chances = np.stack([matrix.sum(1) for matrix in self.by_letter.values()])
        logs = np.log(np.where(chances > 0, chances, 1))
        return float(-(self.stationary * (chances * logs).sum(0)).sum())

    def block_entropy(self, length):
        """The entropy of so many letters in a row."""
        blocks = [self.stationary]
        for _ in range(length):
            blocks = [b @ m for b in blocks for m in self.by_letter.values()]
            blocks = [b for b in blocks if b.sum() > 0]
        chances = np.array([b.sum() for b in blocks])
        return float(-(chances * np.log(chances)).sum())


@pytest.mark.parametrize("case", CASES)
def test_the_entropy_rate_is_that_of_the_stationary_distribution(case):
    given = options(**SMALL | case)
    assert markov_chain.entropy_rate(**given)["all"] == pytest.approx(
        Joined(**given).entropy(), abs=1e-12
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("context", [1, 2, 4])
def test_the_least_loss_of_a_window_is_that_of_blocks_of_letters(case, context):
    given = options(**SMALL | case | {"letters": 2})
    joined = Joined(**given)
    least = (joined.block_entropy(context + 1) - joined.block_entropy(1)) / context
    assert markov_chain.least_loss(context, **given)["all"] == pytest.approx(least, abs=1e-11)


def test_the_least_loss_falls_to_the_entropy_rate_with_longer_windows():
    given = options()
    rate = markov_chain.entropy_rate(**given)["all"]
    behind = [markov_chain.least_loss(n, **given)["all"] - rate for n in (4, 8, 1024)]
    assert behind[0] == pytest.approx(2 * behind[1]) and behind[0] > 0
    assert 0 < behind[2] < 1e-3
    one = options(order=1)
    assert markov_chain.least_loss(4, **one) == markov_chain.entropy_rate(**one)


def test_a_document_is_as_long_as_its_contexts_are_visited():
    (domain,) = markov_chain.chains(**options(letters=94, order=2, mean_length=700))
    assert sum(v.sum() for v in domain.visits()) == pytest.approx(701)


def test_the_conditional_entropy_of_a_sample_is_the_entropy_rate():
    given = options(letters=5, documents=2000, mean_length=300, domains={"a": 0.4, "b": 0.8})
    text = b"".join(piece["text"] for piece in markov_chain.pieces(**given))
    values = np.frombuffer(b"\n" + text, np.uint8).astype(np.int64)
    before, now = values[:-1], values[1:]
    # a context ends at the line end: what stands before it does not count
    context = np.where(before[1:] == 10, 0, before[:-1]) * 256 + before[1:]
    pairs = Counter(zip(context.tolist(), now[1:].tolist(), strict=True))
    contexts = Counter(context.tolist())
    counts = np.array(list(pairs.values()))
    of = np.array([contexts[c] for c, _ in pairs])
    empirical = -(counts * np.log(counts / of)).sum() / counts.sum()
    bias = (len(pairs) - len(contexts)) / (2 * counts.sum())  # Miller 1955
    rate = markov_chain.entropy_rate(**given)["all"]
    assert empirical + bias == pytest.approx(rate, abs=0.004)


def test_documents_have_the_letters_and_the_domain_of_their_chain():
    given = options(documents=200, letters=4, domains={"a": 0.5, "b": 0.5}, mean_length=40)
    pieces = list(markov_chain.pieces(**given))
    alphabet = {d.name: d.letters.tobytes() for d in markov_chain.chains(**given)}
    assert alphabet == {"a": b"abcd", "b": b"efgh"}
    for number, piece in enumerate(pieces):
        assert piece["text"].endswith(b"\n") and piece["group"] == f"document {number}"
        assert set(piece["text"][:-1]) <= set(alphabet[piece["tags"]["domain"]])
    lengths = np.array([len(piece["text"]) - 1 for piece in pieces])
    assert lengths.min() >= 1 and lengths.mean() == pytest.approx(40, rel=0.2)
    assert Counter(piece["tags"]["domain"] for piece in pieces)["a"] == pytest.approx(100, abs=30)


def test_more_documents_leave_the_first_as_they_are_and_another_seed_does_not():
    given = options(documents=30, mean_length=20)
    texts = [piece["text"] for piece in markov_chain.pieces(**given)]
    more = [piece["text"] for piece in markov_chain.pieces(**given | {"documents": 5000})]
    assert more[:30] == texts and len(more) == 5000
    other = [piece["text"] for piece in markov_chain.pieces(**given | {"seed": 1})]
    assert other != texts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"letters": 94, "domains": {"a": 1, "b": 1}}, "2 domains of 94 letters, where .* 94"),
        ({"letters": 94, "order": 3}, "order 3 of 94 letters .* tables of more than 4194304"),
    ],
)
def test_options_that_no_chain_can_have_are_refused(given, message):
    with pytest.raises(IsolossError, match=message):
        markov_chain.sources(**options(**given))
