"""Made-up text whose entropy rate is known: documents of a Markov chain of letters.

A letter depends on the `order` letters before it in its document. Which follow is drawn from a
Dirichlet distribution, once for each context. After each letter the document ends with chance
1 / mean_length, which a line end says. The first letter of a document depends on nothing
before it. So documents that are joined, in any order and on any side, are one stationary Markov
chain, and nothing is lost where one ends and the next begins.

A domain has letters of its own, which the first letter of a document tells. Every document is of
each domain by the same chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import ascii_letters, digits, punctuation
from typing import Any

import numpy as np

from isoloss.core.problems import IsolossError, Problem
from isoloss.core.seeds import generator

TITLE = "Markov chain"
ABOUT = (
    "Documents of letters drawn from a Markov chain, whose entropy rate is known: the loss that no"
    " model can go below. A line end ends a document, and is one of its letters."
)
SOURCE = "drawn from its options; entropy rate: Shannon 1948, section 7"
TOKEN = "byte"
TAGS = {"domain": "one of its option `domains`"}
SYNTHETIC = True  # it is drawn from its options, not read from sources
ENTROPY_RATE = True  # it has the function `entropy_rate`
OPTIONS = {
    "letters": {
        "type": "integer",
        "minimum": 2,
        "maximum": 94,
        "default": 16,
        "description": "Letters of a domain; all domains together have at most 94.",
    },
    "order": {
        "type": "integer",
        "minimum": 1,
        "maximum": 3,
        "default": 2,
        "unit": "letters",
        "description": "How many letters before it a letter depends on.",
    },
    "domains": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 47,
        "additionalProperties": {"type": "number", "minimum": 0.001, "maximum": 1000},
        "default": {"chain": 0.3},
        "description": "Domain to concentration: the parameter of the symmetric Dirichlet "
        "distribution that what follows a context is drawn from. Less is more predictable.",
    },
    "documents": {
        "type": "integer",
        "minimum": 2,
        "maximum": 1_000_000_000,
        "default": 2000,
        "description": "How many documents. The first ones stay what they are if there are more.",
    },
    "mean_length": {
        "type": "number",
        "minimum": 2,
        "maximum": 10_000_000,
        "default": 1000,
        "unit": "letters",
        "description": "Mean length of a document without its line end.",
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 9223372036854775807,
        "default": 0,
        "description": "Seed of the chain and of the documents.",
    },
}

_ALPHABET = (ascii_letters + digits + punctuation).encode()
_MOST_NUMBERS = 1 << 22  # in the tables of all domains
_LETTERS_AT_ONCE = 1 << 21  # of the documents that are drawn together, expected
_CONVERGED = 1e-15  # largest change of a probability in a step, where a chain is at its limit


@dataclass(frozen=True)
class Domain:
    """The chain of a domain.

    Attributes:
        name: of the domain.
        letters: bytes, uint8 (k,).
        follows: what follows a context, by the number of letters that it holds, from 0 to the
            order: probabilities of the next letter where the document goes on, (k**held, k).
            Contexts are numbered with their last letter as the last digit.
        ends: chance that a document ends after a letter.
    """

    name: str
    letters: np.ndarray
    follows: tuple[np.ndarray, ...]
    ends: float

    def visits(self) -> list[np.ndarray]:
        """How often a document is expected to be in each context, by letters held, (k**held,).

        The sum of all is the expected length of a document with its line end: from every context
        one letter is drawn.
        """
        at = [np.ones(1), self.follows[0][0]]
        for table in self.follows[1:-1]:
            at.append((1 - self.ends) * (at[-1][:, None] * table).ravel())
        now, goes_on, table = at[-1], 1 - self.ends, self.follows[-1]
        total, weight = np.zeros_like(now), 1.0
        whole = now.sum()
        now = now / whole
        while weight > _CONVERGED:
            total += weight * now
            weight *= goes_on
            after = (now[:, None] * table).reshape(len(self.letters), -1).sum(0)
            change, now = np.abs(after - now).max(), after
            if change < _CONVERGED:  # the chain stays there for the rest of the document
                total += weight / self.ends * now
                break
        return [*at[:-1], whole * total]

    def entropies(self) -> list[np.ndarray]:
        """Entropy of what follows each context, nats, by letters held; the line end counts."""
        begin, *others = (_entropy(table) for table in self.follows)
        at_end = _entropy(np.array([self.ends, 1 - self.ends]))
        return [begin, *(at_end + (1 - self.ends) * each for each in others)]


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy over the last axis, nats."""
    logarithms = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return -(probabilities * logarithms).sum(-1)


def sources(**options: Any) -> list[tuple[str, Path]]:
    """No files: the corpus is drawn from its options.

    Raises:
        IsolossError: the domains have more letters than there are, or the tables are too large.
    """
    count, letters = len(options["domains"]), options["letters"]
    if count * letters > len(_ALPHABET):
        reason = f"{count} domains of {letters} letters, where there are {len(_ALPHABET)}"
        raise IsolossError(Problem("markov_chain, letters", reason, "take fewer letters"))
    if count * letters ** (options["order"] + 1) > _MOST_NUMBERS:
        reason = f"order {options['order']} of {letters} letters in {count} domains needs tables"
        reason += f" of more than {_MOST_NUMBERS} numbers"
        remedy = "take fewer letters, or a lower order"
        raise IsolossError(Problem("markov_chain, order", reason, remedy))
    return []


def chains(**options: Any) -> tuple[Domain, ...]:
    """The chain of every domain, in the order of the option."""
    about = tuple((key, options[key]) for key in ("letters", "order", "mean_length", "seed"))
    return _chains(tuple(options["domains"].items()), **dict(about))


@lru_cache(maxsize=8)
def _chains(
    domains: tuple[tuple[str, float], ...], letters: int, order: int, mean_length: float, seed: int
) -> tuple[Domain, ...]:
    made = []
    for i, (name, concentration) in enumerate(domains):
        rng = generator(seed, "markov chain", name)
        spread = np.full(letters, float(concentration))
        follows = tuple(rng.dirichlet(spread, letters**held) for held in range(order + 1))
        alphabet = np.frombuffer(_ALPHABET, np.uint8)[i * letters : (i + 1) * letters]
        made.append(Domain(name, alphabet, follows, 1 / mean_length))
    return tuple(made)


def entropy_rate(**options: Any) -> dict[str, float]:
    """The entropy rate of each domain and of the whole (`all`), nats a letter, exactly.

    The mean of the entropy of what follows a context, weighted by how often a document is in it.
    It is the least loss of a model that sees at least `order` letters. The choice of the domain
    counts at the first letter of a document.

    Args:
        **options: of the card.

    Source:
        Shannon 1948, A Mathematical Theory of Communication, section 7.

    Example:
        >>> fair = {"letters": 2, "order": 1, "domains": {"coin": 1000.0}, "mean_length": 1e6}
        >>> round(entropy_rate(**fair, seed=0, documents=2)["all"], 3)  # nearly ln 2
        0.693
    """
    return _losses(options, None)


def least_loss(context: int, **options: Any) -> dict[str, float]:
    """The least loss of any model in windows of the task, by domain and whole, nats a letter.

    Windows do not overlap, and begin anywhere in a document: of the first letters of a window a
    model sees fewer than `order` letters before them. Where the order is 1 nothing is lacking.
    It is assumed that validation rows are joined in the order of the corpus and are many.

    Args:
        context: letters that a window holds.
        **options: of the card.
    """
    return _losses(options, context)


def _losses(options: dict[str, Any], context: int | None) -> dict[str, float]:
    """Least mean losses by domain, of windows of `context` letters or of endless ones."""
    domains = chains(**options)
    by_domain = {}
    for domain in domains:
        visits, entropies = domain.visits(), domain.entropies()
        entropies[0] = entropies[0] + np.log(len(domains))
        known = _mean(visits, entropies)
        if context is not None:
            lacking = range(1, min(options["order"], context + 1))
            behind = sum(_seen(domain, visits, entropies, held) - known for held in lacking)
            known += behind / context
        by_domain[domain.name] = float(known)
    return {**by_domain, "all": float(np.mean(list(by_domain.values())))}


def _mean(visits: list[np.ndarray], entropies: list[np.ndarray]) -> float:
    """The mean entropy of contexts, weighted by visits."""
    total = sum(v.sum() for v in visits)
    return float(sum((v * h).sum() for v, h in zip(visits, entropies, strict=True)) / total)


def _seen(
    domain: Domain, visits: list[np.ndarray], entropies: list[np.ndarray], held: int
) -> float:
    """The mean entropy of what follows, where only the last `held` letters are seen.

    A context that holds fewer is known, since the line end before it is seen.
    """
    size, ends = len(domain.letters), domain.ends
    alike = [
        (v.reshape(-1, size**held), f.reshape(-1, size**held, size))
        for v, f in zip(visits[held:], domain.follows[held:], strict=True)
    ]
    weights = sum(v.sum(0) for v, _ in alike)
    mixed = sum((v[:, :, None] * f).sum(0) for v, f in alike)
    mixed = mixed / np.where(weights > 0, weights, 1.0)[:, None]
    entropy = _entropy(np.array([ends, 1 - ends])) + (1 - ends) * _entropy(mixed)
    return _mean([*visits[:held], weights], [*entropies[:held], entropy])


def pieces(**options: Any) -> Iterator[dict[str, Any]]:
    """The documents in order, each a group of its own."""
    sources(**options)
    domains, count = chains(**options), options["documents"]
    at_once = int(min(max(1, _LETTERS_AT_ONCE // options["mean_length"]), 4096))
    for first in range(0, count, at_once):
        rng = generator(options["seed"], "markov documents", str(first))
        which, texts = _documents(domains, at_once, options["order"], rng)
        for number in range(first, min(first + at_once, count)):
            yield {
                "text": texts[number - first],
                "tags": {"domain": domains[which[number - first]].name},
                "group": f"document {number}",
                "row_id": str(number),
            }


def _documents(
    domains: tuple[Domain, ...], count: int, order: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[bytes]]:
    """The domain of some documents, int (count,), and their texts; drawn letter by letter."""
    which = rng.integers(len(domains), size=count)
    lengths = rng.geometric(domains[0].ends, size=count)
    longest = np.argsort(-lengths, kind="stable")
    size = len(domains[0].letters)
    # tables of all domains on top of each other: row (domain, context) of letters held
    tables = [
        np.concatenate([domain.follows[held].cumsum(1)[:, :-1] for domain in domains])
        for held in range(order + 1)
    ]
    drawn = np.zeros((lengths.max(), count), np.uint8)
    context = np.zeros(count, np.int64)
    going = np.searchsorted(-lengths[longest], -np.arange(lengths.max()), side="left")
    for step, active in enumerate(going):
        held = min(step, order)
        row = which[longest[:active]] * size**held + context[:active]
        chance = rng.random(active)[:, None]
        letter = (chance >= tables[held][row]).sum(1)
        drawn[step, :active] = letter
        context = (context[:active] * size + letter) % size**order
    alphabets = np.stack([domain.letters for domain in domains])
    texts = [b""] * count
    for place, number in enumerate(longest):
        letters = alphabets[which[number]][drawn[: lengths[number], place]]
        texts[number] = letters.tobytes() + b"\n"
    return which, texts
