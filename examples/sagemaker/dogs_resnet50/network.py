"""ResNet-50 for breeds of dogs."""

import torch
from torchvision import models, transforms

SIZE = 64  # pixels; 224 is that of the pretrained weights

prepare = transforms.Compose(
    [
        transforms.Resize((SIZE, SIZE)),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def build(classes, pretrained=False):
    """Return the network."""
    network = models.resnet50(weights="DEFAULT" if pretrained else None)
    network.fc = torch.nn.Linear(network.fc.in_features, classes)
    return network
