"""The methods by their names, for those who choose one by a word."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from convarium.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from convarium.explain.attribution import Attribution
    from convarium.explain.controls import Controlled
    from convarium.explain.removal import RemovalCurve


class Method(NamedTuple):
    """What the literature calls a method, where its function stands, whether it reads a layer.

    Attributes:
        shows: what its heat marks, as half a sentence; "": evidence for the class.
    """

    title: str
    module: str
    layered: bool
    about: str
    shows: str = ""


_STEEPEST = "where a rise of the input would raise the score of the class named most"


METHODS: Mapping[str, Method] = {
    "grad_cam": Method("Grad-CAM", "cam", True, "gradients averaged over each map"),
    "grad_cam_plus_plus": Method("Grad-CAM++", "cam", True, "small finds count like a large one"),
    "hires_cam": Method("HiResCAM", "cam", True, "each position with its own gradient"),
    "layer_cam": Method("Layer-CAM", "cam", True, "positive gradients only, also for early layers"),
    "xgrad_cam": Method("XGrad-CAM", "cam", True, "gradients weighted by the map's values"),
    "finer_cam": Method(
        "Finer-CAM", "cam", True, "what sets the class apart from those nearest to it"
    ),
    "eigen_cam": Method(
        "Eigen-CAM",
        "eigen",
        True,
        "what varies most, whatever the class",
        "where the layer answers in the way that varies most, whatever the class",
    ),
    "score_cam": Method(
        "Score-CAM", "perturbed", True, "the score of the input seen through each map"
    ),
    "ablation_cam": Method(
        "Ablation-CAM", "perturbed", True, "what the score loses without each map"
    ),
    "input_gradients": Method(
        "Input gradients", "inputs", False, "the score's gradient at the input", _STEEPEST
    ),
    "smooth_grad": Method(
        "SmoothGrad", "inputs", False, "mean gradient of noisy copies", _STEEPEST
    ),
    "integrated_gradients": Method(
        "Integrated gradients", "inputs", False, "gradients from a blank input to this one"
    ),
    "guided_backpropagation": Method(
        "Guided backpropagation",
        "inputs",
        False,
        "edges; depends little on the class",
        "edges that come back through the ReLUs, which depend little on the class",
    ),
    "occlusion": Method("Occlusion", "inputs", False, "what the score loses behind a moving patch"),
}


def method_named(method: str, layers: Sequence[str] = ()) -> Method:
    """What is known of a method.

    Args:
        method: a name of `METHODS`.
        layers: that it shall read.

    Raises:
        OptionError: no such method, or layers for one at the input.
    """
    if method not in METHODS:
        near = did_you_mean(method, METHODS)
        raise OptionError(f"method (={method!r}) is not known.{near} Known: {', '.join(METHODS)}.")
    if layers and not METHODS[method].layered:
        raise OptionError(
            f"layer (={layers[0]!r}): {method} explains at the input and reads no layer; leave the "
            "layer out, or choose another method."
        )
    return METHODS[method]


def attributed(
    model: nn.Module,
    x: Tensor,
    *,
    method: str = "grad_cam",
    target: int | Sequence[int] | None = None,
    layers: Sequence[str] = (),
) -> Attribution:
    """The heatmap of a method by its name; the maps of several layers are fused.

    Args:
        model, x, target: as of `grad_cam`.
        method: a name of `METHODS`.
        layers: dotted names; none means the method's own choice. HiResCAM of a network that reads
            the last step alone, such as a TCN, is then that of its input: its last map can mark no
            other step.

    Raises:
        OptionError: no such method, or layers for one at the input.
    """
    call = _function(method, method_named(method, layers).module)
    if not layers and method == "hires_cam" and _reads_last_step(model):
        layers = ("stem",)
    maps = [call(model, x, target=target, layer=layer) for layer in layers or (None,)]
    if len(maps) == 1:
        return maps[0]  # type: ignore[no-any-return]
    fused: Attribution = _function("fuse", "fusing")(maps)
    return replace(fused, method=method)


def _reads_last_step(model: nn.Module) -> bool:
    config = getattr(model, "config", None)
    last = isinstance(config, Mapping) and config.get("readout") == "last"
    return last and hasattr(model, "stem")


def faithfulness(
    model: nn.Module, x: Tensor, heat: Attribution, *, output: str = "probability"
) -> dict[str, Controlled]:
    """Deletion, insertion and average drop of a heatmap, each with its controls.

    Token ids have no average drop; a token that is gone leaves padding, the id 0.

    Args:
        model, x, heat, output: as of `deletion`.
    """
    found: dict[str, Controlled] = {**removals(model, x, heat, output=output)}
    if x.is_floating_point():  # ids of tokens can be left out, but not dimmed
        found["average_drop"] = _function("average_drop", "drops")(model, x, heat, output=output)
    return found


def removals(
    model: nn.Module,
    x: Tensor,
    heat: Attribution,
    *,
    output: str = "probability",
    steps: int | None = None,
    batch_size: int = 32,
) -> dict[str, RemovalCurve]:
    """Deletion and insertion of a heatmap, each with its controls.

    A token that is gone leaves padding, the id 0.

    Args:
        model, x, heat, output, steps, batch_size: as of `deletion`.
    """
    asked: dict[str, Any] = {"output": output, "steps": steps, "batch_size": batch_size}
    if not x.is_floating_point():
        asked["baseline"] = 0
    return {
        name: _function(name, "removal")(model, x, heat, **asked)
        for name in ("deletion", "insertion")
    }


def joined(parts: Sequence[Mapping[str, Controlled]]) -> dict[str, Controlled]:
    """The scores of several batches as those of one."""
    import torch

    from convarium.explain.controls import Controlled

    def together(each: Sequence[Controlled]) -> Controlled:
        edges = [part.edges for part in each if part.edges is not None]
        return Controlled(
            score=torch.cat([part.score for part in each]),
            random=torch.cat([part.random for part in each]),
            edges=torch.cat(edges) if edges else None,
            better=each[0].better,
        )

    return {name: together([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def _function(name: str, module: str) -> Any:
    return getattr(importlib.import_module(f"convarium.explain.{module}"), name)
