"""The public names, frozen: adding one is fine, renaming one is for the changelog."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

PUBLIC = {
    "convarium": """
        create data deploy errors explain graph layers list_models load load_ipython_extension
        measure models open_run predict processes register report save serve studio tasks train
        unload_ipython_extension
    """,
    "convarium.data": """
        Augmentation Batch Climatology Dataset FieldAugmentation FieldBatch FieldOptions FieldPairs
        FieldPreprocessing Fields Grid GridOptions Lookalikes Mix Overview Part Parts
        Preprocessing Series SeriesAugmentation SeriesOptions SeriesPreprocessing ShardStream
        Skipped Survey TextAugmentation TextPreprocessing TimeParts TokenOptions Volume
        VolumeAugmentation VolumePreprocessing batches build_card coarsen column_words
        fields_of_arrays fit_climatology fit_preprocessing given_parts lookalikes match_classes
        model_pairs open_dataset open_fields open_inputs open_stream overview packed
        perfect_pairs read_image read_mask read_volume reduced split split_folds
        split_stream split_times static_fields steps_per_epoch target_in_words training_batches
        volume_sizes
    """,
    "convarium.deploy": """
        Artefact Drop Export FieldExport Folding PictureFiles Quantisation SequenceExport TunedForm
        Tuning Verification export export_fields export_sequences export_stream fold in_use
        quantise tune verify
    """,
    "convarium.explain": """
        Attribution Audit AverageDrop Comparison Energy Excitement ExcitingInput FeatureMaps
        FieldImportance Filters PointingGame RemovalCurve Road SampleMean SanityCheck
        ablation_cam audit average_drop deletion eigen_cam energy exciting_inputs feature_maps
        field_importance filters finer_cam fuse grad_cam grad_cam_plus_plus
        guided_backpropagation hires_cam input_gradients insertion integrated_gradients
        layer_cam occlusion pointing_game road sanity_check score_cam smooth_grad xgrad_cam
    """,
    "convarium.graph": """
        Call Graph Operation Timing Value eager paired_timing trace untouched unwrapped
    """,
    "convarium.layers": """
        Activation BasicBlock BlockTaps Blocks BlurPool BottleneckBlock CONVOLUTIONS CausalBlock
        CausalConv1d CausalNorm ChannelNorm Constraint ConstraintKind ConvBlock ConvNormAct DropPath
        EveryStep InitialTable InterpolationKind InvertedResidual LastStep LayerScale Level
        LocalLinear MaskedBatchNorm1d MaskedBlocks MaskedMaxPool1d MeanOverTime NORMS Norm
        PadShortcut Padding PixelShuffle PixelUnshuffle Pool PreActBasicBlock PreActBottleneckBlock
        SequenceConv SequenceShortcut Shortcut SqueezeExcitation Table TorchLayers Upsampling
        UpsamplingKind Windows block_mean block_step coarser conservation_penalty drop_path_rates
        field_conv global_average handing_on he_normal he_normal_fan_in hidden in_blocks initialise
        interpolate make_activation make_conv make_norm make_pool materialise_weights mean_vectors
        recomputed same_padding small_normal tiny_normal torch_layers uniform_fan_in unit
        upsampling_steps with_plain_weights
    """,
    "convarium.measure": """
        BatchLatency Candidate Choices CompoundScaling Cost Design EffectiveField Equivariance
        FamilyRow Field GradientFlow JacobianSpectrum Latency LayerCost LayerEquivariance
        LayerFacts LayerFlow LayerTime Miss Profile ReceptiveField ShiftConsistency
        bottleneck_against_plain choose compare_families compound_scaling connection_cost
        conv_matrix convolve cost cross_correlate depthwise_cost_ratio effective_receptive_field
        equivariance gradient_flow jacobian_singular_values latency layers_for_receptive_field
        operator_norm output_shape pareto_front profile receptive_field
        separable_against_standard shift_consistency singular_values stack_against_kernel
        temporal_receptive_field
    """,
    "convarium.models": """
        Classifier FieldToField Interpolator KeyReport Layout Network SmallMapWarning Stage Variant
        Weights check_input create fit_places left_to_places list_models load load_published
        pull_from_hub push_to_hub read_card register save
    """,
    "convarium.predict": """
        Downscaled Neighbours Predictor Run Tiling VectorQuality build_index check_table_name
        check_vectors_name downscale evaluated_draws field_samples fine_dataset fine_values
        fit_temperature index_recall nearest open_run read_vectors record_baselines record_result
        vector_quality write_predictions write_records write_shards write_table write_vectors
    """,
    "convarium.report": """
        AugmentedSample Explained HeatedSeries HeatedTokens Pair Picture augmented_samples
        check_page_name class_balance confused_pairs confusion_matrix curves draw_augmented
        draw_effective_field draw_field_growth draw_network draw_series exciting_pictures
        explain_samples filter_pictures heatmap_page heatmap_sheet map_pictures
        network_lines report_run score_json sequence_page show_samples slices_heat
        slices_picture some_of_each_class svg_as_png tile_sheet view_page write_audit
        write_augmented write_heat write_overlays write_page
    """,
    "convarium.serve": """
        Journal Limits Service build_app check_bind read_token run_server
    """,
    "convarium.studio": """
        Desk build_studio
    """,
    "convarium.tasks": """
        Bin Calibration ClassEvaluation ClassRecord ClassRow ClassScores Classification
        Downscaling Evaluation FieldComparison FieldEvaluation FieldRecord FieldRow Forecast
        ForecastEvaluation LabelEvaluation LabelRecord LabelRow Meter Multilabel Objective
        Record Regression Task ValueEvaluation ValueRecord ValueRow balanced_labels balanced_weights
        band_groups baseline_fields beside_baselines crps_members crps_normal crps_quantiles
        field_loss from_card radial_spectrum rank_histogram return_values season_groups
        soft_penalty together
    """,
    "convarium.train": """
        Choice CrossValidation FoldResult History LargestBatch Observer Plan Probe ProgressLines
        RECIPES RateSweep Recipe Tracker TrainConfig cross_validation find_learning_rate fit
        largest_batch lightning_module plan_budget probe read_preprocessing read_settings recommend
        refuse_existing
    """,
}


@pytest.mark.parametrize("room", PUBLIC)
def test_public_names_are_these(room: str) -> None:
    package = importlib.import_module(room)
    assert sorted(package.__all__) == sorted(PUBLIC[room].split())
    assert len(set(package.__all__)) == len(package.__all__)


@pytest.mark.parametrize("room", PUBLIC)
def test_public_names_exist_and_are_at_home(room: str) -> None:
    package = importlib.import_module(room)
    for name in PUBLIC[room].split():
        value = getattr(package, name)
        assert name in dir(package)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__.startswith(room), f"{name} lives in {value.__module__}"


def test_a_thing_is_exported_once() -> None:
    homes: dict[str, list[str]] = {}
    for room in set(PUBLIC) - {"convarium"}:
        for name in PUBLIC[room].split():
            homes.setdefault(name, []).append(room)
    assert {name: rooms for name, rooms in homes.items() if len(rooms) > 1} == {}


def test_a_room_is_never_also_a_function() -> None:
    rooms = {room.split(".")[-1] for room in PUBLIC}
    for room in set(PUBLIC) - {"convarium"}:
        assert rooms.isdisjoint(PUBLIC[room].split())


def test_a_file_does_not_hide_a_public_name_of_its_room(root: Path) -> None:
    for room in set(PUBLIC) - {"convarium"}:
        folder = root / "src" / room.replace(".", "/")
        files = {path.stem for path in folder.glob("*.py")}
        assert files.isdisjoint(PUBLIC[room].split()), room


def test_every_room_has_its_list(root: Path) -> None:
    rooms = {f"convarium.{path.parent.name}" for path in (root / "src/convarium").glob("*/*.pyi")}
    assert rooms | {"convarium"} == set(PUBLIC)


def test_stubs_list_what_they_import(root: Path) -> None:
    for path in (root / "src").rglob("__init__.pyi"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.asname
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        listed = next(
            ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)
        )
        assert imported == set(listed), f"{path} imports other names than it lists"
