"""Hyperparameters of the algorithm, and the recipe of clearsight that they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import ValidationError

from clearsight.core.errors import BadValue
from clearsight.core.recipe import Recipe
from clearsight.core.settings import Section, bad_value, setting

_DEPTHS = (18, 34, 50, 101, 152)  # of the networks for images of usual size
_SMALL_DEPTHS = (20, 32, 44, 56, 110, 164)  # of those for images of up to 28 pixels
_AUGMENT = {"none": "none", "crop": "light", "crop_color": "standard", "crop_color_transform": "randaugment"}
_OPTIMIZERS = {"sgd": "sgd", "nag": "sgd", "adam": "adam", "rmsprop": "adam"}


class AlgorithmHyperparameters(Section):
    """Hyperparameters of image-classification, with SageMaker's names, defaults and ranges."""

    num_classes: int = setting(..., "classes", low=2, high=100_000)
    num_training_samples: int = setting(..., "training images", low=1)
    num_layers: int = setting(152, "layers of the ResNet", low=18, high=200)
    use_pretrained_model: bool = setting(False, "start from weights of ImageNet")
    image_shape: str = setting("3,224,224", "channels, height and width of the input")
    epochs: int = setting(30, "epochs", low=1, high=100_000)
    mini_batch_size: int = setting(32, "images per batch", low=1, high=65_536)
    learning_rate: float = setting(0.1, "learning rate", low=0, high=1)
    optimizer: Literal["sgd", "adam", "rmsprop", "nag"] = setting("sgd", "optimizer")
    momentum: float = setting(0.9, "momentum of sgd and nag", low=0, high=1)
    weight_decay: float = setting(0.0001, "weight decay", low=0, high=1)
    eps: float = setting(1e-8, "epsilon of adam and rmsprop", low=0, high=1)
    beta_1: float = setting(0.9, "decay of the first moment of adam", low=0, high=1)
    beta_2: float = setting(0.999, "decay of the second moment of adam", low=0, high=1)
    gamma: float = setting(0.9, "decay of rmsprop", low=0, high=1)
    lr_scheduler_factor: float = setting(0.1, "factor at each drop of the learning rate", low=0, high=1)
    lr_scheduler_step: str = setting("", "epochs at which the learning rate drops, separated by commas")
    augmentation_type: Literal["none", "crop", "crop_color", "crop_color_transform", ""] = setting(
        "none", "random changes of the training images"
    )
    resize: int | None = setting(None, "shorter side of training images before the crop", low=1)
    early_stopping: bool = setting(False, "stop when the validation accuracy does not improve")
    early_stopping_min_epochs: int = setting(10, "epochs before the first early stop", low=1)
    early_stopping_patience: int = setting(5, "epochs without improvement", low=1)
    early_stopping_tolerance: float = setting(0.0, "improvement that counts as none", low=0, high=1)
    multi_label: bool = setting(False, "several classes of an image")
    use_weighted_loss: bool = setting(False, "weights of classes, for several classes of an image")
    precision_dtype: Literal["float32", "float16"] = setting("float32", "floating-point format")
    top_k: int | None = setting(None, "report whether the class is among the k likeliest", low=2)
    checkpoint_frequency: int = setting(1, "epochs between checkpoints", low=1)
    kv_store: str = setting("dist_sync", "how several instances work together")

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> AlgorithmHyperparameters:
        """Return the hyperparameters of a request, without those of tuning jobs and of the SDK.

        Raises ClearsightError with SageMaker's words for a missing or unknown one.
        """
        values = {
            name: text.strip().strip('"') for name, text in texts.items() if not name.startswith(("_", "sagemaker_"))
        }
        for name in ("num_classes", "num_training_samples"):
            if name not in values:
                raise BadValue("HyperParameters", f"'{name}' is a required property")
        for name in values:
            if name not in cls.model_fields:
                allowed = ", ".join(cls.model_fields)
                problem = f"Additional properties are not allowed ('{name}' was unexpected)"
                raise BadValue("HyperParameters", problem, fix=f"Allowed: {allowed}.")
        parsed = cls._parsed({name: text for name, text in values.items() if text not in ("", "None", "null")})
        if parsed.multi_label:
            raise BadValue("multi_label 1", "images with several classes are not trained here", fix="Set it to 0.")
        return parsed

    @classmethod
    def _parsed(cls, values: Mapping[str, str]) -> AlgorithmHyperparameters:
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            raise bad_value(error, f"{name} {values[name]}", cls.model_fields[name]) from None

    @property
    def network(self) -> str:
        """Name of the network in clearsight."""
        return f"resnet{max(depth for depth in _DEPTHS if depth <= self.num_layers)}" if self._is_large else "resnet18"

    @property
    def _is_large(self) -> bool:
        return self.num_layers in _DEPTHS or self.num_layers not in _SMALL_DEPTHS

    @property
    def image_size(self) -> int:
        """Side of the square input, pixels. Raises BadValue for a shape that is no shape of images."""
        numbers = [part.strip() for part in self.image_shape.split(",")]
        if len(numbers) != 3 or not all(part.isdecimal() for part in numbers) or numbers[0] not in ("1", "3"):
            raise BadValue(f"image_shape {self.image_shape}", "must be channels, height, width, such as 3,224,224")
        return min(int(numbers[1]), int(numbers[2]))

    @property
    def drop_epochs(self) -> tuple[int, ...]:
        """Epochs at which the learning rate drops. Raises BadValue for a text that is no list of them."""
        parts = [part.strip() for part in self.lr_scheduler_step.split(",") if part.strip()]
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise BadValue(f"lr_scheduler_step {self.lr_scheduler_step}", "must be epochs, such as 10,20")
        return tuple(sorted({int(part) for part in parts}))

    def recipe(self, *, weights: str = "") -> Recipe:
        """Return the recipe. weights: of an earlier model, "" for those of the hyperparameters.

        Raises ClearsightError for a value that clearsight has no equal of.
        """
        drops = self.drop_epochs
        settings: dict[str, Any] = {
            "model": self.network,
            "weights": weights or ("default" if self.use_pretrained_model else "none"),
            "freeze": "none",  # as in SageMaker, where pretrained networks are trained as a whole
            "image_size": self.image_size,
            "augment": _AUGMENT[self.augmentation_type or "none"],
            "epochs": self.epochs,
            "batch_size": self.mini_batch_size,
            "optimizer": _OPTIMIZERS[self.optimizer],
            "lr": max(self.learning_rate, 1e-12),
            "momentum": min(self.momentum, 1 - 1e-9),
            "weight_decay": self.weight_decay,
            "eps": max(self.eps, 1e-16),
            "warmup": 0.0,
            "schedule": "step" if drops and 0 < self.lr_scheduler_factor < 1 else "constant",
            "patience": self.early_stopping_patience if self.early_stopping else None,
            "label_check": False,  # class numbers would look like numbers to predict
            "on_bad": "fail",
        }
        if settings["schedule"] == "step":
            settings |= {"step_size": drops[0], "gamma": self.lr_scheduler_factor}
        return Recipe.parse(settings)

    def remarks(self) -> Iterator[str]:
        """Yield a sentence for each hyperparameter that is carried out in another way, or not at all."""
        if self.network != f"resnet{self.num_layers}":
            yield f"num_layers={self.num_layers}: there is no such network here; {self.network} is trained."
        channels, height, width = (part.strip() for part in self.image_shape.split(","))
        if channels != "3" or height != width:
            size = self.image_size
            yield f"image_shape={self.image_shape}: images are made {size} x {size} pixels with 3 channels."
        if self.optimizer == "rmsprop":
            yield "optimizer=rmsprop: adam is used."
        if self.optimizer == "nag":
            yield "optimizer=nag: sgd with momentum is used, without Nesterov's correction."
        drops = self.drop_epochs
        if drops and drops != tuple(drops[0] * factor for factor in range(1, len(drops) + 1)):
            yield f"lr_scheduler_step={self.lr_scheduler_step}: the learning rate drops every {drops[0]} epochs."
        if self.precision_dtype == "float16":
            yield "precision_dtype=float16: the format is chosen by the machine: bf16 on a GPU, fp32 on a CPU."
        yield from self._without_effect()

    def _without_effect(self) -> Iterator[str]:
        reasons = {
            "resize": "images are resized to image_shape, their shorter side first",
            "beta_1": "clearsight has the usual 0.9",
            "beta_2": "clearsight has the usual 0.999",
            "gamma": "adam has no such value",
            "early_stopping_min_epochs": "patience counts from the first epoch on",
            "early_stopping_tolerance": "any improvement counts",
            "use_weighted_loss": "it is for images with several classes",
            "top_k": "accuracy alone is reported",
            "checkpoint_frequency": "the best epoch is the model",
            "kv_store": "this machine is one instance",
        }
        for name, reason in reasons.items():
            if getattr(self, name) != type(self).model_fields[name].default:
                yield f"{name}={getattr(self, name)} has no effect here: {reason}."
