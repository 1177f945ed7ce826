"""Prediction: any callable with a card becomes records, embeddings and evaluations."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
