from .exporting import Export as Export
from .exporting import export as export
from .verification import Verification as Verification
from .verification import verify as verify

__all__ = ["Export", "Verification", "export", "verify"]
