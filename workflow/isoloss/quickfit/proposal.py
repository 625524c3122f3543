"""A formula for the columns of a table: what the quick fit proposes where more of them vary.

The rules are few and by the role of a column: a size has a power term, experts stand in a product
with the size, a vocabulary in products with N and with D, a learning rate or a batch size has a
parabola in its logarithm, anything else that may be zero has a straight line. Proportions of a
mixture have laws of their own and are left out.
"""

from __future__ import annotations

import keyword
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.aggregate.numbers import read_numbers
from isoloss.aggregate.table import OWN
from isoloss.core import tables
from isoloss.formats.names import bare, words_of
from isoloss.formulas.tree import FUNCTIONS
from isoloss.quickfit.ask import FILES, pasted
from isoloss.quickfit.report import Meaning

SIZE, VOCABULARY, EXPERTS, BEST = "size", "vocabulary", "experts", "best"
SHARE, LINE, NONE = "share", "line", ""
ROLES = (SIZE, VOCABULARY, EXPERTS, BEST, SHARE, LINE)
_WORDS = {
    EXPERTS: {"expert", "experts", "moe"},
    VOCABULARY: {"vocab", "vocabulary"},
    BEST: {"lr", "bsz", "batch", "bs", "temperature", "wd", "momentum"},
}
_BEST_NAMES = ({"learning", "rate"}, {"weight", "decay"})
_OF_SIZES = {"lr", "rate", "decay", "wd"}  # words of settings whose best depends on N and D
_OF_DATA = {"bsz", "batch", "bs"}  # whose best depends on D (Step Law, arXiv:2503.04715)
_NOT_VARIABLES = set(
    """
    seed id ids idx index path name file time timestamp date hours hour minutes minute seconds
    second sec s ms speed runtime duration memory mem gpu gpus util utilization mfu hfu norm grad
    grads gradient gradients std stderr stddev se var variance sem loss losses ppl perplexity acc
    accuracy error err bpb bpc nll entropy score rank world ci low high lower upper residual pred
    predicted prediction fitted weight version hash unnamed row run trial group eval val valid
    validation test throughput per step steps iter iters iteration iterations
    brier f1 auc auroc bleu rouge em exact match pass recall mse rmse mae r2 reward regret elo win
    winrate top1 top5 mmlu hellaswag piqa winogrande boolq gsm8k humaneval mbpp lambada triviaqa
    squad glue superglue openbookqa sciq nats ce xent cross crossentropy regret correct
    """.split()  # noqa: SIM905
)
_AMPLITUDES = ("A", "B", "F", "G", "H", "K", "M", "P", "Q")
_EXPONENTS = ("alpha", "beta", "gamma", "delta", "eta", "kappa", "phi", "psi", "omega")
_VOCAB = "vocab"  # the variable of the card vocabulary
_PLAIN = (("N", "A", "alpha"), ("D", "B", "beta"))  # terms where no further column varies
_LETTERS = ("N", "D", "C")
_APART = 0.1  # spread of the logarithm of a size that others do not give
_LEAST, _FACTOR = 3, 1.5  # different values of a variable, and largest over smallest, of a size
_MOST_VARIABLES = 6
_RUNS_PER_PARAMETER = 2
_GUESSES = {  # variables of laws in more than N and D, and the words of columns that hold them
    "experts": ({"experts"}, {"expert", "count"}),
    "vocab": ({"vocab"}, {"vocabulary"}),
    "lr": ({"lr"}, {"learning", "rate"}),
    "batch": ({"batch"}, {"bsz"}, {"bs"}),
    "bits": ({"bits"}, {"precision"}),
    "sparsity": ({"sparsity"},),
    "granularity": ({"granularity"},),
    "streams": ({"streams"}, {"parallel"}),
    "teacher_loss": ({"teacher", "loss"},),
}


@dataclass
class _Names:
    """Names that a formula has not used yet."""

    taken: set[str]

    def next(self, choices: Sequence[str]) -> str:
        """The first of some names that is free; with a number behind it where none is."""
        numbered = (f"{name}_{i}" for i in range(1, len(self.taken) + 2) for name in choices)
        name = next(one for one in (*choices, *numbered) if one not in self.taken)
        self.taken.add(name)
        return name


def propose(columns: Mapping[str, np.ndarray], response: str = "loss") -> str:
    """A formula with a term for every column, by its role.

    Args:
        columns: name in the formula (N, D, C, or a name as `name_of` gives it) to values, (n,);
            those of `varying` are meant.
        response: left side of the formula.

    Returns:
        The formula. Columns beyond six, and those for which there are too few runs, are left out.

    Example:
        >>> import numpy as np
        >>> n, experts = np.geomspace(1e7, 1e9, 40), np.tile([1, 8, 64, 512], 10)
        >>> propose({"N": n, "num_experts": experts})
        'loss = E + A / (N**alpha * num_experts**gamma)'
        >>> propose({"N": n, "lr": np.tile([1e-4, 1e-3, 1e-2, 1e-1], 10)})
        'loss = E + A / N**alpha + B * log(lr / (best_lr * (N / 1e8)**n_lr))**2'
        >>> propose({"N": n, "D": 20 * n, "vocab_size": np.tile([4e3, 8e3, 16e3, 32e3], 10)})
        'loss = E + A / (N * vocab_size)**alpha + B * vocab_size**gamma / D**beta'
    """
    roles = {name: role_of(name, values) for name, values in columns.items()}
    names = _Names({*columns, response})
    offset = names.next(["E", "E_0"])
    left = max((len(values) for values in columns.values()), default=0) // _RUNS_PER_PARAMETER - 1
    terms = [offset]
    order = sorted(
        columns, key=lambda name: (name not in _LETTERS, ROLES.index(roles[name] or LINE))
    )
    sizes = [name for name in order if roles[name] == SIZE]
    experts = [name for name in order if roles[name] == EXPERTS][:1] if sizes else []
    entries = [name for name in order if roles[name] == VOCABULARY][:1]
    entries = entries if sizes[:2] == ["N", "D"] else []
    for name in order[:_MOST_VARIABLES]:
        role = roles[name]
        if role in (NONE, SHARE) or name in (*experts, *entries):
            continue
        product = experts if [name] == sizes[:1] else []
        shared = entries if name in sizes[:2] else []
        grows = _grows_with(name, columns) if role == BEST else {}
        while grows and 2 + len(grows) > left:
            grows.popitem()
        needs = 2 + len(product) + len(grows) + (len(shared) if name in sizes[1:2] else 0)
        if needs > left:
            continue
        left -= needs
        if grows:
            terms.append(_best(name, grows, names))
        elif shared and name in sizes[1:2]:
            terms.append(_starved(name, shared[0], names))
        else:
            own = f"({name} * {shared[0]})" if shared else name
            terms.append(_term(own, role, product, names))
    return f"{response} = {' + '.join(terms)}"


def _term(name: str, role: str, product: Sequence[str], names: _Names) -> str:
    """The term of a column, or of a product of two, in a product with others."""
    amplitude = names.next(_AMPLITUDES)
    if role == LINE:
        return f"{amplitude} * {name}"
    if role == BEST:
        best = names.next([f"best_{name}"])
        return f"{amplitude} * log({name} / {best})**2"
    exponent = names.next(_EXPONENTS)
    if not product:
        return f"{amplitude} / {name}**{exponent}"
    return f"{amplitude} / ({name}**{exponent} * {product[0]}**{names.next(_EXPONENTS[2:])})"


def _starved(name: str, entries: str, names: _Names) -> str:
    """The term of the data that entries of a vocabulary share: each sees less of them."""
    amplitude, exponent = names.next(_AMPLITUDES), names.next(_EXPONENTS)
    return f"{amplitude} * {entries}**{names.next(_EXPONENTS[2:])} / {name}**{exponent}"


def _grows_with(name: str, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The sizes that the best value of a setting is a power of, each with its usual value.

    Those of Step Law: of a learning rate N and D, of a batch size D; what a table lacks, or what
    says no more than another size, is left out.
    """
    words = set(words_of(bare(name)))
    order = "ND" if words & _OF_SIZES else "D" if words & _OF_DATA else ""
    if order and not set(order) & set(columns):
        order = "NC"
    logs: list[np.ndarray] = [np.ones(len(columns[name]))]
    powers: dict[str, float] = {}
    for letter in (one for one in order if one in columns):
        values = columns[letter]
        known = np.isfinite(values) & (values > 0)
        if not known.all():
            continue
        log = np.log(values)
        matrix = np.stack([*logs, log], axis=1)
        rest = log - matrix[:, :-1] @ np.linalg.lstsq(matrix[:, :-1], log, rcond=None)[0]
        if np.std(rest) > _APART:
            logs.append(log)
            powers[letter] = 10.0 ** round(float(log.mean()) / np.log(10.0))
    return powers


def _best(name: str, powers: Mapping[str, float], names: _Names) -> str:
    """The term of a setting whose best value is a power of sizes."""
    amplitude, best = names.next(_AMPLITUDES), names.next([f"best_{name}"])
    factors = [
        f"({letter} / {usual:.0e})**{names.next([f'{letter.lower()}_{name}'])}".replace("e+0", "e")
        for letter, usual in powers.items()
    ]
    return f"{amplitude} * log({name} / ({' * '.join([best, *factors])}))**2".replace("e+", "e")


def role_of(name: str, values: np.ndarray) -> str:
    """What a column is in a law, by its name and its values; empty where it is not a variable.

    >>> import numpy as np
    >>> role_of("vocab_size", np.array([4096, 8192, 32768])), role_of("seed", np.arange(9))
    ('vocabulary', '')
    >>> role_of("lr", np.array([1e-4, 3e-4, 1e-3])), role_of("p_web", np.array([0.1, 0.5, 0.9]))
    ('best', 'share')
    """
    words = words_of(bare(name))
    values = np.asarray(values, dtype=float)
    different = np.unique(values[np.isfinite(values)])
    if len(different) < 2:
        return NONE
    positive = different[0] > 0
    if positive and len(different) >= _LEAST:
        of_best = _WORDS[BEST] & set(words) or any(one <= set(words) for one in _BEST_NAMES)
        if of_best and "ratio" not in words:
            return BEST
    if _NOT_VARIABLES & set(words):
        return NONE
    if name.startswith(("p_", "loss_")):
        return SHARE if name.startswith("p_") else NONE
    if positive and _WORDS[EXPERTS] & set(words) and len(different) >= _LEAST:
        return EXPERTS
    if positive and len(different) >= _LEAST and different[-1] / different[0] >= _FACTOR:
        return VOCABULARY if _WORDS[VOCABULARY] & set(words) else SIZE
    return LINE if len(different) >= _LEAST else NONE


def varying(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns that a formula can be proposed for: not seeds, times or constants."""
    return {
        name: values
        for name, values in columns.items()
        if role_of(name, values) not in (NONE, SHARE)
    }


def name_of(column: str) -> str:
    """The name of a column in a formula: itself, where it is one; else its letters and digits.

    >>> name_of("num_experts"), name_of("Batch size (tokens)"), name_of("lambda"), name_of("2nd")
    ('num_experts', 'Batch_size_tokens', 'lambda_', 'x_2nd')
    """
    name = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", column)).strip("_") or "x"
    name = f"x_{name}" if not name[0].isalpha() else name
    taken = keyword.iskeyword(name) or name in {*FUNCTIONS, *tables.schema("runs").names, *OWN}
    return f"{name}_" if taken else name


def command(
    raw: pd.DataFrame,
    source: str,
    columns: Mapping[str, str],
    unused: Sequence[str],
    response: str | None = None,
) -> str:
    """The command of a quick fit with a formula for the columns that vary, for a shell.

    Args:
        raw: the table.
        source: what it is called.
        columns: letter or word to column, as far as they are known.
        unused: columns of numbers that are none of these.
        response: column that is fitted; None for the loss.

    Returns:
        A line to paste; empty where no further column varies, or nothing to fit is known.
    """
    if any(column not in raw for column in columns.values()):
        return ""  # which is told
    if response is None and "loss" not in columns:
        return ""
    sizes = [letter for letter in _LETTERS if letter in columns][:2]  # any two give the third
    named = {name_of(column): column for column in unused if column not in columns.values()}
    values = {name: read_numbers(raw[column]).values for name, column in named.items()}
    further = varying({name: one for name, one in values.items() if name not in sizes})
    if not further:
        return ""
    own = {letter: read_numbers(raw[columns[letter]]).values for letter in sizes}
    left = "loss" if response is None else name_of(response)
    formula = propose({**own, **further}, left)
    other = {name: named[name] for name in further if name != named[name] and name in formula}
    words = ["python -m isoloss law", _in_shell(source)]
    words += ["--formula", shlex.quote(formula)]
    words += [pasted(other)] if other else []
    words += ["--response", shlex.quote(response)] if response not in (None, left) else []
    return " ".join(words)


def ways_below_zero(raw: pd.DataFrame, meaning: Meaning) -> list[str]:
    """Commands that fit a loss with values of 0 or below, for a shell; the likeliest first.

    Args:
        raw: the table.
        meaning: of its columns, of which one is the loss.
    """
    columns, table = meaning.columns, _in_shell(meaning.source)
    pairs = {key: columns[key] for key in ("N", "D", "loss") if key in columns}
    free = [one for one in meaning.guess.unused if one not in columns.values()]
    vocab = column_for(_VOCAB, free)
    lines = []
    if vocab is not None and len(pairs) == 3:
        named = pasted({**pairs, _VOCAB: vocab})
        lines.append(f"python -m isoloss law {table} --law vocabulary {named}")
    unused = meaning.guess.unused
    proposed = meaning.proposal or command(raw, meaning.source, columns, unused)
    terms = [f"{a} / {x}**{b}" for x, a, b in _PLAIN if x in columns and x in pairs]
    plain = " + ".join(["E", *(terms or ["A / C**alpha"])])
    typed = f"python -m isoloss law {table} --formula {shlex.quote(f'loss = {plain}')}"
    return [*lines, proposed or f"{typed} {pasted(pairs)}"]


def _in_shell(source: str) -> str:
    """A table as it is named in a line to paste."""
    return FILES if ", " in source else shlex.quote(source)


def column_for(variable: str, columns: Sequence[str]) -> str | None:
    """The column that holds a variable of a law in more than N and D, if one alone is called so.

    >>> column_for("experts", ["num_experts", "lr"]), column_for("lr", ["learning_rate"])
    ('num_experts', 'learning_rate')
    >>> column_for("experts", ["lr"]) is None
    True
    """
    if variable in columns:
        return variable
    fitting = list(_called(variable, columns))
    return fitting[0] if len(fitting) == 1 else None


def _called(variable: str, columns: Sequence[str]) -> Iterator[str]:
    """The columns whose names have the words of a variable."""
    for column in columns:
        words = set(words_of(bare(column)))
        if any(one <= words for one in _GUESSES.get(variable, ({variable},))):
            yield column
