"""A law in N, D and the bits in which a model is trained, or is stored afterwards."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law in N, D and precision"
FORMULA = "L = E + A / (N (1 - e^(-P/γ_w)))^α + B / D^β"
LATEX = r"L = E + \frac{A}{\left(N (1 - e^{-P/\gamma_w})\right)^{\alpha}} + \frac{B}{D^{\beta}}"
SOURCE = (
    "Kumar et al. 2024, arXiv:2411.04330, equations 1 to 4, and its appendix K, table 2, read in"
    " its text; the sign of the offset b of rounding, which table 2 has and no equation, is taken"
    " as that of the offsets n of training"
)
BIBTEX = """\
@misc{kumar2024scaling,
  title = {Scaling Laws for Precision},
  author = {Kumar, Tanishq and Ankner, Zachary and Spector, Benjamin F. and others},
  year = {2024},
  eprint = {2411.04330},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "N without embeddings; at least 3 bits of weights (`bits`), 4 of activations"
    " (`bits_activations`) and of the cache of keys and values (`bits_cache`); `post_training` is"
    " of models trained in 16 bits and rounded to `bits_post`; its source ties α and β"
)
KIND = "joint"
OPTIONS = {
    "of": {
        "type": "string",
        "enum": ["weights", "all", "post_training"],
        "default": "weights",
        "description": "What has few bits: weights in training, weights with activations and "
        "cache, or the weights of a trained model.",
    },
    "shift": {
        "type": "boolean",
        "default": False,
        "description": "Whether every exponent -P/γ of training has an offset n, as the numbers "
        "that its source prints; with it some bits are too few for the law to have a value.",
    },
}
PRESETS = {
    "kumar": {
        "values": {
            "E": 2.7648,
            "A": 4299.0,
            "alpha": 0.4965,
            "B": 18060.0,
            "beta": 0.4965,
            "gamma_w": 2.6745,
            "n_w": 0.3037,
            "gamma_a": 2.2102,
            "n_a": 1.4072,
            "gamma_kv": 0.9578,
            "n_kv": 2.4185,
        },
        "options": {"of": "all", "shift": True},
        "source": "arXiv:2411.04330, table 2, of training; its authors say that the trends are the"
        " finding and the numbers unlikely to be useful",
        "of": "465 models on Dolma; ranges as in its text",
        "ranges": {"N": (3e7, 2.2e8), "D": (1.5e9, 2.6e10), "bits": (3.0, 16.0)},
    },
    "kumar_rounded": {
        "values": {
            "E": 2.7648,
            "A": 4299.0,
            "alpha": 0.4965,
            "B": 18060.0,
            "beta": 0.4965,
            "C_T": 0.18469497138033758,  # 0.0598 e^1.1277
            "gamma_D": 0.5068,
            "gamma_N": 0.3439,
            "gamma_post": 0.5907,
        },
        "options": {"of": "post_training", "shift": False},
        "source": "arXiv:2411.04330, table 2, of weights that are rounded after training",
        "of": "models on Dolma, rounded by GPTQ to 3 to 6 bits; ranges as in its text",
        "ranges": {"N": (3e7, 2.2e8), "D": (1.5e9, 2.6e10), "bits_post": (3.0, 6.0)},
    },
}

_PARTS = {"w": "bits", "a": "bits_activations", "kv": "bits_cache"}
_SHOWN = {"w": "P", "a": "P_a", "kv": "P_kv"}
TERMS = {f"gamma_{part}": {"unit": "bits"} for part in (*_PARTS, "post")}


def make(of: str, shift: bool) -> Law:
    """The law in N, D and the bits of what has few.

    Args:
        of: "weights", "all", or "post_training".
        shift: whether exponents have an offset.
    """
    parts = {"weights": ["w"], "all": list(_PARTS), "post_training": []}[of]
    kept, shown = "N", "N"
    for part in parts:
        power = (
            f"n_{part} - {_PARTS[part]} / gamma_{part}"
            if shift
            else (f"-{_PARTS[part]} / gamma_{part}")
        )
        kept += f" * (1 - exp({power}))"
        offset = f"n_{part} - " if shift else "-"
        shown += f" (1 - e^({offset}{_SHOWN[part]}/γ_{part}))"
    text = f"loss = E + A / ({kept})**alpha + B / D**beta"
    formula = f"L = E + A / ({shown})^α + B / D^β"
    variables = ["N", "D", *(_PARTS[part] for part in parts)]
    if of == "post_training":
        text += " + C_T * D**gamma_D / N**gamma_N * exp(-bits_post / gamma_post)"
        formula = "L = E + A / N^α + B / D^β + C_T D^γ_D / N^γ_N e^(-P/γ_post)"
        variables.append("bits_post")
    return formula_law(text, variables, terms=TERMS, kind=KIND, shown=formula)
