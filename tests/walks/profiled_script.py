"""A plain PyTorch script that reads real images. Arguments: SCENES OUT WORKERS SECONDS (sleep per decoded image)."""

import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Scenes(Dataset):
    """Images of class folders, decoded on access."""

    def __init__(self, folder: Path, seconds: float) -> None:
        class_folders = sorted(path for path in folder.iterdir() if path.is_dir())
        self.files = [
            (path, label)
            for label, class_folder in enumerate(class_folders)
            for path in sorted(class_folder.iterdir())[:6]
        ]
        self.seconds = seconds
        self.transform = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.files)

    def decode(self, path: Path) -> Image.Image:
        time.sleep(self.seconds)
        return Image.open(path).convert("RGB")

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[index]
        return self.transform(self.decode(path)), label


def main() -> None:
    data, out, workers, seconds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    loader = DataLoader(Scenes(data, seconds), batch_size=6, shuffle=True, num_workers=workers)
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(16, 6),
    )
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())
    for _ in range(2):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            correct = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
        print(f"accuracy {correct / len(loader.dataset):.3f}")
    torch.save(model.state_dict(), out)


if __name__ == "__main__":
    main()
