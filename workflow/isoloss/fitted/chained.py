"""Questions to a chain: where an error or accuracy by the loss is best, over N, D and others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from isoloss.core.problems import IsolossError, Problem
from isoloss.fitted.names import FARTHEST
from isoloss.fitted.optimum import Choice, Question, optimum, questions
from isoloss.formulas import Node
from isoloss.formulas.tree import named, put_in
from isoloss.laws._law import Law, Term
from isoloss.laws._tree import tree_of

if TYPE_CHECKING:
    from isoloss.fitted.chain import Chain

OWN = "then_"  # before the names of the second law's parameters, which the first may have too
ALIAS = "response"  # of what the second law predicts, where its name is none of a formula


@dataclass(frozen=True)
class Laws:
    """Two laws as one, with the parameters of both: theta (..., p + q)."""

    first: Law
    second: Law
    between: str  # what the first predicts

    proportions = False

    @property
    def variables(self) -> tuple[str, ...]:
        """Those of the first, and of the second those that the first does not predict."""
        further = [name for name in self.second.variables if name != self.between]
        return tuple(dict.fromkeys([*self.first.variables, *further]))

    @property
    def terms(self) -> tuple[Term, ...]:
        """The parameters of both; the names of the second's begin with OWN."""
        return (*self.first.terms, *(replace(t, name=OWN + t.name) for t in self.second.terms))

    def values(self, thetas: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters in their own units, (r,) each."""
        count = len(self.first.terms)
        second = self.second.values(thetas[..., count:])
        return {
            **self.first.values(thetas[..., :count]),
            **{OWN + name: value for name, value in second.items()},
        }


class _AsFit:
    """A chain with what a question asks of a fit."""

    def __init__(self, chain: Chain):
        self.chain = chain
        self.laws = Laws(chain.first.law, chain.second.law, chain.first.quantity)
        self.quantity = chain.quantity
        one, other = chain.first.estimate(chain.group), chain.second.estimate(chain.then_group)
        self._theta = np.concatenate([one.theta, other.theta])
        self.stateless = one.state is None and other.state is None

    def law_of(self, response: str) -> Laws:
        """Both laws."""
        return self.laws

    def theta(self, group: str, response: str) -> np.ndarray:
        """The optimum of both fits, (p + q,)."""
        return self._theta

    def replicate_thetas(self, group: str, response: str) -> np.ndarray:
        """Replicates of both fits that belong together, (r, p + q)."""
        one, other = (pair.theta for pair in self.chain.pairs())
        return np.concatenate([one, other], axis=1) if len(one) else np.empty((0, len(self._theta)))

    def rows_of(self, table: str, group: str, response: str) -> pd.DataFrame:
        """The ranges of both, those of the first where both have a variable."""
        return self.chain.rows_of(table).drop_duplicates("variable")


class ChainChoice(Choice):
    """A question to a chain."""

    def __init__(self, chain: Chain, question: Question):
        super().__init__(_AsFit(chain), question, "", "")

    def _law_tree(self) -> Node:
        laws, trees = self.law, []
        for law in (laws.first, laws.second):
            tree = None if law.proportions else tree_of(law)
            if tree is None or not self.fit.stateless:
                reason = f"the law {law.formula} has no expression in its variables"
                raise IsolossError(Problem("chain", reason, "use `predict` on a grid"))
            trees.append(tree)
        self.loss_tree, second = trees
        own = {term.name: named(OWN + term.name) for term in laws.second.terms}
        return put_in(second, {**own, laws.between: self.loss_tree})

    @property
    def outcomes(self) -> dict[str, Node]:
        """What both laws predict, by its name in an expression."""
        return {self.law.between: self.loss_tree, word(self.fit.quantity): self.tree}


def word(quantity: str) -> str:
    """The name of a quantity in an expression."""
    return quantity if quantity.isidentifier() else ALIAS


def _own_name(chain: Chain, column: str) -> str:
    """A column of an answer with the name of the quantity in the place of its word."""
    own = word(chain.quantity)
    name, end = (column, "") if column == own else (column[: len(own)], column[len(own) :])
    return chain.quantity + end if name == own and end in ("", "_low", "_high") else column


def best(chain: Chain) -> str:
    """What is least where the second law is best: its error, or less its accuracy.

    Which of the two it is says the law: an accuracy falls with the loss.
    """
    ends = chain.rows_of("ranges").set_index("variable")
    law, between = chain.second.law, chain.first.quantity
    low, high = (2.0, 3.0)
    if between in ends.index:
        low, high = ends.loc[between, ["low", "high"]].astype(float).iloc[:2]
    one = {name: np.full(2, 1.0) for name in law.variables}
    for name in law.variables:
        if name in ends.index:
            one[name] = np.full(2, float(ends.loc[name, "low"]))
    estimate = chain.second.estimate(chain.then_group)
    values = law.given(estimate.state).loss(estimate.theta, {**one, between: np.array([low, high])})
    name = word(chain.quantity)
    return f"-{name}" if values[1] < values[0] else name


def answers(
    chain: Chain, question: Question, level: float
) -> list[tuple[Question, dict[str, Any], Problem | None]]:
    """Every single question of one with arrays, its row, or why it has none.

    Raises:
        IsolossError: the question cannot be asked of these laws.
    """
    told = []
    for one in questions(question):
        choice = ChainChoice(chain, one)
        row, problem = optimum(choice, level)
        if problem is None:
            point = {name: row[name] for name in choice.law.variables}
            far = chain.predict(level, **point).iloc[0]
            row = {_own_name(chain, name): value for name, value in row.items()}
            row |= {"distance": float(far["distance"]), FARTHEST: str(far[FARTHEST])}
        told.append((one, row, problem))
    return told
