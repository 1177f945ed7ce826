"""Our networks, losses and rates in Lightning's Trainer."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn

from convarium.data import Batch
from convarium.errors import MissingExtraError, OptionError, import_extra
from convarium.tasks import Objective, Task
from convarium.train.config import TrainConfig
from convarium.train.freezing import Freezing
from convarium.train.gradients import whose
from convarium.train.optimizers import build_optimizer, set_rate
from convarium.train.schedule import learning_rate

_COMPROMISED = ("2.6.2", "2.6.3")
_APPLIED = (
    "optimizer", "learning_rate", "momentum", "nesterov", "weight_decay", "layer_decay",
    "schedule", "warmup", "milestones", "gamma", "freeze_epochs", "unfreeze_epochs",
    "loss", "label_smoothing", "focal_gamma", "huber_delta", "soft_constraint", "recipe",
)  # fmt: skip
_ELSEWHERE = {  # options that Lightning or the data decides on, and where
    "epochs": "Trainer(max_epochs=)",
    "accumulate": "Trainer(accumulate_grad_batches=)",
    "clip_norm": "Trainer(gradient_clip_val=)",
    "precision": "Trainer(precision=)",
    "device": "Trainer(accelerator=)",
    "time_budget": "Trainer(max_time=)",
    "patience": "Lightning's EarlyStopping",
    "ema": "Lightning's WeightAveraging",
    "checkpoint_seconds": "Lightning's ModelCheckpoint(train_time_interval=)",
    "seed": "lightning.seed_everything",
    "deterministic": "Trainer(deterministic=)",
    "layout": "network.to(memory_format=)",
    "compile": "torch.compile(network)",
    "batch_size": "your DataLoader(batch_size=)",
    "workers": "your DataLoader(num_workers=)",
    "balance": "your DataLoader(sampler=), or your own loss",
}
_DATA = "the data of your DataLoader"  # augmentation, and whatever else is not named


def lightning_module(model: nn.Module, task: Task, config: TrainConfig | None = None) -> Any:
    """A `LightningModule` that trains a network as `train.fit` does: its loss, groups and rates.

    Batches are `data.Batch`, or pairs of inputs and targets as a DataLoader gives them, augmented
    or not. Of the configuration count the optimiser, the schedule over the Trainer's steps, the
    loss, and what is frozen; whatever the Trainer or the data decides on must have its default
    here. A network that works its first weights out of the data takes the first batch for it. It
    logs `train_loss`, `val_loss` and `val_<metric>`.

    Args:
        model: any module whose outputs fit the task.
        task: such as `tasks.Classification(classes=...)`.
        config: how; None means `TrainConfig()`.

    Raises:
        MissingExtraError: Lightning is not installed, or a compromised release of it.
        OptionError: an option that the Trainer or your data decides on differs from its default.
    """
    lightning = import_extra("lightning", "lightning")
    if lightning.__version__ in _COMPROMISED:
        raise MissingExtraError(
            f"lightning {lightning.__version__} is a compromised release; remove it and run: pip "
            "install 'convarium[lightning]'"
        )
    config = TrainConfig() if config is None else config
    for option in dataclasses.fields(config):
        value = getattr(config, option.name)
        if option.name not in _APPLIED and value != option.default:
            raise OptionError(
                f"{option.name} (={value!r}) has no effect in Lightning, where it is for "
                f"{_ELSEWHERE.get(option.name, _DATA)}; leave it at its default, {option.default}."
            )
    taken = ("loss", "label_smoothing", "focal_gamma", "huber_delta", "soft_constraint")
    objective = Objective(**{name: getattr(config, name) for name in taken})
    objective.check(task)
    module: Any = type("NetworkModule", (_Steps, lightning.LightningModule), {})
    return module(model, task, config, objective)


def as_batch(batch: Batch | tuple[Tensor, Tensor] | list[Tensor]) -> Batch:
    """A batch as it is, or of a pair of inputs and targets.

    >>> len(as_batch((torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))))
    2
    """
    if isinstance(batch, Batch):
        return batch
    inputs, target = batch
    index = torch.arange(len(target))
    return Batch(inputs=(inputs,), target=target, mask=None, index=index, weight=None)


class _Steps:
    """What a `LightningModule` does, for any class that has its methods beside it."""

    log: Any
    trainer: Any
    current_epoch: int

    def __init__(
        self, model: nn.Module, task: Task, config: TrainConfig, objective: Objective
    ) -> None:
        super().__init__()
        self.model, self.task, self.config, self.objective = model, task, config, objective
        self.freezing = Freezing(model, config)
        self.rows = 0  # that this process has trained on

    def forward(self, x: Tensor) -> Tensor:
        """The network's outputs."""
        outputs: Tensor = self.model(x)
        return outputs

    def on_train_epoch_start(self) -> None:
        """Freeze what does not learn yet."""
        self.freezing.apply(self.current_epoch)

    def on_train_batch_start(self, batch: Any, number: int) -> None:
        """Let a network that asks for it work out its first weights, of the first process's batch.

        As one process takes them, so do all.
        """
        if getattr(self.model, "start_samples", 0):
            network: Any = self.model
            inputs = self.trainer.strategy.broadcast(as_batch(batch).inputs[0])
            network.start_from(inputs.to(next(self.model.parameters())))

    def on_train_end(self) -> None:
        """Let everything learn again."""
        self.freezing.lift()

    def on_exception(self, error: BaseException) -> None:
        """Let everything learn again."""
        self.freezing.lift()

    def training_step(self, batch: Any, number: int) -> Tensor:
        """The loss that `train.fit` minimises."""
        batch = as_batch(batch)
        outputs = self._outputs(batch, **whose(self.model, self.rows))
        self.rows += len(batch)
        loss = self.task.loss(outputs, batch, self.objective)
        self.log("train_loss", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        """The plain loss, and the score."""
        batch = as_batch(batch)
        outputs = self._outputs(batch)
        score = self.task.score_sum(outputs, batch) / len(batch)
        self.log("val_loss", self.task.loss(outputs, batch), batch_size=len(batch))
        self.log(f"val_{self.task.metric}", score, batch_size=len(batch), prog_bar=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser, and the schedule over the Trainer's steps.

        Raises:
            OptionError: the Trainer cannot tell how many steps there will be.
        """
        config, steps = self.config, self.trainer.estimated_stepping_batches
        if not 1 <= steps < math.inf:
            raise OptionError(
                "The schedule needs to know how many steps there will be; give "
                "Trainer(max_steps=), or max_epochs= and a DataLoader that has a length."
            )
        total = int(steps)
        optimizer = build_optimizer(self.model, config)
        set_rate(optimizer, config.learning_rate)

        def factor(step: int) -> float:
            return learning_rate(
                min(step, total - 1),
                total,
                peak=1.0,
                warmup=config.warmup,
                schedule=config.chosen_schedule,
                milestones=config.milestones,
                gamma=config.gamma,
            )

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _outputs(self, batch: Batch, **further: int) -> Tensor:
        outputs: Tensor = self.model(*batch.arguments, **batch.named, **further)
        return outputs
