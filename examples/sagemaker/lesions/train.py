"""Trains ResNet-50 on lesions: encoded images in an HDF5 file, targets in a table."""

import argparse
import csv
import io
import os

import h5py
import torch
from network import build, prepare
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import smdebug.pytorch as smd


class Lesions(Dataset):
    """Images of an HDF5 file, by the rows of a table with the columns isic_id and target."""

    def __init__(self, folder, split, most):
        self.images = os.path.join(folder, f"{split}-image.hdf5")
        with open(os.path.join(folder, f"{split}.csv")) as file:
            self.rows = list(csv.DictReader(file))[:most]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        row = self.rows[place]
        with h5py.File(self.images) as file, Image.open(io.BytesIO(file[row["isic_id"]][()])) as image:
            return prepare(image.convert("RGB")), float(row["target"])


def area_under_curve(scores, targets):
    """Return the ROC-AUC: the share of pairs in which the malignant lesion has the higher score."""
    malignant = [score for score, target in zip(scores, targets, strict=True) if target]
    benign = [score for score, target in zip(scores, targets, strict=True) if not target]
    wins = sum((high > low) + (high == low) / 2 for high in malignant for low in benign)
    return wins / (len(malignant) * len(benign))


def main(args):
    """Train, and write the weights."""
    torch.manual_seed(0)
    train_set = Lesions(args.training, "train_split", args.images)
    valid_set = Lesions(args.training, "val_split", args.images)
    malignant = sum(float(row["target"]) for row in train_set.rows)
    network = build(args.pretrained)
    # A missed melanoma is worse than a false alarm, and there are fewer of them.
    criterion = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor((len(train_set) - malignant) / malignant))
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr)
    hook = smd.get_hook(create_if_not_exists=True)
    if hook:
        hook.register_module(network)
        hook.register_loss(criterion)
    for epoch in range(args.epochs):
        if hook:
            hook.set_mode(smd.modes.TRAIN)
        network.train()
        for images, targets in DataLoader(train_set, args.batch_size, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            criterion(network(images).squeeze(1), targets.float()).backward()
            optimizer.step()
        if hook:
            hook.set_mode(smd.modes.EVAL)
        network.eval()
        scores, truth = [], []
        with torch.no_grad():
            for images, targets in DataLoader(valid_set, args.batch_size):
                logits = network(images).squeeze(1)
                criterion(logits, targets.float())
                scores += logits.tolist()
                truth += targets.tolist()
        auc = area_under_curve(scores, truth)
        print(f"epoch {epoch + 1}: validation AUC: {auc:.4f}")
        if hook:
            hook.save_scalar("validation_auc", auc, sm_metric=False)
    torch.save(network.state_dict(), os.path.join(args.model_dir, "model.pth"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--images", type=int, default=100_000, help="use this many of each split")
    parser.add_argument("--pretrained", type=int, default=0)
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--training", default=os.environ["SM_CHANNEL_TRAINING"])
    main(parser.parse_args())
