"""The answer of a search, or of a choice among typed laws, as files."""

from __future__ import annotations

from pathlib import Path

from isoloss.core import escape, tables
from isoloss.core.paths import real
from isoloss.discovery.choice import Choice
from isoloss.discovery.discovery import Discovery
from isoloss.discovery.of_mixtures import MixtureDiscovery


def save(answer: Discovery | MixtureDiscovery | Choice, folder: Path) -> list[Path]:
    """Write discovery.txt (the text), discovery.json (the record), ranking.csv (all laws).

    Args:
        answer: what was found.
        folder: made where it is not there.

    Returns:
        The files.
    """
    real(folder).mkdir(parents=True, exist_ok=True)
    contents = {
        "discovery.txt": f"{answer}\n",
        "discovery.json": escape.json_text(answer.record(), 2) + "\n",
        "ranking.csv": answer.ranking.to_csv(index=False),
    }
    for name, text in contents.items():
        tables.write_text(folder / name, text)
    return [folder / name for name in contents]
