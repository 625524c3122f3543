"""The page on bad input names the test of every fault, and every test here is on the page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "border.md").read_text(encoding="utf-8")


def names_in(file: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), flags=re.M))


HERE = {
    name
    for file in Path(__file__).parent.glob("test_*.py")
    if file.name != Path(__file__).name
    for name in names_in(file)
}
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| fault"))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[:40])
def test_every_fault_of_the_page_has_a_test_that_exists(row):
    named = re.findall(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`", row.rsplit(" | ", 1)[1])
    assert named
    for file, name in named:
        assert name in (names_in(ROOT / file) if file else HERE)


def test_every_test_of_the_border_is_on_the_page():
    assert HERE - set(re.findall(r"`(test_\w+)`", PAGE)) == set()
