import copy
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convarium.layers import BasicBlock, Blocks, recomputed


def chain(blocks: int = 4, width: int = 8) -> Blocks:
    torch.manual_seed(0)
    parts = [nn.Sequential(BasicBlock(1, width, width), nn.Dropout(0.3)) for _ in range(blocks)]
    return Blocks(*parts)


def gradients(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    net(x).square().sum().backward()
    return {name: p.grad for name, p in net.named_parameters()}


@pytest.mark.parametrize("training", [True, False])
def test_recomputing_changes_neither_gradients_nor_running_statistics(training):
    plain = chain().train(training)
    frugal = copy.deepcopy(plain)
    frugal.recompute = True
    x = torch.randn(4, 8, 16)
    for _ in range(2):
        expected, found = gradients(plain, x), gradients(frugal, x)
    for name, gradient in expected.items():
        assert torch.equal(gradient, found[name]), name
    for (name, a), (_, b) in zip(plain.named_buffers(), frugal.named_buffers(), strict=True):
        assert torch.equal(a, b), name


def test_batch_norms_are_as_before_after_recomputing():
    net = chain()
    net.recompute = True
    gradients(net, torch.randn(4, 8, 16))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm1d)]
    assert {norm.momentum for norm in norms} == {0.1}
    assert {int(norm.num_batches_tracked) for norm in norms} == {1}


class LiveBytes(TorchDispatchMode):
    """The largest number of bytes that tensors made inside occupied at one time."""

    def __init__(self):
        super().__init__()
        self.now, self.peak, self.known = 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return result

    def count(self, storage):
        key, size = storage.data_ptr(), storage.nbytes()
        if key in self.known or not size:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.forget, key, size)

    def forget(self, key, size):
        self.known.discard(key)
        self.now -= size


def test_recomputing_lowers_the_peak_of_memory():
    peaks = []
    for recompute in (False, True):
        net = chain(blocks=8)
        net.recompute = recompute
        x = torch.randn(4, 8, 4096)
        with LiveBytes() as meter:
            net(x).sum().backward()
        peaks.append(meter.peak)
    assert peaks[1] < 0.5 * peaks[0], peaks


def test_nothing_is_recomputed_without_a_gradient():
    net = chain()
    net.recompute = True
    calls = []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        net(torch.randn(2, 8, 16))
    assert calls == [1]


class Meeting(nn.Module):
    """Two maps, joined, normed and mapped."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm1d(5), nn.Conv1d(5, 4, 3)

    def forward(self, x, y):
        return self.conv(self.norm(torch.cat([x, y], 1)).tanh())


def test_several_maps_get_the_gradients_of_the_plain_pass():
    torch.manual_seed(0)
    plain = Meeting()
    frugal = copy.deepcopy(plain)
    maps = [torch.randn(3, 2, 9), torch.randn(3, 3, 9)]
    results = []
    for net, run in ((plain, plain), (frugal, lambda *xs: recomputed(frugal, *xs))):
        inputs = [x.clone().requires_grad_() for x in maps]
        run(*inputs).square().sum().backward()
        results.append([x.grad for x in inputs] + [p.grad for p in net.parameters()])
        results[-1] += [*net.buffers()]
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_an_exported_program_recomputes_nothing():
    net = chain().eval()
    net.recompute = True
    x = torch.randn(2, 8, 16)
    program = torch.export.export(net, (x,), strict=True)
    assert not [node for node in program.graph.nodes if "checkpoint" in str(node.target)]
    assert torch.equal(program.module()(x), net(x))
