"""The real peak of a network's memory, as torch's allocator has it."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile


def allocated(model, x, training):
    """The most bytes that torch's allocator had handed out at once."""
    model.train(training)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        copy = x.clone()
        if training:
            model(copy).square().mean().backward()
        else:
            with torch.inference_mode():
                model(copy)
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most + sum(t.nbytes for t in [*model.parameters(), *model.buffers()])
