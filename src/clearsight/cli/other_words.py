"""Command lines in the words of other tools: the same command line in clearsight's, or one sentence that names them.

A command's own flags always win; names of settings are in `core.other_words`. Flags may have underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice
from clearsight.core.other_words import INSTEAD, SAME

# Another tool's command -> the one that does the same.
COMMANDS = {
    other: ours
    for ours, others in {
        "train": "fit finetune fine_tune fit_one_cycle retrain learn",
        "tune": "hpo hpt sweep search optimize optimise automl hyperopt hyperparameters",
        "evaluate": "eval val valid validate validation test score",
        "predict": "infer inference classify",
        "serve": "server api",
        "export": "pack package convert",
        "data": "dataset audit check_data analyze analyse",
        "report": "plot plots summary results",
        "compare": "leaderboard diff",
        "profile": "benchmark bench speed",
        "doctor": "check checks env info sysinfo",
        "models": "list_models zoo",
        "watch": "tail follow monitor",
        "quickstart": "demo example examples tutorial",
    }.items()
    for other in others.split()
}

# Another tool's command -> what to do instead.
COMMANDS_INSTEAD = {
    **dict.fromkeys(
        ("lr_find", "lr_finder", "find_lr", "lrfind"),
        "To search for the learning rate: clearsight tune DATA --tune lr. `clearsight train` takes a usual one.",
    ),
    **dict.fromkeys(("resume", "continue"), "To continue a run: clearsight train --resume RUN, or --resume last."),
    **dict.fromkeys(
        ("login", "logout", "register"),
        "No account is needed: everything stays on this machine. Try: clearsight doctor.",
    ),
    **dict.fromkeys(
        ("track", "segment", "pose", "obb"), "clearsight classifies whole images. Try: clearsight train DATA."
    ),
    **dict.fromkeys(
        ("install_completion", "show_completion", "completions"),
        "To let your shell complete commands: clearsight completion --help.",
    ),
    "tensorboard": "To write files for TensorBoard: clearsight debug export RUN --tensorboard DIR.",
    **dict.fromkeys(
        ("install", "setup"), "Extras are installed with pip: clearsight doctor shows each with its command."
    ),
}

# Ultralytics' words before a mode; without one, `classify` means predict.
_TASKS = ("classify", "yolo", "task=classify")

# A flag without a value -> the same in words of clearsight.
_SWITCHES: dict[str, tuple[str, ...]] = {
    "amp": ("--precision", "auto"),
    "no_amp": ("--precision", "fp32"),
    "bf16": ("--precision", "bf16"),
    "fp16": ("--precision", "fp16"),
    "half": ("--precision", "fp16"),
    "pretrained": ("--weights", "default"),
    "use_pretrained_model": ("--weights", "default"),
    "no_pretrained": ("--weights", "none"),
    "from_scratch": ("--weights", "none"),
    "cos_lr": ("--schedule", "cosine"),
    "no_aug": ("--augment", "none"),
    "no_augment": ("--augment", "none"),
    "cpu": ("--device", "cpu"),
    "use_cpu": ("--device", "cpu"),
    "no_cuda": ("--device", "cpu"),
    "cuda": ("--device", "cuda"),
    "balanced": ("--class-weights", "balanced"),
    "freeze_backbone": ("--freeze", "backbone"),
    "no_freeze": ("--freeze", "none"),
    "unfreeze": ("--freeze", "none"),
    "verbose": (),
    "quiet": (),
    "v": (),
}
# A switch that is turned off with a value: pretrained=False.
_OFF = {"amp": "no_amp", "pretrained": "no_pretrained", "use_pretrained_model": "no_pretrained", "augment": "no_aug"}
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")

# Own flag -> values of other tools for it.
_VALUES: dict[str, dict[str, str]] = {
    "--device": {"gpu": "cuda", **{str(index): f"cuda:{index}" for index in range(16)}},
    "--precision": {
        word: ours
        for ours, others in {
            "fp16": "16-mixed 16 float16 half",
            "fp32": "32 32-true float32",
            "bf16": "bf16-mixed bfloat16",
            "auto": "amp",
        }.items()
        for word in others.split()
    },
    "--augment": {"true": "standard", "false": "none", "rand-m9-mstd0.5-inc1": "randaugment", "ra": "randaugment"},
    "--class-weights": {"true": "balanced", "1": "balanced", "false": "none", "0": "none", "auto": "balanced"},
    "--schedule": {"cos": "cosine", "cosineannealinglr": "cosine", "steplr": "step", "const": "constant"},
    "--freeze": {"true": "backbone", "false": "none"},
    "--resume": {"true": "last"},
    "--monitor": {"val_loss": "loss", "val_acc": "accuracy", "val_accuracy": "accuracy", "acc": "accuracy"},
}

# The arguments of a command by the names that other tools give them, in their order.
_ARGUMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "train": (("data", "data_dir", "data_path", "dataset", "dataset_name", "root", "path", "train_data"),),
    "tune": (("data", "data_dir", "data_path", "dataset", "dataset_name", "root", "path", "train_data"),),
    "data": (("data", "data_dir", "data_path", "dataset", "root", "path"),),
    "evaluate": (("model", "weights", "checkpoint", "run", "ckpt_path"), ("data", "data_dir", "dataset", "test_data")),
    "predict": (("model", "weights", "checkpoint", "run"), ("source", "images", "image", "data", "input", "path")),
    "serve": (("model", "weights", "checkpoint", "run"),),
    "export": (("model", "weights", "checkpoint", "run"),),
}
# Flags of all commands but tune, where --name is its own.
_OUTPUTS = ("output_dir", "output", "save_dir", "outdir", "out_dir", "default_root_dir", "model_dir", "save_path")
_RESUMES = ("resume_from_checkpoint", "ckpt_path", "auto_resume", "from_checkpoint")


def translate_command(words: Sequence[str], commands: Mapping[str, object]) -> list[str]:
    """Return the words of a command line with clearsight's command in the first place.

    `help train` is `train --help`. Raises BadChoice for a command that is answered by a sentence.
    """
    words = list(words)
    while len(words) > 1 and words[0] in _TASKS and (_mode(words[1]) in commands or words[1] in _TASKS):
        words = words[1:]
    name, rest = _mode(words[0]), words[1:]
    if name == "help" and rest:
        return [*translate_command(rest[:1], commands), "--help"]
    plain = name.lower().replace("-", "_").lstrip("_")
    if name in commands or plain in commands:
        return [name if name in commands else plain, *_without_task(rest)]
    if plain in COMMANDS:
        return [COMMANDS[plain], *_without_task(rest)]
    if plain in COMMANDS_INSTEAD:
        raise BadChoice(f"clearsight {name}", "no such command", fix=COMMANDS_INSTEAD[plain])
    return words


def _mode(word: str) -> str:
    """Return the command in mode=train; other words as they are."""
    mode = word.removeprefix("mode=")
    return COMMANDS.get(mode, mode) if mode != word else word


def _without_task(words: Sequence[str]) -> list[str]:
    """Return the words without Ultralytics' task and mode, which the command says already."""
    return [word for word in words if word != "task=classify" and not re.fullmatch("mode=[a-z]+", word)]


def translate(command: str, words: Sequence[str], flags: Mapping[str, bool]) -> list[str]:
    """Return the words of a command with its own flags and arguments in place of those of other tools.

    flags: the command's own flags, True for those that take a value.  Words after "--" stay as they are.
    Raises BadChoice for a flag that is answered by a sentence.
    """
    words = list(words)
    end = words.index("--") if "--" in words else len(words)
    parts = _Parts(command, flags)
    pending = iter(_split_values(words[:end], flags))
    for word in pending:
        parts.take(word, pending)
    return [*parts.arguments(), *parts.words, *words[end:]]


def flags_of(command: Any) -> dict[str, bool]:
    """Return the flags of a typer command or of all commands of a group, True for those that take a value."""
    flags: dict[str, bool] = {}
    for part in [command, *getattr(command, "commands", {}).values()]:
        for parameter in part.params:
            if parameter.param_type_name == "option":
                takes_value = not (parameter.is_flag or parameter.count)
                flags |= dict.fromkeys([*parameter.opts, *parameter.secondary_opts], takes_value)
    return flags


class _Parts:
    """The translated words so far. folder: project and name, of which --out is made."""

    def __init__(self, command: str, flags: Mapping[str, bool]) -> None:
        self._command, self._flags = command, flags
        self.words: list[str] = []
        self._named: dict[int, str] = {}
        self._folder: dict[str, str] = {}

    def arguments(self) -> list[str]:
        """Return the arguments that were given by name, and --out for --project and --name."""
        if self._folder:
            if "name" not in self._folder:
                project = self._folder["project"]
                raise BadChoice(f"--project {project}", "no such flag", fix=f"Pass the folder: --out {project}/NAME.")
            self.words += ["--out", str(Path(self._folder.get("project", "runs"), self._folder["name"]))]
        return [self._named[place] for place in sorted(self._named)]

    def take(self, word: str, pending: Iterator[str]) -> None:
        """Append a word, and its value from `pending` where it has one."""
        dashed = word.startswith("-") and not re.fullmatch(r"-\d.*|-", word)
        if not dashed:
            self._assignment(word)
            return
        own = self._own(word)
        if own is None:
            self._foreign(word, pending)
        elif self._flags[own]:
            self._with_value(own, pending)
        else:
            self.words.append(own)

    def _own(self, word: str) -> str | None:
        """Return the command's own flag for a word, which may have underscores; None for another tool's."""
        hyphened = word if not word.startswith("--") else "--" + word[2:].replace("_", "-")
        return next((name for name in (word, hyphened) if name in self._flags), None)

    def _with_value(self, flag: str, pending: Iterator[str]) -> None:
        value = next(pending, None)
        if flag == "--device" and value is not None and "," in value:
            raise BadChoice(f"--device {value}", "a process trains on one device", fix=INSTEAD["devices"])
        self.words.append(flag)
        if value is not None:
            self.words.append(_VALUES.get(flag, {}).get(value.lower(), value))

    def _assignment(self, word: str) -> None:
        """Append `key=value` as a flag or an argument if the key is one; any other word as it is."""
        key, mark, value = word.partition("=")
        if mark and re.fullmatch(r"[A-Za-z_]\w*", key) and not Path(word).exists() and self._knows(key):
            self.take(f"--{key}", iter([value]))
        else:
            self.words.append(word)

    def _knows(self, key: str) -> bool:
        known = {**SAME, **INSTEAD, **_SWITCHES, **dict.fromkeys((*_OUTPUTS, *_RESUMES, "project", "name", "e"))}
        return key in known or self._place(key) is not None or self._own(f"--{key}") is not None

    def _place(self, plain: str) -> int | None:
        """Return the place of an argument among those of the command; None for a word that names none."""
        names = _ARGUMENTS.get(self._command, ())
        return next((place for place, spellings in enumerate(names) if plain in spellings), None)

    def _foreign(self, word: str, pending: Iterator[str]) -> None:
        plain = word.lstrip("-").lower().replace("-", "_").removeprefix("trainer.").removeprefix("model.")
        ours = "--" + SAME.get(plain, "").replace("_", "-")
        place = self._place(plain)
        if plain in _SWITCHES:
            self._switch(plain, pending)
        elif place is not None:
            self._named[place] = next(pending, "")
        elif plain in ("project", "name", "experiment", "run_name") and "--out" in self._flags:
            self._folder["project" if plain == "project" else "name"] = next(pending, "")
        elif plain in _OUTPUTS and "--out" in self._flags:
            self._with_value("--out", pending)
        elif plain in _RESUMES and "--resume" in self._flags:
            self._with_value("--resume", pending)
        elif plain == "evaluate":
            raise BadChoice(word, "no such flag", fix="To measure a model: clearsight evaluate MODEL DATA.")
        elif ours in self._flags:
            self._with_value(ours, pending)
        elif plain in INSTEAD:
            raise BadChoice(word, "no such flag", fix=INSTEAD[plain])
        else:
            self.words.append(word)  # a typing error: the parser of the command answers it

    def _switch(self, plain: str, pending: Iterator[str]) -> None:
        """Append what a flag without a value means. A value that follows may turn it off, or be a file of weights."""
        following = next(pending, None)
        means = _SWITCHES[plain]
        if following is not None and following.lower() in _FALSE:
            means = _SWITCHES.get(_OFF.get(plain, ""), ())
        elif following is not None and following.lower() not in _TRUE:
            if plain == "pretrained" and Path(following).suffix in (".safetensors", ".pth", ".pt"):
                means = ("--weights", following)
            else:  # the next word has nothing to do with the switch
                self.words += self._known(means)
                self.take(following, pending)
                return
        self.words += self._known(means)

    def _known(self, means: tuple[str, ...]) -> tuple[str, ...]:
        """Return the words if the command has the flag, else none: a switch that is on anyway is not an error."""
        return means if not means or means[0] in self._flags else ()


def _split_values(words: Sequence[str], flags: Mapping[str, bool]) -> Iterator[str]:
    """Yield the words, --flag=value as two, except for an own flag without a value: its parser says so."""
    for word in words:
        flag, mark, value = word.partition("=")
        if mark and word.startswith("--") and flags.get(flag, True):
            yield flag
            yield value
        else:
            yield word
