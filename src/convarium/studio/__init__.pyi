from .app import build_studio as build_studio
from .desk import Desk as Desk

__all__ = [
    "Desk",
    "build_studio",
]
