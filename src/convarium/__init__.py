"""Convolutional networks behind glass: build, train, explain and deploy them, in one library.

Importing this package loads nothing else; every room is loaded when it is first used.

>>> import convarium
>>> network = convarium.create("lenet5")
>>> sum(parameter.numel() for parameter in network.parameters())
61706
"""

import lazy_loader as _lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
