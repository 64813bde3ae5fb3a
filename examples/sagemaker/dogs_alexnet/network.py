"""AlexNet whose last layer is a head of several layers, trained on frozen features."""

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


def build(classes, head, pretrained=False):
    """Return the network. head: widths of the hidden layers; the convolutions are not trained."""
    network = models.alexnet(weights="DEFAULT" if pretrained else None)
    for parameter in network.features.parameters():
        parameter.requires_grad = False
    layers, width = [], 256 * 6 * 6
    for hidden in head:
        layers += [torch.nn.Dropout(0.3), torch.nn.Linear(width, hidden), torch.nn.ReLU()]
        width = hidden
    network.classifier = torch.nn.Sequential(*layers, torch.nn.Linear(width, classes))
    return network
