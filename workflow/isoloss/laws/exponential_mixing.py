"""Data mixing laws: an exponential of the proportions above an irreducible loss."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.laws._law import Term
from isoloss.laws._mixture import PREFIX
from isoloss.laws._posynomial import Part, Posynomial

TITLE = "Exponential mixing law"
FORMULA = "L = c + k exp(sum_j t_j p_j)"
LATEX = r"L = c + k \exp\left(\sum_j t_j p_j\right)"
SOURCE = (
    "Ye et al. 2024, arXiv:2403.16952, its data mixing law of several training domains; fitted in"
    " its notebook with objective huber, delta 0.05, in the loss"
)
BIBTEX = """\
@misc{ye2024data,
  title = {Data Mixing Laws: Optimizing Data Mixtures by Predicting Language Modeling Performance},
  author = {Ye, Jiasheng and Liu, Peiju and Sun, Tianxiang and others},
  year = {2024},
  eprint = {2403.16952},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "proportions p_j of all domains, zeros too; more runs than domains and two, or it follows"
    " their noise. As the p_j sum to 1, k and all t_j are known together only (the same number"
    " added to every t_j divides k): their intervals say nothing unless one of them is fixed"
)
KIND = "mixture"
OPTIONS = {}
# c and k are the exponentials of the parameters that are printed: (0.9750, -2.1391),
# (1.2624, -2.1656), (1.1375, -7.1017), (0.4750, -3.6546), (1.2402, -1.9510).
PRESETS = {
    "academic": {
        "values": {
            "c": 2.651167210983,
            "k": 0.117760780045,
            "t_academic": -10.0864,
            "t_prose": 2.714,
            "t_dialogue": 2.7106,
            "t_symbolic": 2.6083,
            "t_internet": 1.5866,
        },
        "source": "arXiv:2403.16952, notebook of its repository: 70M, step 30000",
        "of": "models of 70M on mixtures of five domains",
        "domains": ("p_academic", "p_prose", "p_dialogue", "p_symbolic", "p_internet"),
    },
    "prose": {
        "values": {
            "c": 3.533892660276,
            "k": 0.1146811052874,
            "t_academic": 1.393,
            "t_prose": -4.6811,
            "t_dialogue": 0.7855,
            "t_symbolic": 1.8719,
            "t_internet": 0.5734,
        },
        "source": "arXiv:2403.16952, notebook of its repository: 70M, step 30000",
        "of": "models of 70M on mixtures of five domains",
        "domains": ("p_academic", "p_prose", "p_dialogue", "p_symbolic", "p_internet"),
    },
    "dialogue": {
        "values": {
            "c": 3.118961207287,
            "k": 0.0008237034364976,
            "t_academic": 6.7135,
            "t_prose": 6.2643,
            "t_dialogue": -31.8621,
            "t_symbolic": 6.6423,
            "t_internet": 6.2053,
        },
        "source": "arXiv:2403.16952, notebook of its repository: 70M, step 30000",
        "of": "models of 70M on mixtures of five domains",
        "domains": ("p_academic", "p_prose", "p_dialogue", "p_symbolic", "p_internet"),
    },
    "symbolic": {
        "values": {
            "c": 1.608014197486,
            "k": 0.02587184415135,
            "t_academic": 3.3289,
            "t_prose": 3.6705,
            "t_dialogue": 3.1127,
            "t_symbolic": -16.4217,
            "t_internet": 3.1591,
        },
        "source": "arXiv:2403.16952, notebook of its repository: 70M, step 30000",
        "of": "models of 70M on mixtures of five domains",
        "domains": ("p_academic", "p_prose", "p_dialogue", "p_symbolic", "p_internet"),
    },
    "internet": {
        "values": {
            "c": 3.456304656573,
            "k": 0.1421318686283,
            "t_academic": 1.1897,
            "t_prose": 0.8697,
            "t_dialogue": -0.5184,
            "t_symbolic": 1.7122,
            "t_internet": -3.087,
        },
        "source": "arXiv:2403.16952, notebook of its repository: 70M, step 30000",
        "of": "models of 70M on mixtures of five domains",
        "domains": ("p_academic", "p_prose", "p_dialogue", "p_symbolic", "p_internet"),
    },
}


class ExponentialMixing(Posynomial):
    """theta = (ln c, ln k, t_1 .. t_k)."""

    kind = KIND
    formula = FORMULA
    python = "t['c'] + t['k'] * exp(sum(t['t_' + p[2:]] * x[p] for p in VARIABLES))"

    def __init__(self, domains: Sequence[str]):
        self.variables = tuple(domains)
        names = {domain: f"t_{domain.removeprefix(PREFIX)}" for domain in domains}
        # a part divides by what its exponents act on: -1 gives them the sign of the formula
        self.parts = (
            Part("c"),
            Part("k", {name: {domain: -1} for domain, name in names.items()}, linear=True),
        )
        self.terms = (
            Term("c", "c", "nats/token", True, -9.0, 4.0, (-0.7, -0.2)),
            Term("k", "k", "nats/token", True, -25.0, 5.0, (-1.5,)),
            *(Term(name, name, "1", False, -80.0, 40.0, (0.0,)) for name in names.values()),
        )


def make(domains: Sequence[str]) -> ExponentialMixing:
    """The law; the same for every domain's loss."""
    return ExponentialMixing(domains)
