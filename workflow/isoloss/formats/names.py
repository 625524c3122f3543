"""What the name of a user's column says: N, D, C, U, tokens per parameter, a loss, or none of them.

A name is cut into words, and its words are scored. Every quantity has heads (`params`, `cross
entropy`), words that make it more or less likely to be the one that a law needs (`val`, `train`),
and words with which it is another thing (`norm`, `per second`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

_STRONG = 7.0  # points of a head that says alone what a column is
WEAK = 4.0  # points of a head that says it only among known words
_UNKNOWN = -1.0  # points of words that no quantity knows, such as the data a loss is of


@dataclass(frozen=True)
class Quantity:
    """How names of a quantity are made.

    Attributes:
        letter: the name of one letter, if it has one.
        heads: phrases that name it, with their points.
        words: further words, with their points; of those that say the split the best counts.
        never: words with which a name is that of another thing.
    """

    letter: str
    heads: Mapping[tuple[str, ...], float]
    words: Mapping[str, float]
    never: frozenset[str]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _heads(**points: str) -> dict[tuple[str, ...], float]:
    """Phrases by their points: `p10="loss, cross entropy"`."""
    return {
        tuple(phrase.split()): float(key[1:])
        for key, phrases in points.items()
        for phrase in phrases.split(",")
    }


def _points(text: str) -> dict[str, float]:
    """Points of words: `val +2, train -2`."""
    pairs = (part.split() for part in text.split(","))
    return {word: float(value) for *words, value in pairs for word in words}


QUANTITIES = {
    "N": Quantity(
        "n",
        _heads(
            p10="params, param, parameters, parameter",
            p9="model size",
            p8="nonembedding",
            p4="size",
        ),
        _points(
            "trainable active activated -0.5, total overall -1, nonembedding -1.5, "
            "precise exact opt optimal 0"
        ),
        _set(
            "group groups embedding embeddings path dtype frozen lora adapter shared expert "
            "draft teacher router batch data dataset set train training"
        ),
    ),
    "D": Quantity(
        "d",
        _heads(
            p10="tokens, toks",
            p9="training set size, train set size",
            p8="token, tok, train size, dataset size, data size, training dataset size, "
            "datapoints, data points",
            p7="samples, examples, images, characters",
            p4="dataset, data",
        ),
        _points(
            "train training trained seen consumed processed pretraining pretrain 1, "
            "input throughput total budget opt optimal 0, data dataset -0.5"
        ),
        _set(
            "eval evaluation val valid validation test dev heldout unique distinct vocab new "
            "generated generation prompt output special pad padding mask masked max min limit "
            "loss embedding accuracy target dt"
        ),
    ),
    "C": Quantity(
        "c",
        _heads(
            p10="flops, flop, flos",
            p9="compute, exaflops, zettaflops, eflops, zflops, yottaflops, exaflop, zettaflop, "
            "eflop, zflop, pf days, pfdays, pflop s days, pflops s days, petaflop s days, "
            "isoflop budget, "
            "pflop days, pflops days, petaflop days, petaflops days, petaflops s days",
            p8="petaflops, pflops, petaflop, pflop, gflops, gigaflops, mflops, tflops, teraflops, "
            "tflop, teraflop, gflop",
        ),
        _points(
            "train training pretraining budget total throughput estimated estimate 0, "
            "nonembedding -1.5, 6nd -0.5"
        ),
        _set(
            "device peak promised available achieved inference forward backward hardware "
            "optimal class multiplier capability"
        ),
    ),
    "U": Quantity(
        "u",
        _heads(
            p10="unique tokens, distinct tokens, tokens unique, tokens distinct, unique train "
            "tokens, unique training tokens",
            p9="unique samples, unique examples, distinct samples, distinct examples, ud",
            p6="unique",
        ),
        _points("train training data dataset total 0"),
        _set("eval val valid validation test max vocab fraction"),
    ),
    "ratio": Quantity(
        "",
        _heads(p10="ratio", p8="tpp"),
        _points("train training total 0, active -0.5, nonembedding -1"),
        _set("learning clip mixture data mask warmup"),
    ),
    "loss": Quantity(
        "l",
        _heads(
            p10="loss, cross entropy, crossentropy",
            p9="nll, xent, negative log likelihood, neg log likelihood",
            p8="ce, bpb, bpc, bits byte",
            p7="perplexity, ppl, pplx",
            p3="error, err, error rate",
            p2="accuracy, acc, top1",
        ),
        _points(
            "val valid validation eval evaluation heldout holdout dev 2, test 1.5, "
            "final last best min 0.5, train training -2, ema smooth smoothed -1, "
            "language causal lm total overall converged terminal top 1 5 0"
        ),
        _set(
            "z aux auxiliary balance balancing balancer load router kl reg regularization distill "
            "distillation weight coef coefficient fn function type kind mask spike spikes delta "
            "gap diff difference improvement threshold target max init initial tokens flops "
            "params rank order clip relative increase excess sem"
        ),
    ),
}
SPLITS = _set("val valid validation eval evaluation heldout holdout dev test")
# words with which a column is none of the quantities
NEVER = _set(
    "norm grad grads gradient gradients std stderr stdev stddev var variance se scale scaler lr "
    "rate id ids idx index path name file dir url batch sec second seconds s speed ms step steps "
    "iter iters iteration iterations time hours hour minutes days runtime duration memory mem gpu "
    "gpus util utilization mfu hfu vocab ctx context length len width depth layers layer heads "
    "per seed epoch epochs wd beta1 beta2 momentum eps rank world warmup decay dropout predicted "
    "prediction pred fitted residual low high lower upper ci interval confidence bar timestamp "
    "version hash"
)
_SHAPES = _set(
    "width depth layers layer heads length len ctx context vocab per low high lower upper"
)
_NEUTRAL = _set(
    "n num number no count counts of the model final last mean avg average overall value in "
    "total run result results lm language raw measured actual full"
)
_UNITS = _set(
    "b m k t g bn mn billion billions million millions thousand thousands trillion trillions nats "
    "nat bits bit base2 1e3 1e6 1e9 1e12 1e15 1e18 1e21 x 10 flop flops tokens token params"
)
_LOGS = _set("log log10 log2 ln")
_LETTER_UNITS = {  # what may stand behind a letter as its unit
    "N": _set("b bn billion billions m million millions params"),
    "D": _set("b bn billion billions t trillion trillions tokens"),
    "C": _set("flop flops"),
    "U": _set("b bn billion billions tokens"),
    "loss": _set("nats bits n d c"),  # L(N, D)
    "ratio": frozenset(),
}
_LOSSES = _set("loss nll ce xent cross entropy crossentropy")
_OF_LOSS = _set("token byte bytes char word nats bits")  # what a loss is per
_OF_PARAMS = _set(
    "total active activated nonembedding non embedding emb embd count num n trainable b m"
)
_SPACES = _set("summary config configs metrics metric params hparams hyperparameters tags")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2,})")
_WITHOUT = _set("non no not without excl excluding exclude ex wo minus")
_WITH = _set("with incl including include plus")
_EMBEDDING = _set("emb embd embed embeds embedding embeddings vocab vocabulary")


@cache
def _vocabulary() -> frozenset[str]:
    """All words that quantities, units and the rest of a name are made of."""
    of_quantities = (
        word
        for quantity in QUANTITIES.values()
        for word in (
            *quantity.words,
            *quantity.never,
            *(w for head in quantity.heads for w in head),
        )
    )
    more = _NEUTRAL | NEVER | _LOGS | _WITHOUT | _EMBEDDING | _UNITS
    return frozenset((*of_quantities, *more))


def of_other_matters(name: str) -> bool:
    """Whether a name is that of something which cannot be the size of a run: a seed, a time.

    >>> of_other_matters("lr"), of_other_matters("wall_time_s"), of_other_matters("depth")
    (True, True, False)
    """
    return bool((NEVER - _SHAPES) & set(words_of(name)))


def of_shapes(name: str) -> bool:
    """Whether a name is that of a model's width, depth or context, which its size depends on.

    >>> of_shapes("n_layers"), of_shapes("n_params")
    (True, False)
    """
    return bool(_SHAPES & set(words_of(name)))


def words_of(name: str) -> list[str]:
    """The words of a column's name, in lower case.

    Cut at everything but letters and digits, at capitals inside a word, and where known words are
    written together. The folder that exports put in front (`summary/`, `config.`) is left out.

    >>> words_of("summary/eval/CrossEntropyLoss"), words_of("config/model.n_params")
    (['eval', 'cross', 'entropy', 'loss'], ['model', 'n', 'params'])
    >>> words_of("numparams"), words_of("params_non_embd"), words_of("C4 Eval Loss")
    (['num', 'params'], ['params', 'nonembedding'], ['c4', 'eval', 'loss'])
    """
    words = []
    for part in re.split(r"[\W_]+", _CAMEL.sub(" ", bare(name))):
        words += _apart(part.lower())
    return _embeddings([word for word in words if word])


def bare(name: str) -> str:
    """The name without the folders that W&B, MLflow and others put in front of it."""
    while match := re.fullmatch(r"([A-Za-z]+)[./](.*[A-Za-z].*)", name, re.DOTALL):
        first, rest = match[1].lower(), match[2]
        words = set(re.split(r"[\W_]+", rest.lower()))
        if first == "time" and words <= {"token", "tokens", "sample", "n"}:
            return rest  # how Composer counts the tokens seen
        if first not in _SPACES or (first == "params" and words <= _OF_PARAMS):
            return name
        name = rest
    return name


@cache
def _apart(word: str) -> tuple[str, ...]:
    """A word, or the fewest known words that it is written together from."""
    known = _vocabulary()
    if word in known or len(word) > 40:
        return (word,)
    best: list[list[str] | None] = [[]]  # of the first so many characters
    for end in range(1, len(word) + 1):
        choices = [
            [*head, word[start:end]]
            for start in range(end)
            if (head := best[start]) is not None
            and word[start:end] in known
            and (end - start > 2 or (word[start:end] in ("n", "ce") and start == 0))
        ]
        best.append(min(choices, key=len, default=None))
    if (match := re.fullmatch(r"(log|log10|ln)([ndcl])", word)) is not None:
        return match[1], match[2]
    return tuple(best[-1] or [word])


def _embeddings(words: list[str]) -> list[str]:
    """The words with `non embedding`, `excl emb`, ... as one, and `with embedding` as none."""
    joined: list[str] = []
    for word in words:
        before = joined[-1] if joined else ""
        if word in ("nonembd", "nonemb", "nonembed", "nonembedding", "nonembeddings"):
            joined.append("nonembedding")
        elif word in _EMBEDDING and before in _WITHOUT | _WITH:
            joined[-1:] = ["nonembedding"] if before in _WITHOUT else ["total"]
        else:
            joined.append(word)
    return joined


def meanings(name: str) -> dict[str, float]:
    """What a column can be by its name: the quantity, with its points.

    Empty if the name says nothing; one quantity at most, since a name that fits two is of neither.

    >>> meanings("val_loss"), meanings("train_loss"), meanings("loss_scale")
    ({'loss': 12.0}, {'loss': 8.0}, {})
    >>> meanings("norm_loss"), meanings("grad_norm_loss")
    ({'loss': 9.0}, {})
    >>> meanings("tokens_per_param"), meanings("tokens_per_second"), meanings("d_model")
    ({'ratio': 10.0}, {}, {})
    """
    words = _normalised(_rates(words_of(name)))
    letter = _by_letter(words)
    if letter:
        return {letter: 10.0 + _sum(QUANTITIES[letter], words[1:])}
    scores = {}
    for key, quantity in QUANTITIES.items():
        score = _score(quantity, words)
        if score is not None and score[1] > 0:
            scores[key] = score
    strong = {key: score for key, score in scores.items() if score[0] >= _STRONG}
    chosen = strong or scores
    return {key: points for key, (_, points) in chosen.items()} if len(chosen) == 1 else {}


def _normalised(words: list[str]) -> list[str]:
    """The words with the `norm` of `norm loss` in full: it is then not the norm of a gradient."""
    return [
        "normalized"
        if word == "norm" and _LOSSES & {*words[i + 1 : i + 2]} and SPLITS.issuperset(words[:i])
        else word
        for i, word in enumerate(words)
    ]


def _rates(words: list[str]) -> list[str]:
    """The words with `tokens per parameter` as `ratio`, and without what a loss is counted per."""
    whole = " ".join(words)
    if re.search(
        r"\b(?:tok(?:en)?s?|data|d) (?:per|to|over) (?:(?:active|total) )?(?:param|n\b)", whole
    ):
        return ["ratio"]
    if re.fullmatch(r"(?:tok(?:en)?s? param(?:eter)?s?|d n)(?: ratio)?", whole):
        return ["ratio"]
    whole = whole.replace("bits per byte", "bpb").replace("bits per character", "bpc")
    words = whole.split()
    if {"loss", "nll", "entropy", "ce", "crossentropy", "nats", "bits"} & set(words):
        whole = re.sub(r"\bper (?:token|byte|char|word)\b", "", whole)
        words = whole.split()
    return words


def _by_letter(words: list[str]) -> str:
    """The quantity of a name such as `N`, `log10 D`, `N active` or `D (tokens)`; or none."""
    logs = [word for word in words if word in _LOGS]
    rest = [word for word in words if word not in _LOGS]
    if not rest or len(rest) > 3 or len(logs) > 1:
        return ""
    for key, quantity in QUANTITIES.items():
        if rest[0] != quantity.letter or not quantity.letter:
            continue
        own = {*quantity.words, *_LETTER_UNITS[key]}
        if all(word in own for word in rest[1:]):
            return key
    return ""


def _score(quantity: Quantity, words: list[str]) -> tuple[float, float] | None:
    """Points of the head of a name and of all of it; None if it is not a name of the quantity."""
    heads = {phrase: at for phrase in quantity.heads if (at := _at(phrase, words)) is not None}
    if not heads:
        return None
    best = max(heads, key=lambda phrase: (quantity.heads[phrase], len(phrase)))
    spent = {i for phrase, at in heads.items() for i in range(at, at + len(phrase))}
    spent -= {i for i, word in enumerate(words) if word in quantity.words and word not in best}
    rest = [word for i, word in enumerate(words) if i not in spent]
    if quantity.letter == "l":
        rest = [word for word in rest if word not in _OF_LOSS]
    points = quantity.heads[best]
    if any(word in quantity.never or word in NEVER for word in rest):
        return None
    known = {*quantity.words, *_NEUTRAL, *_UNITS, *_LOGS}
    if points == WEAK and not known.issuperset(rest):
        return None
    return points, points + _sum(quantity, rest)


def _at(phrase: tuple[str, ...], words: list[str]) -> int | None:
    """Where a phrase begins among words."""
    size = len(phrase)
    places = range(len(words) - size + 1)
    return next((i for i in places if tuple(words[i : i + size]) == phrase), None)


def _sum(quantity: Quantity, rest: list[str]) -> float:
    """Points of the words around a head: of those that name a split the best one counts."""
    points = quantity.words
    total = max((points[word] for word in rest if word in SPLITS & set(points)), default=0.0)
    total += sum(points.get(word, 0.0) for word in rest if word not in SPLITS)
    total += _UNKNOWN * len(_LOGS & set(rest) - set(points))
    known = {*points, *_NEUTRAL, *_UNITS, *_LOGS}
    return total + (0.0 if known.issuperset(rest) else _UNKNOWN)
