"""Networks really trained on ten topics of clip art, for benchmarks that judge accuracy.

Half of the pictures train a network, the other half is its validation part, so that there are
enough to show small losses. Each network is trained once and kept, as a run folder.
"""

from __future__ import annotations

from pathlib import Path

import torch

from convarium import data, files, models, predict, seeds, train
from harness import fetched

#: The largest topics, but for a class of what is not sorted.
TOPICS = (
    "computer",
    "shapes",
    "signs_and_symbols",
    "recreation",
    "people",
    "transportation",
    "food",
    "animals",
    "special",
    "tools",
)


def trained(
    name: str, folder: Path, *, side: int = 64, epochs: int = 12, pictures: int | None = None
) -> predict.Run:
    """A network of ten outputs after so many epochs, as it was kept or trained now.

    Args:
        name: of the catalogue.
        folder: of all kept runs and the table of their pictures.
        side: of the inputs, in pixels.
        epochs: at a batch of 64, by AdamW with a rate of .001 that falls to 0.
        pictures: to take, at most; None takes all.
    """
    run = folder / f"{name}-{side}-{epochs}-{pictures or 'all'}"
    if not (run / "card.json").exists():
        parts = data.split(data.open_dataset(table(folder, pictures)), validation=0.5, test=0.0)
        steps = data.fit_preprocessing(parts.train, size=side)
        config = train.TrainConfig(
            epochs=epochs, batch_size=64, optimizer="adamw", learning_rate=1e-3, weight_decay=0.05
        )
        torch.manual_seed(0)
        network = models.create(name, num_classes=len(TOPICS))
        resume = run.exists()
        train.fit(network, parts, config, preprocessing=steps, out=run, resume=resume)
    return predict.open_run(run)


def table(folder: Path, pictures: int | None) -> Path:
    """A table of the pictures' paths and topics."""
    path = folder / f"pictures-{pictures or 'all'}.csv"
    if not path.exists():
        root = fetched("openclipart")
        found = [
            (each, topic) for topic in TOPICS for each in sorted((root / topic).rglob("*.png"))
        ]
        chosen = sorted(seeds.permutation(len(found), 0, "clip art").tolist()[:pictures])
        rows = "".join(f'"{found[k][0]}",{found[k][1]}\n' for k in chosen)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(path, f"path,label\n{rows}")
    return path
