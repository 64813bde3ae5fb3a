"""The zoo: any model by name, cut into stages, with a new head and the right weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from clearsight.core.errors import BadValue
from clearsight.core.machine import TORCH_RANDOM
from clearsight.models.checkpoints import matching_part
from clearsight.models.dissection import Dissection, classifier_inputs, no_classifier
from clearsight.models.families import FAMILIES
from clearsight.models.families.whole import dissect as dissect_whole
from clearsight.models.heads import build_head
from clearsight.models.model_names import unknown_model
from clearsight.models.network import Network, evaluating
from clearsight.models.providers import PROVIDERS, ModelProvider
from clearsight.models.weights import PretrainedWeights, load, resolve

_FLATTEN = "flatten"  # layer in front of a head that takes the place of a convolution


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """Specification of a network. head: hidden widths.  weights: "default", "none" or a path.

    seed: decides every random weight.  class_names: of the data; weights of a run keep their head if its classes are
    equal, and get a new one if not. () for weights whose classes do not matter.
    """

    model: str
    classes: int
    head: tuple[int, ...] = ()
    dropout: float = 0.0
    weights: str = "none"
    seed: int = 0
    class_names: tuple[str, ...] = ()


def build(spec: ModelSpec, folders: Sequence[Path] = ()) -> Network:
    """Return the network that `spec` describes, in float32 on the CPU, in training mode, all of it trainable.

    folders: searched for "default" weights before anything is downloaded.
    The result depends on `spec` and the weights alone; the global random state is neither used nor changed.
    Raises BadChoice for an unknown model (with the nearest name) or one without a linear classifier, BadValue for a
    value out of range or weights that do not fit, NotFound and WeightsUnavailable for weights that are not there.
    """
    _check(spec)
    provider, name = find(spec.model)
    pretrained = resolve(spec.weights, provider, name, folders)
    with TORCH_RANDOM, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.seed)  # torch.manual_seed would reach the GPU's state as well
        model = provider.construct(name, spec.classes)
    # Before anything is replaced: a new head is trainable, whatever the zoo's was.
    fixed = frozenset(key for key, parameter in model.named_parameters() if not parameter.requires_grad)
    dissection = dissect(model)
    features = classifier_inputs(model, spec.model, dissection.head)
    # A convolution reads (N, D, 1, 1), so the head in its place must too.
    head = _new_head(features, spec, flatten=isinstance(model.get_submodule(dissection.head), nn.Conv2d))
    model.set_submodule(dissection.head, head)
    saved_head: Mapping[str, torch.Tensor] = {}
    if pretrained.tensors is not None:
        pretrained, saved_head = _load(model, pretrained, dissection.head, spec)
    network = Network(
        name=spec.model,
        model=model.train(),
        stages=dissection.stages,
        head=head,
        head_name=dissection.head,
        saved_head=saved_head,
        features=features,
        preprocess=pretrained.preprocess,
        weights=pretrained.text,
        weights_file=pretrained.file,
        fixed=fixed,
    )
    if len(dissection.stages) == 1:  # cut by the last resort, `whole`
        _check_whole(network)
    return network


def reset_head(network: Network, spec: ModelSpec) -> None:
    """Put the random weights into the head that `build` gave it. spec: the one that the network was built from."""
    flatten = _FLATTEN in dict(network.head.named_children())
    network.head.load_state_dict(_new_head(network.features, spec, flatten=flatten).state_dict())


def _new_head(features: int, spec: ModelSpec, *, flatten: bool) -> nn.Module:
    """Return the head of a specification. flatten: for a model whose last features are (N, D, 1, 1)."""
    head = build_head(features, spec.classes, spec.head, spec.dropout, spec.seed)
    return nn.Sequential(OrderedDict([(_FLATTEN, nn.Flatten()), ("linear", head)])) if flatten else head


def names() -> list[str]:
    """Return every model name, as `--model` takes it; builds nothing, but imports torchvision and timm."""
    return [provider.prefix + name for _, provider in PROVIDERS for name in provider.names()]


def find(model: str) -> tuple[ModelProvider, str]:
    """Return the provider that has `model`, and the name in it; raises BadChoice with the nearest name."""
    # Listing the names of a provider imports it, which takes seconds: those with a longer prefix come first.
    for _, provider in sorted(PROVIDERS, key=lambda entry: -len(entry[1].prefix)):
        name = model.removeprefix(provider.prefix)
        # Names of timm may have a tag of pretrained weights: "resnet50.a1_in1k".
        untagged = name.partition(".")[0] if provider.prefix else name
        if model.startswith(provider.prefix) and {name, untagged} & set(provider.names()):
            return provider, name
    raise unknown_model(model, names())


def dissect(model: nn.Module) -> Dissection:
    """Return the stages and the head of `model`: by the first family that recognises it, else as one piece."""
    found = next((family for _, family in FAMILIES if family.recognises(model)), None)
    return found.dissect(model) if found else dissect_whole(model)


def _load(
    model: nn.Module, pretrained: PretrainedWeights, head_name: str, spec: ModelSpec
) -> tuple[PretrainedWeights, dict[str, torch.Tensor]]:
    """Load the weights; return them with a word on what was taken, and the tensors of their head if it fits."""
    part = matching_part(pretrained.tensors or {}, model.state_dict().keys())
    pretrained = replace(pretrained, tensors=part.tensors)
    notes = [part.note] if part.note else []
    same = pretrained.classes is None or pretrained.classes == spec.class_names or not spec.class_names
    reused = load(model, pretrained, head_name, with_head=same)
    if pretrained.classes is not None and spec.class_names:
        others = "layers" if same else "classes"
        notes.append(
            "head reused, since its classes are equal" if reused else f"new head, since its {others} are others"
        )
    elif reused and spec.class_names:
        notes.append(f"head reused, since it has {spec.classes} classes too (the file does not name them)")
    prefix = f"{head_name}."
    head = {key.removeprefix(prefix): part.tensors[key] for key in part.tensors if same and key.startswith(prefix)}
    return replace(pretrained, origin=", ".join([pretrained.origin, *notes])), head


def _check(spec: ModelSpec) -> None:
    if spec.classes < 2:
        raise BadValue(f"classes {spec.classes}", "a classifier needs at least 2 classes")
    if any(width < 1 for width in spec.head):
        widths = ",".join(map(str, spec.head))
        raise BadValue(f"--head {widths}", "widths must be at least 1", fix="Write --head 512,128.")
    if not 0 <= spec.dropout < 1:
        raise BadValue(f"--dropout {spec.dropout}", "it must be at least 0 and below 1")


def _check_whole(network: Network) -> None:
    """Check on one image that the classifier of a model that no family knows comes last; raises BadChoice otherwise."""
    size = network.preprocess.size
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    chain = network.suffix(0)
    with evaluating(network.model), evaluating(chain), torch.inference_mode():
        try:
            whole, composed = network.model(image), chain(image)
        except RuntimeError as error:  # the head did not get features
            raise no_classifier(network.name) from error
    if not isinstance(whole, torch.Tensor) or not torch.equal(whole, composed):
        raise no_classifier(network.name)
