"""Every device that is here trains, goes on, and gives the same twice; without one cuda is told.

On a machine with a GPU run this file, and tests/registry/test_models.py for every model.
"""

import itertools
import multiprocessing
import os
import sys

import pytest
import torch
from test_builtin import CARD, Images, Keeper, assert_same, settings_of

from isoloss.core import registry
from isoloss.trainers import _devices, builtin

HERE = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
PRECISIONS = registry.options("trainer", "builtin")["precision"]["enum"]


def train(device, keeper=None, **changes):
    """A short run on a device."""
    settings = settings_of(n_examples=480, hidden=5, drop=0.1, device=device, **changes)
    ticks = itertools.repeat(None)
    return builtin.train(settings, 1, CARD, Images(), ticks, keeper or Keeper())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", registry.options("trainer", "builtin")["optimizer"]["enum"])
@pytest.mark.parametrize("device", HERE)
def test_a_run_on_a_device_learns_and_goes_on_bit_for_bit(device, optimizer, precision):
    way = {"optimizer": optimizer, "precision": precision, "accumulate": 2}
    whole = train(device, **way)
    assert whole.measured["loss_nats"] < 0.9
    assert_same(train(device, **way), whole)
    cut = Keeper(at=30)
    with pytest.raises(KeyboardInterrupt):
        train(device, cut, **way)
    assert cut.state["weights 0.weight"].device.type == device
    assert_same(train(device, Keeper(cut.state), **way), whole)


@pytest.mark.parametrize("device", HERE)
def test_bfloat16_changes_numbers_and_little_else(device):
    exact, rounded = (train(device, precision=precision) for precision in PRECISIONS)
    assert {value.dtype for value in rounded.weights.values()} == {torch.float32}
    losses = [run.measured["loss_nats"] for run in (exact, rounded)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


@pytest.mark.parametrize("device", HERE)
def test_devices_agree_up_to_rounding(device):
    settings = {"drop": 0.0, "optimizer": "sgd"}
    here, there = (
        builtin.train(
            settings_of(n_examples=80, hidden=5, device=where, **settings),
            1,
            CARD,
            Images(),
            itertools.repeat(None),
            Keeper(),
        )
        for where in ("cpu", device)
    )
    for name, value in here.weights.items():
        torch.testing.assert_close(there.weights[name].cpu(), value, rtol=1e-3, atol=1e-4)


def test_auto_takes_cuda_where_there_is_one(monkeypatch):
    for there_is, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there_is=there_is: there_is)
        assert builtin.device({"device": "auto"}) == device
        assert builtin.device({"device": "cpu"}) == "cpu"


def test_cuda_where_there_is_none_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"no CUDA device here; set `device: auto`"):
        train("cuda")


def touches_cuda(queue):
    """Warm up as the process does that is forked for every run, and tell whether CUDA was used."""
    touched = []
    torch.cuda.is_available = lambda: touched.append("is_available") or False
    torch._C._cuda_init = lambda: touched.append("init")
    sys.modules.pop("isoloss.train.shard", None)
    __import__("isoloss.train.shard")
    for name in registry.names("trainer"):
        registry.card("trainer", name).warm_up()
    queue.put((touched, torch.cuda.is_initialized()))


def test_a_process_that_is_forked_for_every_run_does_not_touch_cuda():
    queue = (context := multiprocessing.get_context("spawn")).Queue()
    child = context.Process(target=touches_cuda, args=(queue,))
    child.start()
    assert queue.get(timeout=300) == ([], False)
    child.join()


def test_a_run_on_cuda_has_deterministic_settings(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for flag in ("benchmark", "allow_tf32"):
        monkeypatch.setattr(torch.backends.cudnn, flag, True)
    _devices.prepare_torch(3, "cuda")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark and not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


def test_tiny_numbers_are_zero_while_a_run_is_trained_and_not_afterwards():
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    tiny, products = torch.tensor(1e-30), []

    def ticks():
        while True:
            products.append(float(tiny * 1e-10))
            yield

    builtin.train(settings_of(n_examples=80, hidden=5), 1, CARD, Images(), ticks(), Keeper())
    assert products and not any(products)
    assert float(tiny * 1e-10) > 0
