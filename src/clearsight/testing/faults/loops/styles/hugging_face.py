"""Style of the Hugging Face Trainer: a model that computes its loss, batches as dictionaries, compute_metrics.

Source: huggingface.co/docs/transformers/tasks/image_classification
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR
from transformers.modeling_outputs import ImageClassifierOutput

from clearsight.debugger.callbacks.huggingface import DebuggerCallback
from clearsight.testing.faults.loops import statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript


class ClassifierWithLoss(nn.Module):
    """Image classifier that returns its loss where labels are passed, as models of transformers do."""

    def __init__(self, script: LoopScript) -> None:
        super().__init__()
        self.net = statements.finished(script)
        self._script = script

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        logits = self.net(pixel_values)
        loss = None
        if labels is not None:
            value = statements.function_loss(self._script, logits, labels)
            loss = statements.changed_loss(self._script.fault, value, len(labels)) if self.training else value
        return ImageClassifierOutput(loss=loss, logits=logits)


class ImageTrainer(transformers.Trainer):
    """Trainer with a collator of its own for training."""

    def __init__(self, fault: str, **arguments: Any) -> None:
        super().__init__(data_collator=collated, **arguments)
        self._change = statements.BatchFault(fault)

    def get_train_dataloader(self) -> Any:
        self.data_collator = self._changed_batch
        loader = super().get_train_dataloader()
        self.data_collator = collated
        return loader

    def _changed_batch(self, examples: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
        batch = collated(examples)
        images, labels = self._change(batch["pixel_values"], batch["labels"])
        return {"pixel_values": images, "labels": labels}


def collated(examples: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    """Return a batch: pixel_values (N, 3, H, W) and labels (N,)."""
    images = torch.stack([image for image, _ in examples])
    return {"pixel_values": images, "labels": torch.tensor([label for _, label in examples])}


def compute_metrics(prediction: transformers.EvalPrediction) -> dict[str, float]:
    """Return the accuracy."""
    logits, labels = prediction.predictions, prediction.label_ids
    return {"accuracy": float((np.argmax(logits, axis=1) == labels).mean())}


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    settings = script.settings
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    model = ClassifierWithLoss(script)
    optimizer = statements.make_optimizer(script, model)
    per_epoch = len(script.train) // settings.batch_size  # type: ignore[arg-type]
    schedule = statements.faulty_schedule(script, optimizer, settings.epochs * per_epoch)
    scheduler: Any = schedule and schedule[0]  # None: the Trainer's own, linear to 0
    if schedule and schedule[1] == "epoch":  # the Trainer steps every schedule after each batch
        scheduler = StepLR(optimizer, step_size=per_epoch, gamma=0.05)
    arguments = transformers.TrainingArguments(
        output_dir=str(script.out / "trainer"),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=80,
        gradient_accumulation_steps=settings.accumulate,
        max_grad_norm=settings.clip or 1.0,
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        seed=torch.initial_seed() % 2**31,
    )
    trainer = ImageTrainer(
        script.fault,
        model=model,
        args=arguments,
        train_dataset=script.train,
        eval_dataset=script.valid,
        compute_metrics=compute_metrics,
        optimizers=(optimizer, scheduler),
        callbacks=[DebuggerCallback(script.out)],
    )
    trainer.train()
    scores = [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]
    return LoopOutcome(model=model.net, accuracies=tuple(scores))
