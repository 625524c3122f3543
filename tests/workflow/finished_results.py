"""Results of the tiny study, the commands that look after them, and damage done to them."""

import contextlib
import copy
import io
import re
from pathlib import Path

import pytest
import yaml
from project import Project
from running import write

from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.records import manifest
from isoloss.study import check, status
from isoloss.study import flow as flows


class Results(Project):
    """A copy of the tiny study's results, and the commands that look after them."""

    def __init__(self, home, finished):
        folder, config, _ = finished
        study = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        super().__init__(home, folder, study, "grid")

    def flow(self):
        """The study with its results, as a command sees them."""
        return flows.Flow(check.check(copy.deepcopy(self.study)), self.results)

    def isoloss(self, command, *arguments):
        """Run a command on these results: its exit code and output."""
        config, output = write(self.folder, self.study), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = main([command, config, *arguments, "--directory", str(self.folder)])
        return code, output.getvalue()

    def shard_by_digest(self, sweep, state="done"):
        """The runs of a sweep that ended so: digest to its shard's name."""
        shards = {}
        for file in sorted((self.results / "train" / sweep).glob("*.parquet")):
            for row in tables.frame(file, "shard").itertuples():
                if row.status == state:
                    shards[row.run_digest] = file.stem
        return shards

    def set_outcome(
        self, digest, sweep, state, attempts=1, reason="ZeroDivisionError: division by zero"
    ):
        """Store another outcome for a finished run; its row."""
        row = self.store.find(digest) | {"status": state, "status_reason": reason}
        row |= {"attempts": attempts, "loss_nats": None, "losses": None, "curve": None}
        shard = self.shard_by_digest(sweep)[digest]
        self.store.weights(digest).unlink()
        self.store.save(row, self.store.identity(digest), sweep=sweep, shard=shard)
        self.store.failed(digest, f"Traceback\n{reason}")
        return row

    def journal_lines(self, event):
        """The lines of the journal about an event."""
        return [line for line in self.store.journal() if line["event"] == event]


def findings(output):
    """The table that `verify` prints: (file, reason, fix)."""
    cut = [re.split(r" {2,}", line) for line in output.splitlines()]
    return [tuple(cells) for cells in cut[1:] if len(cells) == 3 and cells[0]]


def status_table(output):
    """The table that `status` prints: sweep to column to cell."""
    head, *lines = (re.split(r" {2,}", line) for line in output.splitlines())
    width = len(head)
    return {cells[0]: dict(zip(head, cells, strict=True)) for cells in lines if len(cells) == width}


def run_counts(output, sweep):
    """The numbers of runs in a sweep's line that are not zero."""
    line = status_table(output)[sweep]
    return {c: int(line[c]) for c in ("planned", *status.STATES) if line[c] != "0"}


def flipped(whole, at, mask=0xFF):
    """The bytes with one of them changed."""
    at %= len(whole)
    return whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :]


def footer_offset(path, whole):
    """Where the footer of a Parquet file begins; in any other file, its middle."""
    if path.suffix != ".parquet":
        return len(whole) // 2
    return len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")


def facts_offset(path, whole):
    """Where the facts that a table keeps of itself stand in its footer."""
    return (
        whole.rindex(b'"table"') + 3
        if path.suffix == ".parquet"
        else footer_offset(path, whole) + 1
    )


def other_file(path, whole):
    """The bytes of a sound file of the same kind that holds something else."""
    if path.suffix == ".parquet":
        labels = ("study", "dataset", "weighting", "sweep", "law")
        facts = {k: "other" if k in labels else v for k, v in tables.facts(path).items()}
        other = path.with_name("other")
        tables.write_free(tables.read(path).slice(1), other, facts)
        content = other.read_bytes()
        other.unlink()
        return content
    if path.name in ("weights.safetensors", manifest.NAME):
        near = next(p for p in path.parents[1].glob(f"*/{path.name}") if p != path)
    elif path.parent.name == "plot":
        near = path.with_stem("learning_curves")
    else:
        return whole.replace(b"16 finished", b"15 finished")
    return near.read_bytes()


# what happens to a file, and the reason that `verify` gives for one that a job made
DAMAGES = {
    "truncated": (lambda path, whole: whole[: len(whole) // 2], ""),
    "emptied": (lambda path, whole: b"", "is empty"),
    "missing": (lambda path, whole: None, "missing"),
    "replaced": (lambda path, whole: other_file(path, whole), "differs from what its job wrote"),
    "flipped in its body": (
        lambda path, whole: flipped(whole, footer_offset(path, whole) // 2),
        "",
    ),
    "flipped in its footer": (lambda path, whole: flipped(whole, facts_offset(path, whole)), ""),
    "flipped at its end": (lambda path, whole: flipped(whole, -6), ""),
}
UNREAD = [name for name in DAMAGES if name != "missing"]
damages = pytest.mark.parametrize("damage", DAMAGES)


def damage_file(results, pattern, damage):
    """Damage the first file of a name; its path, and what it held."""
    path = sorted(results.results.glob(pattern))[0]
    whole = path.read_bytes()
    after = DAMAGES[damage][0](path, whole)
    assert after != whole
    if after is None:
        path.unlink()
    else:
        path.write_bytes(after)
    return path, whole
