from .exporting import Export as Export
from .exporting import export as export
from .sequence_files import SequenceExport as SequenceExport
from .sequences import export_sequences as export_sequences
from .sequences import export_stream as export_stream
from .verification import Verification as Verification
from .verification import verify as verify

__all__ = [
    "Export",
    "SequenceExport",
    "Verification",
    "export",
    "export_sequences",
    "export_stream",
    "verify",
]
