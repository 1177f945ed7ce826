"""Temporal convolutional networks: sequences without recurrence, and nothing of the future.

    x (B, C, T) -> [causal conv K, d -> norm -> relu -> dropout] x 2 -> + shortcut -> relu   d = 1
                -> [                  the same                 ]                             d = 2
                -> [                       ...                 ] -> read out -> linear       d = 4

A recurrent network must carry all that it knows of the past from step to step. Here a step looks
back directly: with K taps, two convolutions a block and dilations 1, 2, 4, ... the last of L blocks
sees 1 + 2(K - 1)(2^L - 1) steps, and all steps of a sequence are learnt from at the same time. The
convolutions are padded in front only, so that no output depends on a later input.

What is read out is the last step, every step, or the mean of the steps so far. Because the past
that counts is finite, the network also runs on live data: `step` and `stream` keep the last inputs
of each convolution, and give what the whole sequence would give, at a cost that does not depend on
how long the stream has run.

Differs from the paper: nothing in the blocks. Dropout drops whole channels, as the paper has it;
its published code drops single numbers. Weights start uniform in +-1/sqrt(fan-in), as the code's
convolutions do, whose normal(0, 0.01) is lost when weight norm writes them anew. What is far back
is hardly heard so at first. With starts="far", He's weights and, unless every step is answered, a
small head, it is: where the answer hangs on few steps far away, as in adding, that is needed.

References:
    Bai, Kolter, Koltun 2018, "An empirical evaluation of generic convolutional and recurrent
    networks for sequence modeling", arXiv:1803.01271, section 3 and figure 1.
    Salimans, Kingma 2016, "Weight normalization", arXiv:1602.07868.
    He et al. 2015, "Delving deep into rectifiers", arXiv:1502.01852, eq. 10 (variance 2/fan-in).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Self

import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    BlockTaps,
    CausalBlock,
    CausalNorm,
    EveryStep,
    LastStep,
    MaskedBlocks,
    MeanOverTime,
    block_step,
    he_normal_fan_in,
    materialise_weights,
    small_normal,
    uniform_fan_in,
    unit,
)
from convarium.models.contract import Stage
from convarium.models.options import at_least, equal_lengths, probability
from convarium.models.prepared import Prepared
from convarium.models.sequence import OneAxis, SequenceClassifier
from convarium.models.variants import Variant

Readout = Literal["last", "every", "mean"]

_READOUTS: Final[dict[str, type[nn.Module]]] = {
    "last": LastStep,
    "every": EveryStep,
    "mean": MeanOverTime,
}


class TCN(SequenceClassifier):
    """Residual blocks of causal convolutions whose dilations grow.

    Args:
        spatial_dims: 1; sequences have one axis.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        channels: of each block.
        kernel_size: taps K of every convolution.
        dilations: of each block; None is 1, 2, 4, ...
        norm: "weight" norm of the convolutions, "batch" norm behind them, or "none".
        dropout: probability of dropping a channel of a sample, behind each convolution's ReLU.
        readout: the "last" real step, "every" step, or the "mean" of all real ones.
        starts: with weights that hear mostly what is "near", or what is "far" as well.

    Shape:
        (B, C, T), mask (B, T) -> (B, num_classes), or (B, num_classes, T) for every step

    Raises:
        OptionError: lists of different lengths, or a value out of range.

    Example:
        >>> model = TCN(channels=[8, 8], num_classes=3).eval()
        >>> x, state = torch.randn(2, 1, 9), model.initial_state(2)
        >>> for t in range(9):
        ...     y, state = model.step(x[:, :, t], state)
        >>> torch.allclose(y, model(x), atol=1e-6)
        True
    """

    causal: ClassVar[bool] = True
    initial = (
        (CONVOLUTIONS, uniform_fan_in),
        (NORMS, unit),
        ((nn.Linear,), uniform_fan_in),
    )

    def __init__(
        self,
        *,
        spatial_dims: OneAxis = 1,
        in_channels: int = 1,
        num_classes: int = 10,
        channels: Sequence[int] = (64, 64, 64, 64, 64, 64),
        kernel_size: int = 3,
        dilations: Sequence[int] | None = None,
        norm: CausalNorm = "weight",
        dropout: float = 0.2,
        readout: Readout = "last",
        starts: Literal["near", "far"] = "near",
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        steps = [2**i for i in range(len(channels))] if dilations is None else list(dilations)
        at_least(1, channels=channels, kernel_size=kernel_size, dilations=steps)
        equal_lengths(channels=channels, dilations=steps)
        probability(dropout=dropout)
        self.config["dilations"] = steps  # what None stood for, so that a saved run keeps it
        self.input_size = (256,)

        self.stem = nn.Identity()
        stages, before, sizes = [], in_channels, []
        for i, (width, dilation) in enumerate(zip(channels, steps, strict=True), start=1):
            block = CausalBlock(
                before, width, kernel_size, dilation=dilation, norm=norm, dropout=dropout
            )
            self.add_module(f"stage{i}", MaskedBlocks(block))
            sizes += [block.conv1.memory, block.conv2.memory]
            stages.append(Stage(f"stage{i}", width, 1))
            before = width
        self.stages = tuple(stages)
        self.heatmap_layer = stages[-1].name
        self.final = nn.Identity()
        self.neck = _READOUTS[readout]()
        if starts == "far":
            head = uniform_fan_in if readout == "every" else small_normal
            self.initial = ((CONVOLUTIONS, he_normal_fan_in), (NORMS, unit), ((nn.Linear,), head))
        self.build_head(before, num_classes)
        self.initialise_weights()
        if readout == "mean":  # of the steps so far, and their number
            sizes.append([before, 1])
        self._taps: Prepared[list[BlockTaps]] | None = None
        self._pieces = [size for one in sizes for size in one]
        self._memories = [sum(one) for one in sizes]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits, of every step where that is the readout: those of the padding are zero then."""
        y = self.embed(x, mask)
        if self.config["readout"] != "every":
            z: Tensor = self.head(y)
            return z
        z = self._every(y)
        return z if mask is None else z.masked_fill(~mask.unsqueeze(1), 0.0)

    def initial_state(self, batch: int = 1) -> Tensor:
        """The state before the first step: nothing but zeros was seen.

        A row a sequence: the last inputs of each convolution, the oldest first; for the readout
        "mean", that mean and the number of steps, in float32 at least, since bfloat16 counts to 256
        only. Rows can be picked, joined and moved like those of any tensor.

        Args:
            batch: number of sequences.

        Shape:
            -> (batch, S), S the same for all steps

        Raises:
            OptionError: batch is no whole number, or below 0.

        Example:
            >>> TCN(channels=[8, 8], kernel_size=2).initial_state(5).shape
            torch.Size([5, 41])
        """
        if not isinstance(batch, int | torch.SymInt):
            raise OptionError(f"batch (={batch!r}) must be a whole number.")
        at_least(0, batch=batch)
        self._taps = None
        weight = next(self.parameters())
        exact = weight.dtype if self.config["readout"] != "mean" else self._exact(weight.dtype)
        return weight.new_zeros(batch, sum(self._memories), dtype=exact)

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step of each sequence: its logits, and the state behind it.

        What the network gives for the whole sequence up to this step, at a cost that does not grow
        with it. It is evaluation, whatever the mode: no dropout, and norms use their averages. The
        given state is left as it is. Without gradients, weights are made ready once and kept until
        one changes; after writing through `.data`, which is not seen, begin with `initial_state`.

        Args:
            x_t: the inputs of this step.
            state: what the step before gave, or `initial_state`.

        Shape:
            (B, C), (B, S) -> (B, num_classes), (B, S)

        Raises:
            ShapeError: the input or the state has another shape.
        """
        self._check_state(x_t, state, 2)
        pieces, at = self._split(state, self._pieces, x_t.dtype), 0
        kept: list[Tensor] = []
        for taps in self._prepared():
            end = at + taps[0].pieces + taps[1].pieces
            x_t, at = block_step(taps, x_t, pieces[at:end], kept), end
        if self.config["readout"] == "mean":
            mean, count = pieces[at:]
            count = count + 1
            mean = mean + (x_t - mean) / count
            kept += [mean, count]
            x_t = mean.to(x_t.dtype)
        return self.head(x_t), torch.cat(kept, 1) if kept else state

    def stream(self, chunk: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Several steps of each sequence: the logits of each of them, and the state behind them.

        As many calls of `step`, in one; chunks of any length follow each other, also of none.

        Args:
            chunk: the inputs of these steps.
            state: what the chunk before gave, or `initial_state`.

        Shape:
            (B, C, T), (B, S) -> (B, num_classes, T), (B, S)

        Raises:
            ShapeError: the input or the state has another shape.

        Example:
            >>> model = TCN(channels=[8, 8], readout="every").eval()
            >>> x, state = torch.randn(2, 1, 9), model.initial_state(2)
            >>> y, state = model.stream(x[..., :4], state)
            >>> z, state = model.stream(x[..., 4:], state)
            >>> torch.allclose(torch.cat([y, z], 2), model(x), atol=1e-6)
            True
        """
        self._check_state(chunk, state, 3)
        if chunk.shape[2] == 0:
            return chunk.new_zeros(len(chunk), self.num_classes or self.num_features, 0), state
        memories = iter(self._split(state, self._memories, chunk.dtype))
        kept: list[Tensor] = []
        x = chunk
        for block in self._blocks:
            x = block.stream(x, memories, kept)
        if self.config["readout"] == "mean":
            mean, count = next(memories).split_with_sizes([self.num_features, 1], 1)
            counts = count.unsqueeze(1) + torch.ones_like(x[:, :1], dtype=count.dtype).cumsum(2)
            means = mean.unsqueeze(2) + (x - mean.unsqueeze(2)).cumsum(2) / counts
            kept.append(torch.cat([means[:, :, -1], counts[:, :, -1]], 1))
            x = means.to(x.dtype)
        return self._every(x), torch.cat(kept, 1)

    def materialise(self) -> TCN:
        """Replace weight norm by the weights that it gives, and return the network.

        The outputs stay; a pass and an exported file need not work the weights out any more. From
        here on the network is one with norm="none", and is trained and saved as such.

        Example:
            >>> model = TCN(channels=[8, 8])
            >>> sum(p.numel() for p in model.parameters()) - 4 * 8
            738
            >>> sum(p.numel() for p in model.materialise().parameters())
            738
        """
        materialise_weights(self)
        self._taps = None
        if self.config["norm"] == "weight":
            self.config["norm"] = "none"
        return self

    @property
    def _blocks(self) -> list[CausalBlock]:
        """The blocks, without the cost of asking for each by its name."""
        own = self._modules
        return [own[stage.name]._modules["0"] for stage in self.stages]  # type: ignore[misc,union-attr]

    def _prepared(self) -> list[BlockTaps]:
        """The blocks for single steps; without gradients they are kept while no weight changes."""
        if torch.compiler.is_compiling() or torch.is_grad_enabled():
            return [block.taps() for block in self._blocks]
        if self._taps is None or not self._taps.holds(self):
            self._taps = Prepared(self, [block.taps() for block in self._blocks])
        return self._taps.value

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """What moves or converts the weights makes what was kept of them void."""
        self._taps = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _every(self, x: Tensor) -> Tensor:
        """The head at each step: (B, F, T) -> (B, K, T)."""
        y: Tensor = self.head(x.transpose(1, 2))
        return y.transpose(1, 2)

    def _check_state(self, x: Tensor, state: Tensor, axes: int) -> None:
        letters = "(B, C)" if axes == 2 else "(B, C, T)"
        if x.ndim != axes or x.shape[1] != self.in_channels:
            raise ShapeError(
                f"{self.name or 'TCN'} takes {letters} with {self.in_channels} channels here, not "
                f"{tuple(x.shape)}."
            )
        if state.ndim != 2 or state.shape[0] != x.shape[0] or state.shape[1] != sum(self._memories):
            raise ShapeError(
                f"state {tuple(state.shape)} does not fit an input {tuple(x.shape)} of "
                f"{self.name or 'TCN'}; begin with initial_state({x.shape[0]})."
            )
        exact = x.dtype if self.config["readout"] != "mean" else self._exact(x.dtype)
        if state.dtype != exact:
            raise ShapeError(
                f"{self.name or 'TCN'} takes an input and a state of one type, and these are "
                f"{x.dtype} and {state.dtype}; give the input in the type of the weights."
            )

    def _split(self, state: Tensor, sizes: list[int], dtype: torch.dtype) -> Sequence[Tensor]:
        """What the state holds, in the type of the inputs but for a mean and its count."""
        pieces = state.split_with_sizes(sizes, 1)
        if state.dtype == dtype:
            return pieces
        exact = len(sizes) - 2 if sizes is self._pieces else len(sizes) - 1
        return [*(piece.to(dtype) for piece in pieces[:exact]), *pieces[exact:]]

    @staticmethod
    def _exact(dtype: torch.dtype) -> torch.dtype:
        """The type of a running mean."""
        return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


VARIANTS = (
    Variant(
        name="tcn",
        cls=TCN,
        keywords={},
        source="Bai et al. 2018, section 3; six blocks of 64 channels see 253 steps",
        parameters=137_674,
        summary="six residual blocks of dilated causal convolutions",
        year=2018,
    ),
)
