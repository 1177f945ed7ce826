r"""TextCNN: one layer of convolutions over word vectors, and the maximum over time.

    ids (B, T) -> vectors (B, E, T) -> conv3, 100 \
                                    -> conv4, 100  > relu -> max over time, 300 -> dropout -> linear
                                    -> conv5, 100 /

A filter is a phrase of three, four or five words that it answers to, by their vectors rather than
their spelling, so that phrases of like words count too. The maximum asks whether the phrase stands
anywhere in the text; its place and the length of the text are left out.

With `mean` the vectors of the words pass around the convolutions, and their mean over the text
stands beside the maxima: (B, 300 + E). What all words say together then counts too, as in a bag of
words. The map of the stage holds both, so that a heatmap finds both: for a linear head, HiResCAM
over it adds up to the logit without its bias.

Token 0 is padding. A window counts where all of its tokens are real; a text shorter than a kernel
has one window, in which zeros follow its tokens, and so has an empty text. What stands in the
padding never reaches a maximum or a batch norm's statistics.

The vectors are drawn and learnt ("random"), given and kept ("static"), given and learnt on
("fine_tuned"), or both of the last two, added up ("two_channel": a filter applied to both channels
and added is the filter applied to their sum). `set_vectors` gives them.

Differs from the paper: its limit of 3 on the norm of the last layer's weights is left to weight
decay; batch norm behind the convolutions and the mean of the vectors are options.

References:
    Kim 2014, "Convolutional neural networks for sentence classification", arXiv:1408.5882, section
    2 and 3.3 (the forms of the vectors), figure 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from convarium.errors import OptionError, ShapeError
from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    MaskedBlocks,
    MeanOverTime,
    Table,
    Windows,
    mean_vectors,
    uniform_fan_in,
    unit,
)
from convarium.models.contract import Stage
from convarium.models.options import at_least, probability
from convarium.models.prepared import Prepared
from convarium.models.sequence import OneAxis, SequenceClassifier, check_ids, check_mask
from convarium.models.variants import Variant

Vectors = Literal["random", "static", "fine_tuned", "two_channel"]

_FIRST_WORD: Final = 2  # 0 is padding, 1 is unknown
_TOKENS: Final = 16  # of a text, about; a table's row costs what convolving one token does


def quarter(module: nn.Module) -> None:
    """Uniform in +-0.25, as wide as pretrained vectors are; 0 for padding."""
    weight = module.weight
    if isinstance(weight, Tensor):
        nn.init.uniform_(weight, -0.25, 0.25)
        with torch.no_grad():
            weight[0] = 0.0


class TextCNN(SequenceClassifier):
    """Word vectors, parallel convolutions, the maximum over time.

    Args:
        spatial_dims: 1; texts have one axis.
        num_classes: outputs; 0 leaves the head out.
        vocabulary: tokens, with 0 for padding and 1 for unknown words.
        embedding_dim: length of a token's vector.
        embedding: where the vectors come from and whether they are learnt.
        kernel_sizes: words in a window.
        filters: for each of them.
        norm: behind the convolutions, "batch" or "none".
        mean: whether the mean of the words' vectors stands beside the maxima.
        dropout: probability, before the head.

    Shape:
        ids (B, T), mask (B, T) -> (B, num_classes); without a mask, what is not 0 is real

    Raises:
        OptionError: a list is empty, or a value out of range.

    Example:
        >>> model = TextCNN(vocabulary=1000, num_classes=20, norm="batch")
        >>> model(torch.tensor([[2, 3, 4, 0, 0, 0], [2, 3, 4, 5, 6, 7]])).shape
        torch.Size([2, 20])
    """

    input_kind: ClassVar[Literal["maps", "tokens", "fields"]] = "tokens"
    initial = (
        (CONVOLUTIONS, uniform_fan_in),
        (NORMS, unit),
        ((nn.Linear,), uniform_fan_in),
        ((nn.Embedding,), quarter),
    )

    def __init__(
        self,
        *,
        spatial_dims: OneAxis = 1,
        num_classes: int = 2,
        vocabulary: int = 30_000,
        embedding_dim: int = 128,
        embedding: Vectors = "random",
        kernel_sizes: Sequence[int] = (3, 4, 5),
        filters: int = 100,
        norm: Literal["none", "batch"] = "none",
        mean: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=1)
        at_least(_FIRST_WORD + 1, vocabulary=vocabulary)
        at_least(1, embedding_dim=embedding_dim, kernel_sizes=kernel_sizes, filters=filters)
        probability(dropout=dropout)
        self.input_size = (64,)
        self.longest = max(kernel_sizes)
        self.stem = WordVectors(vocabulary, embedding_dim, embedding)
        normed = norm == "batch"
        windows = Windows(embedding_dim, filters, kernel_sizes, normed=normed, words=mean)
        self.stage1 = MaskedBlocks(windows)
        width = filters * len(kernel_sizes) + embedding_dim * mean
        self.stages = (Stage("stage1", width, 1),)
        self.heatmap_layer = "stage1"
        self.final = nn.Identity()
        self.neck = OverTime(filters * len(kernel_sizes), dropout)
        self.build_head(width, num_classes)
        self.initialise_weights()
        self._tables: Prepared[tuple[list[Table], Tensor]] | None = None

    def embed(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Everything before the last linear layer; looked up where `tabulate` has made it ready.

        Shape:
            (B, T), (B, T) -> (B, num_features)
        """
        quick = not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        if self._tables is None or not quick or x.is_meta or not self._tables.holds(self):
            return super().embed(x, mask)
        ids, real = self.real(x, mask)
        real = ids != 0 if real is None else real
        tables, vectors = self._tables.value
        found = [table.largest(ids, real) for table in tables]
        if self.config["mean"]:
            found.append(mean_vectors(vectors, ids, real))
        return torch.cat(found, 1)

    def tabulate(self) -> TextCNN:
        """Work out what each word adds to each filter, so that texts are looked up, not convolved.

        Then an embedding costs a sum of k rows for each window, a small share of the convolutions'
        multiply-adds, and is the same but for rounding. The tables take vocabulary x
        sum(kernel_sizes) x filters numbers, 144 MB for 30,000 words and the usual kernels. They
        serve evaluation without gradients, until a weight changes; what is written through `.data`
        is not seen, and needs another `tabulate`.

        Example:
            >>> model = TextCNN(vocabulary=50).eval()
            >>> x = model.example_input(4)
            >>> expected = model.embed(x)
            >>> with torch.no_grad():
            ...     torch.allclose(model.tabulate().embed(x), expected, atol=1e-6)
            True
        """
        with torch.no_grad():
            tables = [table.weight for table in self.stem.children()]
            vectors = torch.stack([table for table in tables if isinstance(table, Tensor)]).sum(0)
            windows = self.stage1[0]
            found = windows.tables(vectors) if isinstance(windows, Windows) else []
        self._tables = Prepared(self, (found, vectors))
        return self

    def ready_for(self, texts: int) -> None:
        """Tabulate before so many texts are embedded, where that is quicker in all."""
        held = self._tables is not None and self._tables.holds(self)
        few = texts * _TOKENS < self.config["vocabulary"]
        vectors = next(iter(self.stem.children())).weight
        if isinstance(vectors, Tensor) and vectors.is_cpu and not held and not few:
            self.tabulate()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """What moves or converts the weights makes the tables void."""
        self._tables = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @property
    def shortest_read(self) -> int:
        """Tokens that a shorter text is read as."""
        return self.longest

    def check(self, x: Tensor) -> Tensor:
        """Return the ids (B, T) if they are whole numbers, padded up to the longest kernel."""
        given: Any = x
        tensor = isinstance(given, Tensor)
        if not tensor or given.ndim != 2 or given.dtype not in (torch.int64, torch.int32):
            found = f"{tuple(given.shape)} of {given.dtype}" if tensor else f"a {type(x).__name__}"
            raise ShapeError(
                f"{self.name or 'TextCNN'} takes (B, T) of whole numbers, the ids of tokens, not "
                f"{found}; turn texts into ids first."
            )
        check_ids(self, x, self.config["vocabulary"])
        return self._lengthened(x)

    def _lengthened(self, x: Tensor) -> Tensor:
        return pad(x, (0, self.longest - x.shape[1])) if x.shape[1] < self.longest else x

    def real(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The ids, 0 where there is padding, and which are real."""
        if mask is None:
            ids = self.check(x)
            return ids, ids != 0
        check_mask(self, x, mask)
        return self.check(x * mask), self._lengthened(mask)  # padding may be any number

    def example_input(
        self, batch: int = 1, size: int | tuple[int, ...] | None = None, *, seed: int = 0
    ) -> Tensor:
        """Ids of words, drawn with equal probability; the same for one seed.

        Args:
            batch: number of texts.
            size: tokens of each; None takes `input_size`.
            seed: of the draw; torch's own random state is left alone.

        Shape:
            -> (batch, T)
        """
        shape = super().example_input(batch, size, seed=seed).shape
        generator = torch.Generator().manual_seed(seed)
        words = (_FIRST_WORD, self.config["vocabulary"])
        ids = torch.randint(*words, (batch, *shape[2:]), generator=generator, device="cpu")
        return ids.to(next(self.buffers(), next(self.parameters())).device)

    def set_vectors(self, vectors: Tensor) -> None:
        """Take pretrained vectors, a row a token; that of padding becomes 0.

        Args:
            vectors: (vocabulary, embedding_dim) of finite numbers.

        Raises:
            ShapeError: they are of another shape.
            OptionError: the network draws its own, or a number is not finite.

        Example:
            >>> model = TextCNN(vocabulary=4, embedding_dim=2, embedding="static")
            >>> model.set_vectors(torch.ones(4, 2))
            >>> model.stem.static.weight.sum(1).tolist()
            [0.0, 2.0, 2.0, 2.0]
        """
        if self.config["embedding"] == "random":
            raise OptionError(
                "embedding (='random') draws its vectors; create the network with 'static', "
                "'fine_tuned' or 'two_channel'."
            )
        shape = (self.config["vocabulary"], self.config["embedding_dim"])
        if tuple(vectors.shape) != shape:
            raise ShapeError(f"vectors {tuple(vectors.shape)} must be {shape}, a row a token.")
        if not vectors.isfinite().all():
            raise OptionError("vectors must be finite numbers; leave out rows that are not.")
        with torch.no_grad():
            for table in self.stem.children():
                weight = table.weight
                if isinstance(weight, Tensor):
                    weight.copy_(vectors)
                    weight[0] = 0.0


class FixedEmbedding(nn.Embedding):
    """An embedding whose table is no parameter: nothing trains it."""

    def __init__(self, vocabulary: int, size: int) -> None:
        super().__init__(vocabulary, size, padding_idx=0, _weight=torch.empty(vocabulary, size))
        table = self.weight.detach()
        del self.weight
        self.register_buffer("weight", table)


class WordVectors(nn.Module):
    """The vectors of tokens, from a table that is kept, one that is learnt, or both.

    Shape:
        (B, T) -> (B, E, T)
    """

    def __init__(self, vocabulary: int, size: int, kind: Vectors) -> None:
        super().__init__()
        if kind in ("static", "two_channel"):
            self.static = FixedEmbedding(vocabulary, size)
        if kind != "static":
            undrawn = torch.empty(vocabulary, size)
            self.learnt = nn.Embedding(vocabulary, size, padding_idx=0, _weight=undrawn)

    def forward(self, ids: Tensor) -> Tensor:
        """Look the tokens up; of two tables, add."""
        first, *more = (table(ids) for table in self.children())
        total: Tensor = sum(more, first)
        return total.transpose(1, 2)


class OverTime(nn.Module):
    """The largest value of each of the first channels, the mean of the others, and dropout.

    Args:
        maxima: of how many channels, whose values are 0 or more, with 0 where none counts.
        dropout: probability.

    Shape:
        (B, C, T), (B, T) -> (B, C)
    """

    def __init__(self, maxima: int, dropout: float) -> None:
        super().__init__()
        self.maxima = maxima
        self.mean = MeanOverTime()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool `x` over the text."""
        several = x.shape[1] > self.maxima
        found = x[:, : self.maxima].amax(-1) if several else x.amax(-1)
        if several:
            found = torch.cat([found, self.mean(x[:, self.maxima :], mask)], 1)
        y: Tensor = self.dropout(found)
        return y


VARIANTS = (
    Variant(
        name="text_cnn",
        cls=TextCNN,
        keywords={},
        source="Kim 2014, section 2; 30,000 words of 128 numbers",
        parameters=3_994_502,
        summary="parallel convolutions over word vectors, for texts",
        year=2014,
    ),
)
