"""Command lines in the words of other tools: each does what was meant, or is answered by one sentence that says how."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from clearsight.cli import COMMANDS, main
from clearsight.cli.other_words import flags_of, translate, translate_command
from clearsight.core.errors import BadChoice
from clearsight.core.other_words import INSTEAD, SAME, answer
from clearsight.core.recipe import Recipe, fields


def flags(command: str) -> dict[str, bool]:
    return flags_of(get_command(importlib.import_module(COMMANDS[command][0]).app))


def translated(line: str) -> str:
    """Return a command line in clearsight's words."""
    command, *words = translate_command(line.split(), COMMANDS)
    return " ".join([command, *translate(command, words, flags(command))])


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        # Commands
        ("fit photos", "train photos"),
        ("fine_tune photos", "train photos"),
        ("val runs/first photos", "evaluate runs/first photos"),
        ("test runs/first photos", "evaluate runs/first photos"),
        ("infer runs/first cat.jpg", "predict runs/first cat.jpg"),
        ("help train", "train --help"),
        ("help fit", "train --help"),
        ("list_models resnet*", "models resnet*"),
        ("sweep photos", "tune photos"),
        # Underscores
        ("train photos --batch_size 8", "train photos --batch-size 8"),
        ("train photos --weight_decay=0.1", "train photos --weight-decay 0.1"),
        # fastai
        ("train photos --bs 64 --wd 0.1", "train photos --batch-size 64 --weight-decay 0.1"),
        ("train photos --valid-pct 0.2", "train photos --valid-fraction 0.2"),
        ("train photos --arch resnet34 --freeze-epochs 1", "train photos --model resnet34 --head-epochs 1"),
        # Ultralytics
        ("train photos --imgsz 224 --batch 16 --lr0 0.01", "train photos --image-size 224 --batch-size 16 --lr 0.01"),
        ("train photos --project out --name first", "train photos --out out/first"),
        ("train photos --name first", "train photos --out runs/first"),
        ("train photos --device 0", "train photos --device cuda:0"),
        ("train photos --device 1", "train photos --device cuda:1"),
        ("train data=photos model=resnet18 epochs=3", "train photos --model resnet18 --epochs 3"),
        ("train data=photos pretrained=False amp=False", "train photos --weights none --precision fp32"),
        ("train photos pretrained=w.pth", "train photos --weights w.pth"),
        ("yolo classify train data=photos model=resnet18", "train photos --model resnet18"),
        ("yolo mode=val model=runs/first data=photos", "evaluate runs/first photos"),
        ("classify predict model=runs/first source=cat.jpg", "predict runs/first cat.jpg"),
        ("predict source=cat.jpg model=runs/first", "predict runs/first cat.jpg"),
        ("export model=runs/first format=onnx", "export runs/first --format onnx"),
        ("train task=classify mode=train data=photos", "train photos"),
        ("train resume=True", "train --resume last"),
        # timm and torchvision
        ("train photos -j 4 --opt sgd --sched step", "train photos --workers 4 --optimizer sgd --schedule step"),
        ("train --data-dir photos -a resnet18 -e 5", "train photos --model resnet18 --epochs 5"),
        ("train photos --pretrained --smoothing 0.1", "train photos --weights default --label-smoothing 0.1"),
        ("train photos --no-pretrained --img-size 96", "train photos --weights none --image-size 96"),
        ("train photos --amp --clip-grad-norm 1", "train photos --precision auto --clip-grad 1"),
        ("train photos --drop 0.3 --model-ema-decay 0.99", "train photos --dropout 0.3 --ema 0.99"),
        ("train photos --aa randaugment --output runs/x", "train photos --augment randaugment --out runs/x"),
        # Hugging Face Trainer
        ("train photos --learning_rate 1e-4 --num_train_epochs 3", "train photos --learning-rate 1e-4 --epochs 3"),
        ("train photos --per_device_train_batch_size 8", "train photos --batch-size 8"),
        ("train photos --gradient_accumulation_steps 2 --fp16", "train photos --accumulate 2 --precision fp16"),
        ("train photos --dataloader_num_workers 2 --bf16", "train photos --workers 2 --precision bf16"),
        ("train --resume_from_checkpoint runs/first", "train --resume runs/first"),
        ("train photos --output_dir runs/x --seed 3", "train photos --out runs/x --seed 3"),
        ("train photos --metric_for_best_model loss", "train photos --monitor loss"),
        # Lightning
        ("fit photos --trainer.max_epochs 3", "train photos --epochs 3"),
        ("fit photos --precision 16-mixed", "train photos --precision fp16"),
        ("fit photos --accumulate_grad_batches=4", "train photos --accumulate 4"),
        # Keras and AutoGluon
        ("fit photos --validation_split 0.1", "train photos --valid-fraction 0.1"),
        ("fit photos --val-split 0.1", "train photos --valid-fraction 0.1"),
        ("fit photos --class_weight balanced", "train photos --class-weights balanced"),
        ("fit train.csv --label breed", "train train.csv --label-column breed"),
        # SageMaker
        ("train photos --mini_batch_size 32 --early_stopping_patience 3", "train photos --batch-size 32 --patience 3"),
    ],
)  # fmt: skip
def test_words_of_other_tools_mean_the_same(line: str, ours: str) -> None:
    assert translated(line) == ours


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("lr-find photos", "clearsight tune DATA --tune lr"),
        ("resume runs/first", "clearsight train --resume RUN"),
        ("tensorboard", "clearsight debug export RUN --tensorboard DIR"),
        ("train photos --num-classes 5", "follows from the data"),
        ("train photos nc=5", "follows from the data"),
        ("train photos --device 0,1", "torchrun --nproc-per-node"),
        ("train photos --gpus 2", "torchrun --nproc-per-node"),
        ("train photos --project out", "--out out/NAME"),
        ("train photos --warmup-epochs 3", "--warmup 0.05"),
        ("train photos --max_steps 100", "--epochs N"),
        ("train photos --min-lr 1e-6", "--schedule"),
        ("train photos --exist-ok", "--out"),
        ("train photos --early-stopping", "--patience N"),
        ("train photos --hflip 0.5", "--augment"),
        ("train photos --report_to wandb", "clearsight debug export"),
        ("train photos --val-dir photos/val", "valid/"),
        ("train photos --evaluate", "clearsight evaluate"),
        ("train photos --regression", "one class"),
        ("train photos --compile", "--auto-tune"),
        ("train photos --fast_dev_run", "--limit"),
    ],
)
def test_other_words_are_answered_by_one_sentence(
    line: str, names: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert names in error
    assert "Did you mean" not in error
    assert len(error.splitlines()) == 1


def test_a_flag_of_the_command_wins_over_another_tools() -> None:
    assert translated("tune photos --name first") == "tune photos --name first"
    assert translated("train photos --label-smoothing 0.1") == "train photos --label-smoothing 0.1"


def test_values_of_flags_are_not_taken_for_flags() -> None:
    assert translated("tune photos --space lr=[1,2]") == "tune photos --space lr=[1,2]"
    assert translated("debug runs/first --rule Overfit(patience=3)") == "debug runs/first --rule Overfit(patience=3)"
    assert translated("profile -- python train.py --bs 4 lr=1") == "profile -- python train.py --bs 4 lr=1"


def test_a_file_whose_name_has_an_equals_sign_stays_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("epochs=3").mkdir()
    assert translated("train epochs=3") == "train epochs=3"


def test_a_typing_error_still_gets_the_nearest_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "photos", "--batch-sizze", "3"]) == 2
    assert "--batch-size" in capsys.readouterr().err


def test_every_entry_of_the_table_is_right() -> None:
    names = {name for _, name, _ in fields()}
    assert set(SAME.values()) <= names, "a word means a setting that does not exist"
    assert not names & SAME.keys(), "a name of clearsight's own cannot mean another setting"
    assert not SAME.keys() & INSTEAD.keys()
    own = flags("train") | flags("tune")
    named = [word.strip(":.,") for sentence in INSTEAD.values() for word in sentence.split() if word.startswith("--")]
    assert {flag for flag in named if flag not in own} <= {"--json", "--nproc-per-node", "--tensorboard"}


def test_a_recipe_names_our_setting_too() -> None:
    def problem(**values: Any) -> str:
        with pytest.raises(BadChoice) as raised:
            Recipe.parse(values)
        return str(raised.value)

    assert "That is called batch_size here." in problem(bs=32)
    assert "follows from the data" in problem(num_classes=3)
    assert "Did you mean batch_size?" in problem(batch_sizes=3)
    assert answer("Learning-Rates-Of-Mars") == ""
