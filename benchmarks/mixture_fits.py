"""How long mixture laws take on a table of many losses: every law, fits and replicates and folds.

Two works, each as `fit_law` does it for `isoloss law TABLE`: 200 replicates of every loss, and
scores on ten random folds. `drawn`: 20 runs of 7 domains with 22 losses, of a known law with noise.
`5mix`: 26 runs of 5 domains with 22 losses (Ye et al., arXiv:2403.16952, 410M, step 30000), where
ISOLOSS_REFERENCE_DATA names a folder with mixinglaws/. Seconds are those of the processor.

Run `python benchmarks/mixture_fits.py`, with `--quick` for 20 replicates of few losses. Give
`--before FILE` the Parquet of another version on the same machine for the ratios.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa

import isoloss
from isoloss.aggregate.table import Rules, read_table
from isoloss.core import registry
from isoloss.core.tables import write_free

RESULTS = Path(__file__).parent / "results"
OURS = "mixture_power"
CARDS = sorted(n for n in registry.names("law") if registry.of_mixtures(n))
DOMAINS, RUNS, LOSSES = "abcdefg", 20, 22
NOISE = 0.004  # of a loss, nats
FOLDS = {"rule": "random", "repeats": 10}  # as in the quick fit


def drawn(losses: int = LOSSES) -> pd.DataFrame:
    """Runs of mixtures drawn at random, and losses of a power law with straight effects."""
    rng, k = np.random.default_rng(0), len(DOMAINS)
    shares = rng.dirichlet(np.ones(k), RUNS)
    table = {f"p_{d}": shares[:, i] for i, d in enumerate(DOMAINS)}
    for j in range(losses):
        worth = 10 ** rng.uniform(-2.5, -0.3, k)
        if j < k:
            worth[j] = 1.0
        name = DOMAINS[j] if j < k else f"extra{j}"
        straight = 0.05 * shares @ rng.normal(0, 0.5, k)
        noise = NOISE * rng.standard_normal(RUNS)
        table[f"loss_{name}"] = 2.5 + 0.3 * (shares @ worth) ** -0.3 + straight + noise
    return pd.DataFrame(table)


def five_domains(folder: Path, losses: int = LOSSES) -> pd.DataFrame:
    """The runs of Ye et al. at 410M: five domains, and the losses of subsets."""
    table = pd.read_csv(folder / "mixinglaws" / "5mix.csv")
    table = table[(table["step"] == 30000) & (table["model_size"] == "410M")]
    columns = [c for c in table if c.startswith("loss_") and table[c].notna().all()]
    return table[[*table.filter(like="p_"), *columns[:losses]]].reset_index(drop=True)


def timed(name: str, work: str, table: pd.DataFrame, replicates: int) -> dict:
    """The row of a law on a work."""
    runs = read_table(table, Rules({}, need=0)).runs
    began = time.process_time()
    fit = isoloss.fit_law(runs, name, bootstrap=replicates, holdout=FOLDS)
    seconds = time.process_time() - began
    scored = fit.scores["r2"].median()
    return {
        "work": f"{work}, {replicates} replicates",
        "contender": name,
        "seconds": seconds,
        "losses": len(fit.responses),
        "held_out_r2_median": scored,
    }


def main() -> None:
    """Run the works, print a table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="results of another version")
    parser.add_argument("--quick", action="store_true", help="few losses; writes nothing")
    asked = parser.parse_args()
    losses, replicates = (3, 20) if asked.quick else (LOSSES, 200)
    works = {"drawn": drawn(losses)}
    if folder := os.environ.get("ISOLOSS_REFERENCE_DATA"):
        works["5mix"] = five_domains(Path(folder), losses)
    rows = [timed(name, *work, replicates) for work in works.items() for name in CARDS]
    table = pd.DataFrame(rows)
    if asked.before:
        before = pd.read_parquet(asked.before).set_index(["work", "contender"])["seconds"]
        table = table.join(before.rename("seconds_before"), on=["work", "contender"])
        table["ratio"] = table["seconds_before"] / table["seconds"]
    print(table.round(3).to_string(index=False))
    if not asked.quick:
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        write_free(arrow, RESULTS / "mixture_fits.parquet", {"replicates": replicates})


if __name__ == "__main__":
    main()
