from .accuracy import Drop as Drop
from .artefact import Artefact as Artefact
from .exporting import Export as Export
from .exporting import export as export
from .fields import FieldExport as FieldExport
from .fields import export_fields as export_fields
from .folding import Folding as Folding
from .folding import fold as fold
from .picture_files import PictureFiles as PictureFiles
from .quantising import Quantisation as Quantisation
from .quantising import quantise as quantise
from .sequence_files import SequenceExport as SequenceExport
from .sequences import export_sequences as export_sequences
from .sequences import export_stream as export_stream
from .tuned import TunedForm as TunedForm
from .tuned import Tuning as Tuning
from .tuned import in_use as in_use
from .tuning import tune as tune
from .verification import Verification as Verification
from .verification import verify as verify

__all__ = [
    "Artefact",
    "Drop",
    "Export",
    "FieldExport",
    "Folding",
    "PictureFiles",
    "Quantisation",
    "SequenceExport",
    "TunedForm",
    "Tuning",
    "Verification",
    "export",
    "export_fields",
    "export_sequences",
    "export_stream",
    "fold",
    "in_use",
    "quantise",
    "tune",
    "verify",
]
