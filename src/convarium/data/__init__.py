"""Data: data sets, splits, preprocessing, the data's part of the card, batches, augmentation."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
