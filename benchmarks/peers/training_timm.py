"""A peer of `benchmarks/training.py`: the loop of timm's train.py, with its loader and optimiser.

The script itself is not in timm's package; this is its `train_one_epoch` with the defaults of its
arguments, from the parts that the package has. Left out is what costs nothing here: distribution,
logging every 50 updates, and colour jitter and smoothing, which the others do not have either.
FLAGS may name bf16 (--amp --amp-dtype bfloat16) and channels_last (--channels-last).

Usage: training_timm.py FOLDER NETWORK SIZE BATCH WORKERS FLAGS
"""

# ruff: isort: skip_file
# training_loops finds torchvision and timm, so it comes before them.
import contextlib
import sys

import torch
from training_loops import network, say, tell

import timm.data
import timm.optim
import timm.scheduler
import timm.utils

folder, name = sys.argv[1:3]
size, batch, workers = map(int, sys.argv[3:6])
rounded, last = "bf16" in sys.argv[6], "channels_last" in sys.argv[6]
device = torch.device("cpu")

model = network(name, size)
if last:
    model.to(memory_format=torch.channels_last)
optimizer = timm.optim.create_optimizer_v2(
    model, opt="sgd", lr=0.01, momentum=0.9, weight_decay=1e-4
)
loader = timm.data.create_loader(
    timm.data.create_dataset("", folder),
    input_size=(3, size, size),
    batch_size=batch,
    is_training=True,
    color_jitter=0.0,
    num_workers=workers,
    device=device,
)
scheduler, _ = timm.scheduler.create_scheduler_v2(
    optimizer, sched="cosine", num_epochs=300, updates_per_epoch=len(loader), step_on_epochs=True
)
loss_function = torch.nn.CrossEntropyLoss()
autocast = torch.autocast("cpu", torch.bfloat16) if rounded else contextlib.nullcontext()
losses, times = timm.utils.AverageMeter(), timm.utils.AverageMeter()

say(model)
model.train()
optimizer.zero_grad()
for number, (inputs, target) in enumerate(loader):
    if last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    with autocast:
        loss = loss_function(model(inputs), target)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.update(loss.item(), inputs.size(0))
    scheduler.step_update(num_updates=number + 1, metric=losses.avg)
    tell("step")
