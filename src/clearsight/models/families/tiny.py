"""tiny: clearsight's own small CNN for small images (digits, CIFAR) from 8 pixels; trains fast on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from clearsight.models.dissection import Dissection, ExactFamily

WIDTHS = (32, 64, 128, 128)  # channels after each convolution


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        # No bias: the norm after it would subtract it again.
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Tiny(nn.Module):
    """Four 3 x 3 convolutions with BatchNorm and ReLU, halved three times, averaged; 241 thousand parameters.

    (N, 3, S, S) float32 -> (N, classes) float32, S >= 8.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _block(3, WIDTHS[0])
        self.block1 = nn.Sequential(nn.MaxPool2d(2), *_block(WIDTHS[0], WIDTHS[1]))
        self.block2 = nn.Sequential(nn.MaxPool2d(2), *_block(WIDTHS[1], WIDTHS[2]))
        self.block3 = nn.Sequential(nn.MaxPool2d(2), *_block(WIDTHS[2], WIDTHS[3]))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        maps = self.block3(self.block2(self.block1(self.stem(images))))
        features: Tensor = self.fc(self.pool(maps).flatten(1))
        return features


def dissect(model: nn.Module) -> Dissection:
    """Return stages stem, block1, block2, block3; the pooling is part of block3."""
    part = model.get_submodule
    parts = {name: part(name) for name in ("stem", "block1", "block2")}
    parts["block3"] = nn.Sequential(part("block3"), part("pool"), nn.Flatten())
    return Dissection.of(parts, "fc")


FAMILY = ExactFamily((f"{__name__}.Tiny",), dissect)
