"""A fit: a law fitted to runs, as people and figures use it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.core import tables
from isoloss.core.arguments import methods_checked
from isoloss.fitted import report
from isoloss.fitted.decisions import FitDecisions
from isoloss.fitted.names import TABLES

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes


@methods_checked
class Fit(FitDecisions):
    """A law fitted to runs: what `fit_law` returns and `load_fit` reads.

    A fit may hold several, one for each group of runs and each response (a mixture law has a fit
    for the loss of every domain). Methods take `group` and `response`; None stands for the first.
    Typed in a shell it is a short report, in a notebook a small table.

    Two fits are equal (`==`) if they have the same law card with the same options and the same
    numbers in all their tables, wherever they were saved and whatever they are called there.

    Attributes:
        law: the law, its options chosen (of a mixture law, that of the last domain).
        tables: the tables of tables.yaml by name; `params`, `summary` and the others are
            properties, `replicates` in the units of the parameters.
        facts: what the files say of themselves (sweep, law, options, ...).

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N, D = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
        >>> loss = (1.7 + 400 / N**0.34 + 400 / D**0.28).ravel()
        >>> table = pd.DataFrame({"N": N.ravel(), "D": D.ravel(), "loss": loss})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "chinchilla", bootstrap=20)
        >>> print(repr(fit).splitlines()[0])
        chinchilla: L = E + A / N^α + B / D^β
        >>> {term: round(value, 2) for term, value in fit.values.items()}
        {'E': 1.7, 'A': 400.0, 'B': 400.0, 'alpha': 0.34, 'beta': 0.28}
        >>> fit.predict(N=7e10, D=1.4e12)[["loss", "low", "high"]].round(3).to_numpy()
        array([[1.941, 1.941, 1.941]])
        >>> fit.allocate(C=1e21)["tokens_per_parameter"].round(1).item()
        48.4
        >>> axes = fit.plot("isoloss")
        >>> axes.get_xlabel()
        'Model size N (parameters)'
    """

    def plot(
        self,
        card: str,
        ax: Axes | None = None,
        *,
        style: str = "screen",
        width: float | None = None,
        **options,
    ) -> Axes | np.ndarray:
        """Draw a figure card of this fit alone, such as "isoloss" or "bootstrap_pairs".

        Args:
            card: a figure card that reads nothing but a fit (docs/cards.md).
            ax: where to draw, for a card of one panel; a new pyplot figure if None.
            style: `screen`, or `paper`: no title, text of 7 to 9 points, symbols as formulas, and
                your own settings of Matplotlib (fonts, colours).
            width: inches of a figure for a paper, 2 to 20; 3.25 (a column) if None.
            options: of the card.

        Returns:
            The Axes; of a card of several panels an array of them, in the order of the panels.

        Raises:
            IsolossError: there is no such card or style, the card needs more than this fit, `ax`
                is given for a card of several panels, or `width` for a screen.
        """
        # by its name, so that code which draws is not part of the code that fits (provenance)
        drawing = importlib.import_module("isoloss.figures._one_fit")
        return drawing.draw(self, card, ax, options, style, width)

    def save(self, folder: str | Path, law: str = "law", **facts) -> list[Path]:
        """Write the tables into a folder, under the name of the fit (`law`); their files."""
        named = {name: self.tables[name] for name in TABLES}
        return tables.write_all(named, folder, {**self.facts, "law": law, **facts})

    def __repr__(self) -> str:
        """A short report: law, runs, parameters with intervals, status."""
        return report.text(self)

    def _repr_html_(self) -> str:
        """The same as a small table, for notebooks."""
        return report.html(self)
