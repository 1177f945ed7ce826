"""What `convarium train` says before it trains: the data, the network, how, and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convarium.cli.choosing import Prepared
from convarium.cli.parsing import write
from convarium.train.named import RECIPES

if TYPE_CHECKING:
    from convarium.data import Parts, Preprocessing, TextPreprocessing
    from convarium.train.config import TrainConfig


def announce(ready: Prepared) -> None:
    """What will be trained, on what, and how."""
    from convarium.train.grouping import grouping_lines

    choice, parts, config = ready.choice, ready.parts, ready.config
    counts = ", ".join(f"{count} {name}" for name, count in parts.counts.items())
    said = {key: value for key, value in choice.options.items() if key != "spatial_dims"}
    own = "".join(f", {key}={value}" for key, value in said.items())
    write(f"data: {choice.reason}; {counts}; {len(parts.train.dataset.skipped)} skipped")
    if parts.crossing:
        write(f"warning: {parts.crossing} samples of the given parts have a copy in another part")
    for line in alike_lines(parts):
        write(line)
    shape = " x ".join(str(n) for n in ready.preprocessing.input_shape)
    write(f"network: {choice.model}{own}, input {shape}")
    for line in seen_lines(parts, ready.preprocessing):
        write(line)
    write(
        f"recipe: {f'{config.recipe}, ' if config.recipe else ''}{config.optimizer}, "
        f"{config.epochs} epochs, batch {config.batch_size}, "
        f"rate {config.learning_rate:.2g}, {_changes(config, ready.preprocessing.kind)}, "
        f"seed {config.seed}"
    )
    usual = RECIPES[config.recipe].options.get("batch_size", 0) if config.recipe else 0
    if config.batch_size < usual:
        write(f"note: batches of {config.batch_size} instead of the {usual} of {config.recipe}")
    for line in grouping_lines(ready.model, config):
        write(line)
    if ready.probe is not None:
        write(f"arithmetic: {ready.probe.sentence()}")
    if ready.plan is not None:
        write(f"budget: {ready.plan.sentence()}")
    if config.flip and all(len(name) == 1 for name in parts.train.classes):
        kind = ready.preprocessing.kind
        write(f"warning: half of the {kind} are mirrored; for digits and letters add --no-flip")
    if config.recipe and RECIPES[config.recipe].pretrained and ready.model.published is None:
        write(
            f"warning: the network starts from random weights, and {config.recipe} is for "
            "published ones; add --option pretrained=true"
        )


def _changes(config: TrainConfig, kind: str) -> str:
    """What is changed at random, in a few words."""
    from convarium.data.kinds import KINDS

    if kind == "texts":
        dropped = f"{config.word_dropout:.0%} of the words dropped"
        return dropped if config.word_dropout else "no words dropped"
    flips = "flips" if config.flip else "no flips"
    return f"{flips}, crops by {config.pad_crop} {KINDS[kind].dots}"


def _text_lines(parts: Parts, preprocessing: TextPreprocessing) -> list[str]:
    """What of the training texts the network sees."""
    from convarium.data.texts.fitting import cut_of

    cut = cut_of(parts.train, preprocessing)
    kept = max(1, cut.tokens - cut.lost)
    lines = [
        f"tokens: {len(preprocessing.tokens):,} known, {cut.unknown / kept:.1%} of the training "
        f"tokens unknown; {cut.median} a text (median), {cut.longest} at most"
    ]
    if cut.cut:
        lines.append(
            f"seen: {cut.cut:,} of {cut.texts:,} training texts are cut at "
            f"{preprocessing.longest} tokens, which loses {cut.lost / cut.tokens:.1%} of all; "
            "--max-length keeps more"
        )
    return lines


def seen_lines(parts: Parts, preprocessing: Preprocessing) -> list[str]:
    """What share of the volumes the input holds, where a common spacing may cut some off.

    Of texts what share of their tokens it holds.
    """
    from convarium.data import TextPreprocessing

    if isinstance(preprocessing, TextPreprocessing):
        return _text_lines(parts, preprocessing)
    from convarium.data import VolumePreprocessing
    from convarium.data.volumes.fitting import shares_seen

    if not isinstance(preprocessing, VolumePreprocessing) or preprocessing.spacing is None:
        return []
    seen = shares_seen(parts.train, preprocessing)
    if seen.min() == 1:
        return ["seen: the whole of each training volume"]
    told = f"{seen.mean():.1%} of a training volume on average, {seen.min():.1%} at least"
    return [f"seen: {told}; the rest is cut off: a larger --size or --spacing shows more"]


def alike_lines(parts: Parts) -> list[str]:
    """A warning where pictures of the test or the validation part look like training pictures."""
    from convarium.data import lookalikes

    found = {word: count for word, count in lookalikes(parts).counts.items() if count}
    if not found:
        return []
    told = " and ".join(f"{count} {word}" for word, count in reversed(found.items()))
    grouped = parts.settings.get("group_alike") or parts.crossing
    remedy = "" if grouped else "; --group-alike keeps them in one part"
    texts = parts.train.dataset.kind == "texts"
    verb = "texts read like training texts" if texts else "images look like training images"
    return [f"warning: {told} {verb}{remedy}"]
