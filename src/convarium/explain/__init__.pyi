from .attribution import Attribution as Attribution
from .cam import grad_cam as grad_cam

__all__ = ["Attribution", "grad_cam"]
