"""What laws that are found blind, typed, or guessed by the front door are worth on held-out runs.

Five tables of public tasks of scaling-law discovery (SLDBench; Lin et al. 2025), where
ISOLOSS_REFERENCE_DATA names a folder with sldbench/. Each law sees the train split and the names of
its columns. Scored is the test split, which lies outside it: 1 - mean squared error / variance over
all groups of a task, the mean over responses, not below -1. Contenders:

- front door: `isoloss law TABLE` as it stands; a table that it refuses counts -1;
- known form: the formula of known_forms.yaml, typed;
- search: the best law of `isoloss discover`, and the median of its best five;
- published: the expert's law and the best agent, as PROVENANCE.md gives them.

Run `ISOLOSS_REFERENCE_DATA=... python benchmarks/discovery.py`. With `--train-only` the test splits
stay closed: in their place the largest values of every variable are held out of the train split.
`--quick` takes the two smallest tables, train only, with one part of each held out, and writes
nothing. `--known-only` scores the known forms alone, in a minute. `--choose` scores nothing: it
ranks the forms of known_forms_candidates.yaml by `isoloss.choose_law` on the train splits, which
says what belongs in known_forms.yaml. Nothing may be chosen by the test splits.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

import isoloss
from isoloss.core.problems import IsolossError
from isoloss.core.tables import write_free
from isoloss.discovery.roles import level_of

HERE = Path(__file__).parent
PUBLISHED = {  # expert's law, best agent
    "moe": (0.703, 0.962),
    "vocab": (0.966, 0.989),
    "lr_bsz": (-0.076, 0.983),
    "data_constrained": (0.911, 0.927),
    "domain_mixture": (0.671, 0.998),
}
RESPONSES = {
    "moe": ("loss_validation",),
    "vocab": ("unigram_normalized_loss",),
    "lr_bsz": ("lm_loss",),
    "data_constrained": ("loss",),
    "domain_mixture": tuple(f"loss_domain_{i}" for i in range(1, 6)),
}
MOST = 1100  # runs on which candidates are compared
LARGEST, SHARE = 0.4, 0.15  # of the runs held out by --train-only, at most; by all variables

Predicted = pd.DataFrame  # a column a response
Predict = Callable[[str, pd.DataFrame, pd.DataFrame], dict[str, Predicted]]


@dataclass(frozen=True)
class Split:
    """A table to fit and one to predict."""

    task: str
    name: str
    train: pd.DataFrame
    test: pd.DataFrame


def score(observed: pd.DataFrame, predicted: pd.DataFrame) -> float:
    """R2 over all groups, the mean over responses, not below -1."""
    values = []
    for name in observed:
        y, made = observed[name].to_numpy(), predicted[name].to_numpy()
        error = np.mean((y - made) ** 2) if np.isfinite(made).all() else np.inf
        values.append(1 - error / np.var(y))
    return max(-1.0, float(np.mean(values)))


def splits(folder: Path, task: str, train_only: bool) -> Iterator[Split]:
    """The split of a task, or those inside its train split."""
    train = pd.read_parquet(folder / f"{task}.train.parquet")
    if not train_only:
        yield Split(task, "test", train, pd.read_parquet(folder / f"{task}.test.parquet"))
        return
    for name, out in edges(train, RESPONSES[task]):
        yield Split(task, name, train[~out].reset_index(drop=True), train[out])


def edges(table: pd.DataFrame, responses: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """The runs with the largest value of each variable, and with the largest product of sizes."""
    variables = [name for name in table if name not in ("group", *responses)]
    for name in variables:
        levels = table.groupby("group")[name].transform(lambda x: level_of(x.to_numpy()))
        top = levels.max() - (1 if levels.max() >= 10 else 0)
        out = (levels >= top).to_numpy()
        if 4 <= out.sum() <= LARGEST * len(table):
            yield f"largest {name}", out
    sizes = [name for name in variables if (table[name] > 0).all()]
    if len(sizes) > 1:
        product = np.log(table[sizes]).sum(axis=1)
        yield "largest product", (product > product.quantile(1 - SHARE)).to_numpy()


def searched(task: str, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Predicted]:
    """The best law of the search, and the median of the best five."""
    if task == "domain_mixture":
        answer = isoloss.discover(train)
        print(f"    {answer.best.card}")
        return {
            "search: best": answer.predict(test, best=True),
            "search: median of five": answer.predict(test),
        }
    (response,) = RESPONSES[task]
    answer = isoloss.discover(train, response=response)
    print(f"    {answer.best.formula}")
    print(f"    spread of the best five: {answer.edge:.1%} at the edge, {answer.beyond:.1%} beyond")
    return {
        "search: best": pd.DataFrame({response: answer.best.predict(test)}),
        "search: median of five": pd.DataFrame({response: answer.predict(test)}),
    }


def front_door(task: str, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Predicted]:
    """`isoloss law TABLE` as it stands."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        train.to_parquet(file := f"{task}.parquet")
        quick = isoloss.law_of_table(file, bootstrap=0, interval="none")
        return {"front door": _by_fit(task, quick, test)}


def _by_fit(task: str, quick, test: pd.DataFrame) -> Predicted:
    """What a quick fit predicts of a table with the same columns."""
    fit, meaning = quick.fit, quick.answer.meaning
    names = {new: old for old, new in meaning.renamed.items()}
    made = pd.DataFrame(index=test.index, columns=list(RESPONSES[task]), dtype=float)
    groups = test["group"].astype(str)
    for group in dict.fromkeys(groups):
        here = groups == group
        columns = {v: names.get(v, meaning.columns.get(v, v)) for v in fit.law.variables}
        values = {v: test.loc[here, column].to_numpy() for v, column in columns.items()}
        for response in RESPONSES[task]:
            own = meaning.renamed.get(response)
            told = {} if own is None else {"response": own}
            told |= {"group": group} if group in set(fit.params["group"]) else {}
            made.loc[here, response] = fit.predict(**values, **told)["loss"].to_numpy()
    return made


def known(task: str, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Predicted]:
    """The form of the literature, typed: every response, and every group with its own constants."""
    forms = yaml.safe_load((HERE / "known_forms.yaml").read_text(encoding="utf-8"))[task]
    made = pd.DataFrame(index=test.index, columns=list(RESPONSES[task]), dtype=float)
    for response in RESPONSES[task]:
        formula = forms[response] if isinstance(forms, dict) else forms
        columns = {"group": "group"} | ({"loss": "loss"} if response == "loss" else {})
        runs = isoloss.read_runs(train, columns, need=0)
        fit = isoloss.fit_law(runs, formula=formula, bootstrap=0, interval="none")
        for group, rows in test.groupby("group"):
            values = {name: rows[name].to_numpy() for name in fit.law.variables}
            predicted = fit.predict(**values, group=str(group))
            column = response if response in predicted else "loss"
            made.loc[rows.index, response] = predicted[column].to_numpy()
    return {"known form": made}


def candidates() -> dict[str, dict[str, str]]:
    """The candidates of every task that has some: formula to what it is called."""
    given = yaml.safe_load((HERE / "known_forms_candidates.yaml").read_text(encoding="utf-8"))
    return {
        task: {_renamed(text, one["names"]): name for name, text in one["forms"].items()}
        for task, one in given.items()
    }


def _renamed(text: str, names: dict[str, str]) -> str:
    """A formula in the names of the columns."""
    return re.sub(r"[^\W\d]\w*", lambda match: names.get(match[0], match[0]), text)


def choose(folder: Path, tasks: list[str]) -> None:
    """Print the candidates of each task by the rule for typed laws, on its train split."""
    columns = ["name", "parameters", "error", "score", "first", "within", "loose", "adrift"]
    for task, forms in candidates().items():
        if task not in tasks:
            continue
        begin = time.process_time()
        train = pd.read_parquet(folder / f"{task}.train.parquet")
        if len(train) > MOST:
            train = train.sample(MOST, random_state=0).sort_index().reset_index(drop=True)
        choice = isoloss.choose_law(train, list(forms))
        seconds = time.process_time() - begin
        print(f"{task}: {len(train)} runs, {len(choice.holdouts)} hold-outs, {seconds:.0f} s")
        named = choice.ranking.assign(name=choice.ranking["formula"].map(forms))
        print(named[columns].round(4).to_string())
        print(f"best: {forms[choice.best]}; simplest: {forms[choice.simplest]}")
        print(f"disagreement beyond the runs {choice.spread:.0%}\n{choice.best}\n", flush=True)


def contend(split: Split, contender: Predict, what: str) -> Iterator[dict[str, object]]:
    """One row a law of a contender: its score on a split, and the seconds of the processor."""
    begin, note = time.process_time(), ""
    try:
        made = contender(split.task, split.train, split.test)
    except IsolossError as error:
        made, note = {what: None}, f"refused: {error}".splitlines()[0][:200]
    seconds = time.process_time() - begin
    observed = split.test[list(RESPONSES[split.task])]
    for name, predicted in made.items():
        value = -1.0 if predicted is None else score(observed, predicted)
        yield {
            "work": f"{split.task}, {split.name}",
            "task": split.task,
            "contender": name,
            "score": value,
            "seconds": seconds,
            "note": note,
        }


def main() -> None:
    """Print a table and write it as Parquet."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--train-only", action="store_true", help="keep the test splits closed")
    options.add_argument("--quick", action="store_true", help="two small tables, train only")
    options.add_argument("--tasks", nargs="+", default=list(PUBLISHED), help="some of them")
    options.add_argument(
        "--without", nargs="+", default=[], help="contenders: front, known, search"
    )
    options.add_argument("--known-only", action="store_true", help="the known forms alone")
    options.add_argument("--choose", action="store_true", help="rank the candidates, train only")
    options.add_argument("--out", type=Path, help="Parquet to write (results/discovery.parquet)")
    given = options.parse_args()
    folder = Path(os.environ["ISOLOSS_REFERENCE_DATA"]) / "sldbench"
    contenders = {"front": (front_door, "front door"), "known": (known, "known form")}
    contenders |= {"search": (searched, "search: best")}
    tasks = ["moe", "domain_mixture"] if given.quick else given.tasks
    train_only = given.train_only or given.quick
    if given.choose:
        choose(folder, tasks)
        return
    if given.known_only:
        contenders = {"known": contenders["known"]}
    rows = []
    for task in tasks:
        every = splits(folder, task, train_only)
        for split in islice(every, 1) if given.quick else every:
            print(
                f"{split.task}, {split.name}: {len(split.train)} runs, {len(split.test)} held out"
            )
            for name, (contender, what) in contenders.items():
                if name in given.without:
                    continue
                for row in contend(split, contender, what):
                    rows.append(row)
                    print(f"  {row['contender']:24s} {row['score']:6.3f} {row['seconds']:6.1f} s "
                          f"{row['note']}", flush=True)  # fmt: skip
    table = pd.DataFrame(rows)
    if not train_only:
        for task in tasks:
            for name, value in zip(("expert's law", "best agent"), PUBLISHED[task], strict=True):
                table.loc[len(table)] = [f"{task}, test", task, name, value, np.nan, "published"]
    print(table.pivot_table(index="contender", columns="task", values="score", sort=False)
          .assign(mean=lambda t: t.mean(axis=1)).round(3).to_string())  # fmt: skip
    name = "discovery-known" if given.known_only else "discovery"
    name += "-train" if train_only else ""
    file = given.out or HERE / "results" / f"{name}.parquet"
    if given.out or not given.quick:
        write_free(pa.Table.from_pandas(table, preserve_index=False), file, {})


if __name__ == "__main__":
    main()
