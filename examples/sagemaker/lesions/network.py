"""ResNet-50 with one output: the log-odds that a lesion is malignant."""

import torch
from torchvision import models, transforms

SIZE = 64  # pixels

prepare = transforms.Compose(
    [
        transforms.Resize((SIZE, SIZE)),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def build(pretrained=False):
    """Return the network."""
    network = models.resnet50(weights="DEFAULT" if pretrained else None)
    network.fc = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(network.fc.in_features, 1))
    return network
