"""`adopt` takes over copied results and verifies them."""

import os
import random
import re
import time

import pytest
from finished_results import damage_file


def scatter_times(results):
    """Copy nothing of snakemake's records, and give every file some other time."""
    (results.folder / ".snakemake").rename(results.folder / "records")
    draw = random.Random(0)
    for path in sorted(results.results.rglob("*")):
        then = time.time() - draw.uniform(0, 1e6)
        os.utime(path, (then, then))


def test_copied_results_are_adopted_and_nothing_is_due(results):
    scatter_times(results)
    before = {p: p.read_bytes() for p in results.results.rglob("*") if p.is_file()}
    assert results.due() != {}
    code, output = results.isoloss("adopt")
    assert code == 0
    assert re.match(r"the times of \d+ files are now in the order of their jobs\n20 jobs, ", output)
    assert results.due() == {}
    assert {p: p.read_bytes() for p in results.results.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("plot/isoloss.png", "missing", r"isoloss\.png +missing"),
        ("plot/isoloss.json", "truncated", r"isoloss\.json +is damaged .*"),
        ("train/grid/1.json", "truncated", r"train/grid/1\.json +is damaged .*"),
    ],
)
def test_what_is_adopted_is_verified(results, file, damage, words):
    damage_file(results, file, damage)
    code, output = results.isoloss("adopt")
    assert code == 1
    assert "files are now in the order of their jobs" in output
    assert re.search(rf"{words} +make it again", output)
