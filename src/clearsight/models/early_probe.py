"""Default weights that cannot be had are said before torch is loaded: it and timm take four seconds on one core.

Which server has the weights of a model is read from the source of the package that registers it. Where that does not
say, or the weights may be in the cache of a hub, nothing is asked here: the download itself then tells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from clearsight.core.recipe import UNTRAINED_MODELS
from clearsight.models.hub import HubUnreachable, check_hugging_face, check_reachable
from clearsight.models.model_names import source_of
from clearsight.models.weights_file import candidates, files_in, unavailable

# Entry of timm for one set of weights: 'resnet18.a1_in1k': _cfg(...), up to the next entry or the end of the table.
_ENTRY = r"^\s*['\"]({name}\.[\w.-]+)['\"]\s*:(.*?)(?=^\s*['\"][\w-]+(?:\.[\w.-]+)?['\"]\s*:|^\}})"
_COMMENT = re.compile(r"#.*")
_REPOSITORY = re.compile(r"hf_hub_id=['\"]([^'\"]*)['\"]")
_URL = re.compile(r"https?://[^\s\"']+\.pth")


def check_default_weights(model: str, folders: Sequence[Path], torch_hub: Path) -> None:
    """Raise WeightsUnavailable if pretrained weights of `model` are not on this disk and their server does not answer.

    folders: searched for a file.  torch_hub: the folder of torch.hub, searched for an earlier download.
    Takes at most `hub.PROBE_SECONDS`.
    """
    if model in UNTRAINED_MODELS or candidates(model, folders):
        return
    try:
        if model.startswith("timm/"):
            if repositories := timm_repositories(model):
                check_hugging_face(repositories)
        elif urls := torchvision_urls(model):
            files = {path.name for path in files_in(torch_hub / "checkpoints")}
            if not files & {url.rpartition("/")[2] for url in urls}:
                check_reachable(urls[0])
    except HubUnreachable as error:
        raise unavailable(model, folders, str(error)) from None


def timm_repositories(model: str) -> list[str]:
    """Return every repository of the Hugging Face hub that may have weights of a model of timm; [] if unknown."""
    name = model.removeprefix("timm/").partition(".")[0]
    pattern = re.compile(_ENTRY.format(name=re.escape(name)), re.MULTILINE | re.DOTALL)
    repositories: list[str] = []
    for tagged, entry in pattern.findall(_COMMENT.sub("", source_of(model))):
        found = _REPOSITORY.search(entry)
        if found is None:  # it has a URL, or no weights at all
            return []
        # timm keeps copies of many repositories under its own name.
        repositories += [f"timm/{tagged}", found[1]] if not found[1].endswith("/") else [f"{found[1]}{tagged}"]
    return repositories


def torchvision_urls(model: str) -> list[str]:
    """Return the URLs of all weights in the module that registers a model of torchvision; [] if servers differ."""
    urls = _URL.findall(source_of(model))
    return urls if len({urlsplit(url).netloc for url in urls}) == 1 else []
