"""Pretrained weights of torch.hub (and so of torchvision): from folders of this machine before any download."""

from __future__ import annotations

import functools
import os
from typing import Any
from urllib.parse import urlparse


def install(torch: Any, folders: str) -> None:
    """Let torch.hub find files of weights by their names. folders: separated as in $PATH."""
    original = torch.hub.load_state_dict_from_url
    search = [folder for folder in folders.split(os.pathsep) if folder]

    @functools.wraps(original)
    def load_state_dict_from_url(url: str, model_dir: str | None = None, *args: Any, **settings: Any) -> Any:
        by_place = args[3] if len(args) > 3 else None  # after map_location, progress and check_hash
        name = by_place or settings.get("file_name") or os.path.basename(urlparse(url).path)
        usual = model_dir or os.path.join(torch.hub.get_dir(), "checkpoints")
        for folder in (usual, *search):
            if os.path.isfile(os.path.join(folder, name)):
                return original(url, folder, *args, **settings)
        try:
            return original(url, model_dir, *args, **settings)
        except OSError as error:  # of urllib too
            places = ", ".join((usual, *search))
            text = f"weights {name}: not on this machine, and {url} cannot be reached ({error}). Looked in {places}."
            raise FileNotFoundError(f"{text} Put the file {name} into one of these folders.") from error

    torch.hub.load_state_dict_from_url = load_state_dict_from_url
