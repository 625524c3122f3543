"""BibTeX of what a fit rests on: its law, the objective, how intervals were made, isoloss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata

from isoloss.core import registry
from isoloss.core.problems import IsolossError, Problem

HUBER = """\
@article{huber1964robust,
  title = {Robust Estimation of a Location Parameter},
  author = {Huber, Peter J.},
  journal = {The Annals of Mathematical Statistics},
  volume = {35},
  number = {1},
  pages = {73--101},
  year = {1964},
}
"""
BIAS_CORRECTED = """\
@book{efron1982jackknife,
  title = {The Jackknife, the Bootstrap and Other Resampling Plans},
  author = {Efron, Bradley},
  publisher = {Society for Industrial and Applied Mathematics},
  year = {1982},
}
"""
PROFILE = """\
@article{venzon1988method,
  title = {A Method for Computing Profile-Likelihood-Based Confidence Intervals},
  author = {Venzon, D. J. and Moolgavkar, S. H.},
  journal = {Journal of the Royal Statistical Society. Series C (Applied Statistics)},
  volume = {37},
  number = {1},
  pages = {87--94},
  year = {1988},
}
"""
# words in the name of a method (`summary.objective`, `params.ci_method`), and whose it is
METHODS = {"huber": HUBER, "bias-corrected": BIAS_CORRECTED, "profile": PROFILE}
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_HEAD = re.compile(r"@(\w+)\{([^,\s{}]+),\n")
_FIELD = re.compile(r"  (\w+) = \{(.*)\},\n")


def isoloss() -> str:
    """The entry of this package, as CITATION.cff has it, with the version that is installed."""
    lines = ["title = {isoloss: a laboratory for neural scaling laws}"]
    lines += ["author = {{The isoloss authors}}", "year = {2026}"]
    with suppress(metadata.PackageNotFoundError):  # run from its sources
        lines.append(f"version = {{{metadata.version('isoloss')}}}")
    return "@software{isoloss,\n" + "".join(f"  {line},\n" for line in lines) + "}\n"


def entries(text: str) -> dict[str, str]:
    """The entries of BibTeX by key, each as it is written.

    Args:
        text: entries one below the other, a field a line as in the cards of laws.

    Raises:
        ValueError: a line is neither the head of an entry, a field, nor its end, a brace is open,
            or a key appears twice.

    Example:
        >>> list(entries(HUBER + PROFILE))
        ['huber1964robust', 'venzon1988method']
    """
    by_key: dict[str, str] = {}
    key = ""
    for line in text.splitlines(keepends=True):
        head = _HEAD.fullmatch(line)
        if head and not key:
            key = head[2]
            if key in by_key:
                raise ValueError(f"BibTeX key {key} appears twice")
            by_key[key] = line
        elif key and (line == "}\n" or _is_field(line)):
            by_key[key] += line
            key = "" if line == "}\n" else key
        else:
            raise ValueError(f"not a line of a BibTeX entry: {line!r}")
    if key:
        raise ValueError(f"the BibTeX entry {key} does not end")
    return by_key


def _is_field(line: str) -> bool:
    field = _FIELD.fullmatch(line)
    return field is not None and field[2].count("{") == field[2].count("}")


def eprint(entry: str) -> str:
    """The arXiv id of an entry; empty if it has none."""
    ids = [field[2] for field in _FIELD.finditer(entry) if field[1] == "eprint"]
    return ids[0] if ids else ""


def arxiv_ids(source: str) -> list[str]:
    """The arXiv ids that a text names, in its order.

    >>> arxiv_ids("Kaplan et al. 2020, arXiv:2001.08361, equation 1.5")
    ['2001.08361']
    """
    return _ARXIV.findall(source)


def _of_card(card: str) -> dict[str, str]:
    """The entries of a law card; none of a card without.

    Raises:
        IsolossError: its BIBTEX is not whole.
    """
    try:
        return entries(registry.facts("law", card).get("BIBTEX", ""))
    except ValueError as error:
        do = "write an entry as the other cards do, a field a line"
        raise IsolossError(Problem(f"law card {card}, BIBTEX", str(error), do)) from error


def of_law(card: str) -> dict[str, str]:
    """The entries of a law's source, without those that only its presets come from."""
    named = arxiv_ids(registry.facts("law", card)["SOURCE"])
    known = _of_card(card)
    return {key: one for key, one in known.items() if not eprint(one) or eprint(one) in named}


def of_preset(card: str, preset: Mapping[str, str]) -> dict[str, str]:
    """The entries of the source of a preset of a law card."""
    named = arxiv_ids(preset["source"])
    known = _of_card(card)
    return {key: one for key, one in known.items() if eprint(one) in named}


def of_methods(*names: str) -> dict[str, str]:
    """The entries of objectives and methods, by words in their names."""
    chosen = [text for word, text in METHODS.items() if any(word in name for name in names)]
    return entries("".join(chosen))
