"""Torchvision's import asks for its compiled operators; declared, they need not be there."""

from functools import cache
from typing import Any

import torch


@cache
def declare() -> torch.library.Library:
    """Declare them for as long as the process runs; call it before torchvision is imported."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d"):
        library.define(f"{name}(Tensor x) -> Tensor")
        library.define(f"_{name}_backward(Tensor x) -> Tensor")
    library.define("qroi_align(Tensor x) -> Tensor")
    return library


def photos(folder: str, size: int, **loading: Any) -> torch.utils.data.DataLoader:
    """A folder of JPEGs as torchvision's pipeline and torch's DataLoader read it, shuffled."""
    declare()
    from torchvision import datasets, transforms

    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return torch.utils.data.DataLoader(
        datasets.ImageFolder(folder, change), shuffle=True, **loading
    )
