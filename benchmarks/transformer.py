"""TextCNN against a transformer encoder of equal parameters: accuracy, and latency by length.

    python benchmarks/transformer.py accuracy --seeds 0 1
    python benchmarks/transformer.py latency

The peer is torch's own `nn.TransformerEncoder` on vectors of its own tokens plus learnt places: two
layers of four heads before whose sublayers the norms stand, feed-forward layers twice as wide as
the vectors, the masked mean over the text, dropout and a linear head; the vectors are as wide as
makes the parameters nearest TextCNN's. "accuracy": BBC news, the split, tokens, recipe and epochs
of the default command for both, beside each other for each seed; the encoder learns at each of
`--rates`, and the validation texts choose. "latency": batches of texts of random words, on the
threads that OMP_NUM_THREADS says; TextCNN as it is and with its words looked up (`tabulate`); the
encoder with torch's fast path. All take turns. `--longest` and `--epochs` make it smaller.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import convarium
import harness
import texts
from convarium import data, seeds, train
from convarium.files import read_json
from convarium.intervals import wilson
from convarium.predict import Predictor

HEADS, LAYERS, INNER, WIDEST = 4, 2, 2, 257
LENGTHS, BATCHES = (32, 64, 128, 256, 512), (1, 64)
RATES = (1e-3, 4e-3)


class Encoder(nn.Module):
    """A transformer encoder of texts.

    Shape:
        int64 (B, T) with 0 for padding -> (B, K)
    """

    def __init__(self, vocabulary: int, width: int, inner: int, classes: int, longest: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, width, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(longest, width))
        layer = nn.TransformerEncoderLayer(
            width, HEADS, inner, dropout=0.1, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, LAYERS, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(width, classes))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of each text."""
        real = tokens != 0 if mask is None else mask
        x = self.vectors(tokens) + self.places[: tokens.shape[1]]
        x = self.layers(x, src_key_padding_mask=~real) * real.unsqueeze(2)
        logits: Tensor = self.head(x.sum(1) / real.sum(1, keepdim=True).clamp(min=1))
        return logits


def parameters(model: nn.Module) -> int:
    """Numbers that are learnt."""
    return sum(p.numel() for p in model.parameters())


def encoder(vocabulary: int, classes: int, longest: int, goal: int) -> Encoder:
    """The encoder whose parameters are nearest those of TextCNN."""
    with torch.device("meta"):
        counts = {
            width: parameters(Encoder(vocabulary, width, INNER * width, classes, longest))
            for width in range(HEADS, WIDEST, HEADS)
        }
    width = min(counts, key=lambda width: abs(counts[width] - goal))
    return Encoder(vocabulary, width, INNER * width, classes, longest)


def one_seed(seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Both on one split of BBC news; of the encoder's rates the best on the validation texts."""
    with tempfile.TemporaryDirectory() as folder:
        table = texts.as_table(Path(folder) / "bbc.csv", texts.bbc())
        dataset = data.open_dataset(table, text_column="text", label_column="label")
        choice = train.recommend(dataset)
        test, validation = texts.SHARES["bbc"]
        parts = data.split(dataset, test=test, validation=validation, seed=seed)
        tokens = data.TokenOptions(longest=settings["longest"])
        preprocessing = data.fit_preprocessing(parts.train, tokens=tokens)
        shape = {"num_classes": len(dataset.classes), **preprocessing.network_options}
        epochs = settings["epochs"] or choice.config.epochs
        config = dataclasses.replace(choice.config, seed=seed, precision="fp32", epochs=epochs)
        seeds.torch_seed(torch.device("cpu"), seed, "initial weights")
        ours = convarium.create(choice.model, **{**choice.options, **shape})
        goal, sizes = parameters(ours), (shape["vocabulary"], shape["num_classes"])
        found = [trained(ours, parts, config, preprocessing)]
        for rate in settings["rates"]:
            seeds.torch_seed(torch.device("cpu"), seed, "initial weights")
            model = encoder(*sizes, preprocessing.longest, goal)
            own = dataclasses.replace(config, vectors="drawn", learning_rate=rate)
            found.append(trained(model, parts, own, preprocessing))
    best = max(found[1:], key=lambda each: each["validation"])
    return {"seed": seed, "text_cnn": found[0], "encoder": best, "encoders": found[1:]}


def trained(
    model: nn.Module, parts: data.Parts, config: train.TrainConfig, preprocessing: Any
) -> dict[str, Any]:
    """Train, and measure on the validation and test texts."""
    seconds = harness.seconds(lambda: train.fit(model, parts, config, preprocessing=preprocessing))
    predictor = Predictor(model, data.build_card(parts, preprocessing))
    result = predictor.evaluate(parts.test)
    right = round(result.score * result.n)
    return {
        "rate": config.learning_rate,
        "validation": predictor.evaluate(parts.validation).score,
        "n": result.n,
        "accuracy": result.score,
        "interval": list(wilson(right, result.n)),
        "parameters": parameters(model),
        "seconds": round(seconds, 1),
    }


def accuracy(
    seeds_wanted: Sequence[int], settings: Mapping[str, Any], found: dict[str, Any], out: str
) -> None:
    """Run the seeds that are missing, writing after each."""
    kept = found.get("accuracy", {})
    runs = kept.get("runs", []) if kept.get("settings") == settings else []
    for seed in seeds_wanted:
        if any(run["seed"] == seed for run in runs):
            continue
        runs.append(one_seed(seed, settings))
        runs.sort(key=lambda run: run["seed"])
        means = {
            name: harness.over_seeds([run[name]["accuracy"] for run in runs])
            for name in ("text_cnn", "encoder")
        }
        gaps = [run["text_cnn"]["accuracy"] - run["encoder"]["accuracy"] for run in runs]
        told = {"settings": settings, **means, "gap": harness.over_seeds(gaps), "runs": runs}
        found["accuracy"] = told
        write(found, out)
        print(f"seed {seed}:", {name: means[name]["mean"] for name in means}, "so far")


def latency(rounds: int) -> dict[str, Any]:
    """Milliseconds a batch, by tokens and batch, of all that take turns."""
    torch.manual_seed(0)
    vocabulary, classes = 20_000, 20
    options = {"vocabulary": vocabulary, "num_classes": classes}
    plain = convarium.create("text_cnn", **options).eval()
    quick = convarium.create("text_cnn", **options).eval().tabulate()
    theirs = encoder(vocabulary, classes, max(LENGTHS), parameters(plain)).eval()
    rows = []
    for length in LENGTHS:
        for batch in BATCHES:
            x = plain.example_input(batch, length)
            models = {"text_cnn": plain, "looked_up": quick, "encoder": theirs}
            with torch.inference_mode():
                calls = {name: lambda model=model, x=x: model(x) for name, model in models.items()}
                seconds = harness.alternate(calls, rounds)
            own = {
                name: harness.summary([1e3 * value for value in values])
                for name, values in seconds.items()
            }
            faster = {
                name: harness.ratio(seconds["encoder"], seconds[name])
                for name in ("text_cnn", "looked_up")
            }
            rows.append({"tokens": length, "batch": batch, "ms": own, "times_faster": faster})
            print(length, batch, {name: round(own[name]["median"], 3) for name in own}, faster)
    counts = {"text_cnn": parameters(plain), "encoder": parameters(theirs)}
    return {"parameters": counts, "threads": torch.get_num_threads(), "rows": rows}


def write(found: Mapping[str, Any], out: str) -> Path:
    """What was measured so far, in one file."""
    own = {name: found[name] for name in ("accuracy", "latency") if name in found}
    return harness.write(out, own, ["numpy", "tokenizers"])


def main() -> int:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["accuracy", "latency"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rates", type=float, nargs="+", default=[*RATES], help="of the encoder")
    parser.add_argument("--longest", type=int, help="tokens of a text; all up to 512 without")
    parser.add_argument("--epochs", type=int, help="of both; those of the command without")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", default="transformer", help="name of the result")
    arguments = parser.parse_args()
    path = harness.RESULTS / f"{arguments.out}.json"
    found = read_json(path) if path.exists() else {}
    if "accuracy" in arguments.parts:
        settings = {name: getattr(arguments, name) for name in ("rates", "longest", "epochs")}
        accuracy(arguments.seeds, settings, found, arguments.out)
    if "latency" in arguments.parts:
        found["latency"] = latency(arguments.rounds)
    print(write(found, arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
