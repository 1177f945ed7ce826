"""A convolution that keeps the length, of torch's own layers, for reference networks."""

from torch import nn


def conv(before, after, size):
    """Of an even kernel's zeros the larger half stands behind; with batch norm and ReLU."""
    left = (size - 1) // 2
    pad = nn.ZeroPad1d((left, size - 1 - left))
    layers = pad, nn.Conv1d(before, after, size, bias=False), nn.BatchNorm1d(after), nn.ReLU()
    return nn.Sequential(*layers)
