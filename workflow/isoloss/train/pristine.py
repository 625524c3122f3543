"""What a run can change of the process that trains it, and is put back before the next one."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isoloss.trainers._devices import draws, restore_draws

_MOST_GROWTH = 256 << 20  # bytes of memory of its own that runs may leave behind
_PAGE = os.sysconf("SC_PAGE_SIZE")
# getter, setter: what torch keeps for the whole process or thread
_OF_TORCH = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
)
_FLAGS = (
    (torch.utils.deterministic, "fill_uninitialized_memory"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
)


class Pristine:
    """The state of this process before its first run.

    Generators (torch, numpy, random), settings of torch and numpy, environment, working
    directory, mask of new files, import path, warnings, and what signals do.
    """

    def __init__(self):
        gc.freeze()  # what is there by now is not looked through again after every run
        self.draws = draws("cpu"), np.random.get_state(), random.getstate()
        self.of_torch = [get() for get, _ in _OF_TORCH]
        self.flags = [getattr(place, name) for place, name in _FLAGS]
        self.errors = np.geterr()
        self.environment, self.folder, self.mask = dict(os.environ), Path.cwd(), _mask()
        self.path, self.streams = list(sys.path), (sys.stdout, sys.stderr)
        self.warnings = list(warnings.filters)
        self.signals = _handlers()
        self.threads, self.files, self.memory = _threads(), _files(), _memory()

    def restore(self) -> None:
        """Put everything back as it was."""
        of_torch, of_numpy, of_python = self.draws
        restore_draws(of_torch, "cpu")
        np.random.set_state(of_numpy)
        random.setstate(of_python)
        torch.set_default_device(None)
        torch.set_flush_denormal(False)
        for (get, put), value in zip(_OF_TORCH, self.of_torch, strict=True):
            if get() != value:
                put(value)
        for (place, name), value in zip(_FLAGS, self.flags, strict=True):
            if getattr(place, name) != value:
                setattr(place, name, value)
        np.seterr(**self.errors)
        if dict(os.environ) != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        os.chdir(self.folder)
        os.umask(self.mask)
        sys.path[:] = self.path
        sys.stdout, sys.stderr = self.streams
        warnings.filters[:] = self.warnings
        for number, handler in _handlers().items():
            if handler != self.signals[number]:
                signal.signal(number, self.signals[number])
        gc.collect()

    def is_left(self) -> bool:
        """Whether a run left what cannot be put back.

        Those are threads, open files, a graphics card in use, and more than a little memory.
        """
        if torch.cuda.is_initialized() or _threads() > self.threads or _files() > self.files:
            return True
        return _memory() - self.memory > _MOST_GROWTH


def _mask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _handlers() -> dict[signal.Signals, Any]:
    """What every signal does; not those set by other than Python, which it cannot set again."""
    handlers = {number: signal.getsignal(number) for number in signal.Signals}
    return {number: handler for number, handler in handlers.items() if handler is not None}


def _threads() -> int:
    return threading.active_count()


def _files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def _memory() -> int:
    """Bytes of this process's own memory, without what is mapped from files; 0 if unknown."""
    try:
        _, resident, shared, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE
