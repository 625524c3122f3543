"""How mixture laws predict far outside their runs: the largest shares of RegMix's training runs.

Of RegMix's 512 training runs (Liu et al., arXiv:2407.01492, 1M parameters) 100 are held out that
lie at an end of the sweep, and 200 of the others, drawn at random, are fitted. The ends: `far`, the
runs farthest from the mean mixture; `own`, those with the largest share of the loss's own domain;
`other`, those with the largest share of any other. Seven losses each. Printed are the mean rank
correlation, RMSE over the SD of the losses held out, and the share that the 95 % interval of a new
run holds. RegMix's test runs and its runs of other sizes are not read.

The length of the additive process of `mixture_power` on the axis of log shares was chosen with
it, and by the works of `mixture_prior.py`: with 0.5, as it was, the process falls back to its mean
within the last factors of a share, where no run bounds it, and its interval does not show that.

Run `ISOLOSS_REFERENCE_DATA=... python benchmarks/mixture_far.py`, with `--quick` for one loss.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from isoloss.fit.objectives import Objective
from isoloss.fit.scores import rank_correlation
from isoloss.fit.solve import Constraints, solve
from isoloss.laws._law import Law
from isoloss.laws._make import made_law
from isoloss.laws._process import HYPERPARAMETERS
from isoloss.laws.mixture_power import MixturePower

LOSSES = (
    *("pile_cc", "arxiv", "github", "wikipedia_en"),
    *("pubmed_central", "stackexchange", "freelaw"),
)
OUT, SEEN = 100, 200  # runs held out, and fitted
WIDE = 1.96  # SDs on either side that hold 95 % of a normal
LENGTHS = [(0.5, 1.0), (2.0, 1.0), (2.0, 2.0), (4.0, 4.0)]  # additive and joint process
OTHERS = ("transfer_power", "exponential_mixing", "linear_mixture")
PUBLISHED = Objective("huber", 0.05)  # of the exponential law, in the loss

Make = Callable[[list[str], str], Law]


def ends(shares: np.ndarray, own: int) -> Iterator[tuple[str, np.ndarray]]:
    """Ends of the sweep with the runs in their order, those at the end last."""
    others = np.delete(shares, own, axis=1).max(axis=1)
    far = ((shares - shares.mean(axis=0)) ** 2).sum(axis=1)
    for name, key in (("far", far), ("own", shares[:, own]), ("other", others)):
        yield name, np.argsort(key, kind="stable")


def scores(table: pd.DataFrame, losses: tuple[str, ...], make: Make) -> pd.DataFrame:
    """One row a loss and an end."""
    shares = table.filter(like="p_")
    shares = shares.div(shares.sum(axis=1), axis=0)  # they are rounded
    names, mixtures = list(shares), shares.to_numpy()
    rows = []
    for domain in losses:
        loss = table[f"loss_{domain}"].to_numpy()
        for end, order in ends(mixtures, names.index(f"p_{domain}")):
            out, rest = order[-OUT:], order[:-OUT]
            seen = np.random.default_rng(0).permutation(rest)[:SEEN]
            data, there = (dict(zip(names, mixtures[at].T, strict=True)) for at in (seen, out))
            law = make(names, f"loss_{domain}")
            best = solve(law, data, loss[seen], np.ones(SEEN), PUBLISHED, Constraints()).estimate
            law = law.given(best.state)
            error = law.loss(best.theta, there) - loss[out]
            sd = law.posterior_sd(best.theta, there, noise=True)
            held = np.mean(np.abs(error) < WIDE * sd) if sd.any() else np.nan
            rank = rank_correlation(loss[out], error + loss[out])
            rmse = np.sqrt(np.mean(error**2)) / loss[out].std()
            rows.append({"end": end, "rank": rank, "rmse": rmse, "coverage": held})
    return pd.DataFrame(rows)


def contenders() -> dict[str, Make]:
    """Lengths of the processes of `mixture_power`, and other cards."""

    def power(lengths: tuple[float, float]) -> Make:
        hyper = replace(HYPERPARAMETERS, lengths=lengths)
        return lambda names, response: MixturePower(names, None, hyper).for_response(response)

    def card(name: str) -> Make:
        return lambda names, response: made_law(name, {}, names).for_response(response)

    makers = {f"mixture_power, lengths {a:g} and {b:g}": power((a, b)) for a, b in LENGTHS}
    return makers | {name: card(name) for name in OTHERS}


def main() -> None:
    """Score all and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one loss")
    asked = parser.parse_args()
    folder = os.environ.get("ISOLOSS_REFERENCE_DATA")
    if not folder:
        parser.error("ISOLOSS_REFERENCE_DATA names no folder with regmix/")
    table = pd.read_csv(Path(folder) / "regmix" / "train_1m.csv")
    with threadpool_limits(limits=1):
        for name, make in contenders().items():
            rows = scores(table, LOSSES[:1] if asked.quick else LOSSES, make)
            each = rows.groupby("end", sort=False).mean()
            each.loc["mean"] = rows.drop(columns="end").mean()
            print(f"\n{name}\n{each.round(3).to_string(na_rep='')}", flush=True)


if __name__ == "__main__":
    main()
