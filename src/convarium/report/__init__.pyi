from .audited import write_audit as write_audit
from .augmented import AugmentedSample as AugmentedSample
from .augmented import augmented_samples as augmented_samples
from .augmented import check_page_name as check_page_name
from .augmented import draw_augmented as draw_augmented
from .augmented import write_augmented as write_augmented
from .balance import class_balance as class_balance
from .effective_field import draw_effective_field as draw_effective_field
from .explained import Explained as Explained
from .explained import explain_samples as explain_samples
from .explained import show_samples as show_samples
from .faithful import score_json as score_json
from .fields import draw_field_growth as draw_field_growth
from .heat import heatmap_sheet as heatmap_sheet
from .heat_files import write_heat as write_heat
from .heat_files import write_overlays as write_overlays
from .heat_page import heatmap_page as heatmap_page
from .learning import curves as curves
from .matrix import Pair as Pair
from .matrix import confused_pairs as confused_pairs
from .matrix import confusion_matrix as confusion_matrix
from .network import draw_network as draw_network
from .network import network_lines as network_lines
from .page import write_page as write_page
from .pictures import Picture as Picture
from .raster import svg_as_png as svg_as_png
from .run import report_run as report_run
from .sequences import HeatedSeries as HeatedSeries
from .sequences import HeatedTokens as HeatedTokens
from .sequences import draw_series as draw_series
from .sequences import sequence_page as sequence_page
from .slices import slices_heat as slices_heat
from .slices import slices_picture as slices_picture
from .tiles import tile_sheet as tile_sheet
from .tiles import view_page as view_page
from .trained_on import some_of_each_class as some_of_each_class
from .viewed import exciting_pictures as exciting_pictures
from .viewed import filter_pictures as filter_pictures
from .viewed import map_pictures as map_pictures

__all__ = [
    "AugmentedSample",
    "Explained",
    "HeatedSeries",
    "HeatedTokens",
    "Pair",
    "Picture",
    "augmented_samples",
    "check_page_name",
    "class_balance",
    "confused_pairs",
    "confusion_matrix",
    "curves",
    "draw_augmented",
    "draw_effective_field",
    "draw_field_growth",
    "draw_network",
    "draw_series",
    "exciting_pictures",
    "explain_samples",
    "filter_pictures",
    "heatmap_page",
    "heatmap_sheet",
    "map_pictures",
    "network_lines",
    "report_run",
    "score_json",
    "sequence_page",
    "show_samples",
    "slices_heat",
    "slices_picture",
    "some_of_each_class",
    "svg_as_png",
    "tile_sheet",
    "view_page",
    "write_audit",
    "write_augmented",
    "write_heat",
    "write_overlays",
    "write_page",
]
