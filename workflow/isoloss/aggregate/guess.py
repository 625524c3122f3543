"""Guess what the columns of a user's table hold from their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pandas as pd

# Names in use, without case, spaces and underscores; the first that is there is taken.
NAMES = {
    "N": (
        "n params numparams nparams parameters nparameters modelsize paramcount parametercount "
        "numparameters modelparams totalparams nonembeddingparams paramsnonembedding size"
    ),
    "D": (
        "d tokens ntokens numtokens trainingtokens traintokens tokenstrained tokensseen nsamples "
        "samples numsamples datasize trainsamples examples nexamples dataset datasetsize data"
    ),
    "C": (
        "c flops flop nflops compute trainingcompute trainingflops trainflops totalflops "
        "computeflops"
    ),
    "U": "u uniquetokens nunique uniquesamples unique ud",
    "loss": (
        "loss l lossnats valloss validationloss evalloss testloss finalloss losseval lossval "
        "losstest crossentropy finaltestloss trainloss lossoverall"
    ),
    "group": "group",
    "run_id": "runid run id name label index row",
    "fit_weight": "fitweight",
}
OF_RUN = ("run", "runid")  # what a column of runs is called
_ANY_NAME = re.IGNORECASE | re.DOTALL
_PROPORTION = re.compile(r"(?:p|prop|proportion|mix|mixture|share)_(.+)", _ANY_NAME)
_LOSS = re.compile(r"(?:val|valid|validation|eval|test)?_?loss_(.+)|(.+)_loss", _ANY_NAME)


def guess_columns(columns: Iterable[str]) -> dict[str, str]:
    """Guess which columns hold N, D, C, U, loss, group, run_id and fit_weight."""
    columns = list(columns)
    known = {re.sub(r"[\W_]", "", str(column)).lower(): str(column) for column in columns}
    guesses = {}
    for letter, names in NAMES.items():
        for name in names.split():
            if name in known and known[name] not in guesses.values():
                guesses[letter] = known[name]
                break
    if "group" not in guesses:
        groups = [str(c) for c in columns if str(c).lower().endswith("_group")]
        guesses |= {"group": groups[0]} if groups else {}
    return guesses


def mixture_columns(columns: Iterable[str]) -> dict[str, str]:
    """New names, p_<domain> and loss_<domain>, of columns of proportions and losses by domain.

    Empty unless there are two proportions and a loss: otherwise it is not a table of mixtures.
    """
    columns = [str(column) for column in columns]
    shares = {c: f"p_{m[1]}" for c in columns if (m := _PROPORTION.fullmatch(c))}
    losses = {
        c: f"loss_{m[1] or m[2]}" for c in columns if c not in shares and (m := _LOSS.fullmatch(c))
    }
    return {**shares, **losses} if len(shares) > 1 and losses else {}


def run_ids(raw: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, str]:
    """The columns, without a run_id whose values are not unique.

    One that is called after runs and appears in several rows names the run of its points.
    """
    name = columns.get("run_id")
    if name is None or not (raw[name].duplicated().any() or raw[name].isna().any()):
        return dict(columns)
    others = {k: v for k, v in columns.items() if k != "run_id"}
    called = re.sub(r"[\W_]", "", str(name)).lower() in OF_RUN
    return others | ({"of_run": name} if called and raw[name].notna().all() else {})
