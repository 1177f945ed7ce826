"""A peer of `benchmarks/training.py`: Lightning's Trainer, torchvision's pipeline, timm's network.

Usage: training_lightning.py FOLDER NETWORK SIZE BATCH WORKERS FLAGS
"""

import sys
import tempfile
import warnings

import lightning
import torch
from torchvision_operators import photos
from training_loops import network, say, tell

folder, name = sys.argv[1:3]
size, batch, workers = map(int, sys.argv[3:6])
rounded, last = "bf16" in sys.argv[6], "channels_last" in sys.argv[6]
warnings.simplefilter("ignore")


class Module(lightning.LightningModule):
    """Image classification as Lightning's examples have it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network(name, size)
        if last:
            self.model.to(memory_format=torch.channels_last)

    def training_step(self, pair, number):
        """The loss of a batch."""
        images, target = pair
        if last:
            images = images.contiguous(memory_format=torch.channels_last)
        loss = torch.nn.functional.cross_entropy(self.model(images), target)
        self.log("train_loss", loss)
        return loss

    def on_train_batch_end(self, *_):
        """The update is done."""
        tell("step")

    def configure_optimizers(self):
        """SGD with momentum."""
        return torch.optim.SGD(
            self.parameters(),
            lr=0.01,
            momentum=0.9,
            nesterov=True,
            weight_decay=1e-4,
            fused=last or None,
        )


loader = photos(folder, size, batch_size=batch, num_workers=workers, drop_last=True)
module = Module()
with tempfile.TemporaryDirectory() as place:
    options = {"precision": "bf16-mixed"} if rounded else {}
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, default_root_dir=place, **options
    )
    say(module.model, lightning=lightning.__version__)
    trainer.fit(module, loader)
