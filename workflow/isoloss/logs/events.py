"""Event files of TensorBoard, if the package `tensorboard` is installed.

A file is records of protocol buffers (`tensorboard/compat/proto/event.proto`), each between its
length and checksums, as in TensorFlow's `tfrecord` files.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from isoloss.core import extras
from isoloss.core.sources import Source
from isoloss.formats.json_tables import flattened
from isoloss.logs.log import UNKNOWN, Log, Record, Records

STEP = "global_step"
_VERSION = b"brain.Event:"  # in the first record of every event file
_HEADER, _FOOTER = 12, 4  # bytes: length with checksum, checksum of the content
_SHORT = 2**16  # bytes of a record whose checksum is looked at: those of numbers are short
_NUMBERS = range(1, 15)  # types of tensors that are numbers, but text (`types.proto`)
_TEXT = 7
_ENDS = {1: "finished", 2: "failed", 3: "running"}  # `Status` of the plugin for hyperparameters


def matches(head: bytes) -> bool:
    """Whether a file begins with the record of an event file."""
    return _VERSION in head[_HEADER : _HEADER + 32]


def read(file: Source) -> Log:
    """The scalars of an event file, and the hyperparameters in it.

    A record that is cut off, as the last one of a process that was killed, is left out.

    Raises:
        TableError: `tensorboard` is not installed, the file is damaged, or has no scalars.
    """
    try:
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
    except ImportError as error:
        reason = "is a TensorBoard event file, for which a reader is not installed"
        remedy = f"{extras.install('tensorboard')}, or save it as CSV"
        raise file.error(reason, remedy) from error
    rows: list[Record] = []
    places: list[str] = []
    notes: list[str] = []
    config: Record = {}
    status = UNKNOWN
    for number, content in enumerate(_contents(file, masked_crc32c, notes), 1):
        try:
            event = Event.FromString(content)
        except DecodeError as error:
            reason = f"record {number} is not an event ({error})"
            raise file.error(reason, "copy the file again from where it was written") from error
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                settings, status = _hyperparameters(value.metadata.plugin_data.content, status)
                config |= settings
                continue
            number_or_none = _scalar(value)
            if number_or_none is not None:
                rows.append({value.tag: number_or_none, STEP: event.step})
                places.append(f"record {number}")
            else:
                config |= _settings(value)
    if not rows and config:
        return Log.of_settings(config, tuple(notes), status)
    return Records(file, rows, places, tuple(notes)).log(config, status)


def _contents(file: Source, checksum: Callable[[bytes], int], notes: list[str]) -> Iterator[bytes]:
    """The content of every whole record.

    Raises:
        TableError: a checksum is wrong.
    """
    data, at, number = file.parts[0], 0, 0
    while at < len(data):
        number += 1
        header = data[at : at + _HEADER]
        size = int.from_bytes(header[:8], "little")
        end = at + _HEADER + size
        if not any(data[at:]) or len(header) < _HEADER:
            notes.append(f"record {number}, the last one, is cut off, and left out")
            return
        wrong = checksum(header[:8]) != struct.unpack("<I", header[8:])[0]
        if not wrong and end + _FOOTER > len(data):
            notes.append(f"record {number}, the last one, is cut off, and left out")
            return
        content = data[at + _HEADER : end]
        if not wrong and size <= _SHORT:
            wrong = checksum(content) != struct.unpack_from("<I", data, end)[0]
        if wrong:
            reason = f"record {number} (byte {at}) is damaged: its checksum is wrong"
            raise file.error(reason, "copy the file again from where it was written")
        yield content
        at = end + _FOOTER


def _scalar(value: Any) -> float | int | None:
    """The number of a value; None if it is a picture, a histogram, a text."""
    if value.WhichOneof("value") == "simple_value":
        return value.simple_value
    if value.WhichOneof("value") != "tensor":
        return None
    tensor = value.tensor
    if tensor.dtype not in _NUMBERS or tensor.dtype == _TEXT or len(tensor.tensor_shape.dim):
        return None
    from tensorboard.util.tensor_util import make_ndarray

    return make_ndarray(tensor).item()


def _settings(value: Any) -> Record:
    """The settings in a text that is an object of JSON, as Hugging Face's Trainer writes them."""
    if value.WhichOneof("value") != "tensor" or value.tensor.dtype != _TEXT:
        return {}
    settings: Record = {}
    for text in value.tensor.string_val:
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):  # any other text, or nested too deeply
            continue
        if isinstance(parsed, dict):
            settings |= flattened(parsed)
    return settings


def _hyperparameters(content: bytes, status: str) -> tuple[Record, str]:
    """The settings and the status that the plugin for hyperparameters keeps in an event."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    data = HParamsPluginData.FromString(content)
    hparams = data.session_start_info.hparams
    settings = {name: _setting(hparams[name]) for name in sorted(hparams)}
    if data.HasField("session_end_info"):
        status = _ENDS.get(data.session_end_info.status, status)
    return settings, status


def _setting(value: Any) -> Any:
    """A value of a hyperparameter; numbers are floats there, whole ones become integers."""
    kind = value.WhichOneof("kind")
    if kind == "number_value" and value.number_value.is_integer():
        return int(value.number_value)
    return getattr(value, kind) if kind in ("number_value", "string_value", "bool_value") else None
