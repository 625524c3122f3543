"""Logs in JSON: an object a line, a list of objects, the state of a Hugging Face Trainer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from isoloss.core.sources import Source
from isoloss.formats import encodings, json_tables, kinds
from isoloss.logs import exports
from isoloss.logs.log import Log, Record, Records

_HISTORY = "log_history"
# what `transformers.TrainerState` says of a run's settings, and of how far it came
_SETTINGS = ("max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps")
_SETTINGS += ("save_steps", "trial_name", "trial_params")
_REACHED = ("global_step", "epoch", "total_flos", "num_input_tokens_seen", "best_metric")


def matches(head: bytes) -> bool:
    """Whether a file begins as JSON does, in any encoding."""
    text = head[:16].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return text[:1] in (b"{", b"[")


def read(file: Source) -> dict[str, Log]:
    """The logs in a file of JSON by the names of their runs; the log of one run has no name.

    Raises:
        TableError: it is not JSON, with the line, or has no numbers.
    """
    kinds.refuse_others(file)
    text, _ = encodings.text(file)
    if not text.strip():
        raise file.error("is empty", "give a log with the metrics of a run")
    json_tables.check_size(file, text)
    first = text.lstrip().split("\n", 1)[0]
    if first.startswith("{") and (_is_object(first) or "\n" not in text.strip()):
        return _of_lines(file, text)
    value = _document(file, text)
    if isinstance(value, dict) and isinstance(value.get(_HISTORY), list):
        return {"": _of_trainer(file, value)}
    return exports.logs(_records(file, json_tables.records_in(file, value, []), "record"))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _document(file: Source, text: str) -> Any:
    """The one value of a file of JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno} is not JSON ({error.msg}, character {error.colno})"
        raise file.error(reason, "write it again, or remove it") from error


def _of_lines(file: Source, text: str) -> dict[str, Log]:
    """The logs of a file with an object a line; a last line that is cut off is left out."""
    rows: list[Record] = []
    places: list[str] = []
    notes: tuple[str, ...] = ()
    lines = text.rstrip().split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines) and rows and text[-1] != "\n":
                notes = (f"line {number}, the last one, is cut off, and left out",)
                break
            reason = f"line {number} is not JSON ({error.msg}, character {error.colno})"
            raise file.error(reason, "correct the line, or remove it") from error
        if not isinstance(row, dict):
            reason = f"line {number} is not an object of names and values"
            raise file.error(reason, 'write lines such as {"step": 1, "loss": 3.2}')
        rows.append(row)
        places.append(f"line {number}")
    if len(rows) == 1 and isinstance(rows[0].get(_HISTORY), list):
        return {"": _of_trainer(file, rows[0])}
    if len(rows) == 1 and rows[0] and all(isinstance(v, list) for v in rows[0].values()):
        return exports.logs(_records(file, json_tables.records_in(file, rows[0], []), "record"))
    flat = [json_tables.flattened(row) for row in rows]
    return exports.logs(Records(file, flat, places, notes))


def _records(file: Source, rows: Any, unit: str) -> Records:
    """What is in a list of objects."""
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            reason = f"{unit} {number} is not an object of names and values"
            raise file.error(reason, 'write records such as {"step": 1, "loss": 3.2}')
    places = [f"{unit} {number}" for number in range(1, len(rows) + 1)]
    return Records(file, [json_tables.flattened(row) for row in rows], places)


def _of_trainer(file: Source, state: Record) -> Log:
    """The log in a `trainer_state.json` (`transformers.TrainerState.save_to_json`)."""
    log = _records(file, state[_HISTORY], f"{_HISTORY} entry").log()
    for name in ("global_step", "max_steps"):
        if not isinstance(state.get(name, 0), int | None):
            reason = f"{name} is {state[name]!r}, not a whole number"
            raise file.error(reason, "give the file as the Trainer wrote it")
    reached = {name: state[name] for name in _REACHED if state.get(name)}
    config = json_tables.flattened({n: state[n] for n in _SETTINGS if state.get(n) is not None})
    step, most = state.get("global_step") or 0, state.get("max_steps") or 0
    notes, status = log.notes, "finished"
    if step < most:
        status = "unfinished"
        notes += (f"the run is at step {step} of {most}",)
    final = {**log.final, **reached}
    return replace(log, final=final, config=config, notes=notes, status=status)
