"""EfficientNet-B0 for scenes, and the way that its images are prepared."""

import torch
from torchvision import models, transforms

SIZE = 64  # pixels; 224 is that of the pretrained weights
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

prepare = transforms.Compose(
    [
        transforms.Resize((SIZE, SIZE)),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
)
augment = transforms.Compose([transforms.RandomHorizontalFlip(), prepare])


def build(classes, pretrained=False):
    """Return the network; pretrained weights are downloaded, so they are off by default."""
    network = models.efficientnet_b0(weights="DEFAULT" if pretrained else None)
    network.classifier[1] = torch.nn.Linear(network.classifier[1].in_features, classes)
    return network
