"""ImageAnalysis: explains every image of a dataset and writes heat maps, values, analysis.json and the report."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from clearsight.core.files import finite_json
from clearsight_sagemaker.clarify.analysis_config import AnalysisConfig
from clearsight_sagemaker.clarify.explanation import ImageExplanation, explain_image, noise_like
from clearsight_sagemaker.clarify.heat_map import draw_heat_map
from clearsight_sagemaker.clarify.image_scores import ImageScores
from clearsight_sagemaker.clarify.report import ReportedImage, write_report
from clearsight_sagemaker.hosting.inference_server import InferenceServer, InterruptibleServer
from clearsight_sagemaker.training.failure import client_error

_ENDINGS = (".jpg", ".jpeg", ".png")
_MOST_ROWS = 5  # classes of an image in the report
_VALUES = "explanations_shap"  # folder of local values, as for other data
_COLUMNS = ("image", "label", "segment", "pixels", "shap_value")


@dataclass(slots=True)
class ImageAnalysis:
    """Analysis of the images in a folder. baseline: image that hidden segments show, None for noise.

    output: folder of the results.  log: takes a sentence.  check: called often; raises to give up.
    """

    config: AnalysisConfig
    data: Path
    output: Path
    baseline: npt.NDArray[np.uint8] | None
    log: Callable[[str], None]
    check: Callable[[], None]
    _entries: list[dict[str, Any]] = field(default_factory=list)
    _reported: list[ReportedImage] = field(default_factory=list)

    def run(self, server: InferenceServer) -> None:
        """Explain all images. Raises JobFailed, and what `check` raises."""
        paths = self._images()
        with closing(InterruptibleServer(server, self.check)) as interruptible:
            self._explain_all(paths, ImageScores(interruptible, self.config.predictor))
        self._write_analysis()
        if self.config.title:
            problem = write_report(self.output, self.config.title, self._facts(), self._reported)
            if problem:
                self.log(f"There is report.html, and no report.pdf: {problem}")

    def _explain_all(self, paths: Sequence[Path], scores: ImageScores) -> None:
        values = self.output / _VALUES
        values.mkdir(parents=True, exist_ok=True)
        with (values / "out.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(_COLUMNS)
            for number, path in enumerate(paths, 1):
                name, start = path.relative_to(self.data).as_posix(), time.monotonic()
                explanation = self._explain(path, name, scores)
                self._write(path, name, explanation, table, file)
                label = self._label(explanation.predicted, len(explanation.scores))
                self.log(
                    f"{number} of {len(paths)}: {name}: {label} {explanation.scores[explanation.predicted]:.4g},"
                    f" {explanation.coalitions} coalitions of {len(explanation.values)} segments,"
                    f" {time.monotonic() - start:.1f} s"
                )

    def _images(self) -> list[Path]:
        files = sorted(path for path in self.data.rglob("*") if path.is_file())
        images = [path for path in files if path.suffix.lower() in _ENDINGS]
        if not images:
            allowed = ", ".join(_ENDINGS)
            raise client_error(f"the dataset has no image. Allowed are files that end with {allowed}.")
        if others := len(files) - len(images):
            self.log(f"{others} files of the dataset are no images and are left out.")
        return images

    def _explain(self, path: Path, name: str, scores: ImageScores) -> ImageExplanation:
        image = read_image(path, name)
        # Of the name and not of the place in the list: an image has the same explanation in any dataset.
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
        generator = np.random.default_rng([self.config.shap.seed, digest])
        baseline = noise_like(image, generator) if self.baseline is None else _resized(self.baseline, image)
        return explain_image(image, baseline, scores, self.config.shap, generator)

    def _write(self, path: Path, name: str, explanation: ImageExplanation, table: Any, file: IO[str]) -> None:
        labels = [self._label(number, len(explanation.scores)) for number in range(len(explanation.scores))]
        target = self.output / self._target(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        panel = draw_heat_map(read_image(path, name), explanation, labels[explanation.predicted])
        panel.save(target, "JPEG", quality=90)
        if self.config.shap.local_values:
            pixels = np.bincount(explanation.segments.ravel())
            for number, label in enumerate(labels):
                for segment, value in enumerate(explanation.values[:, number]):
                    table.writerow((name, label, segment, int(pixels[segment]), repr(float(value))))
            file.flush()
            heat = self.output / _VALUES / f"{name}.npy"
            heat.parent.mkdir(parents=True, exist_ok=True)
            np.save(heat, explanation.heat_map(), allow_pickle=False)
        order = np.argsort(-explanation.scores, kind="stable")
        rows = [(labels[n], float(explanation.scores[n]), float(explanation.base_scores[n])) for n in order]
        self._reported.append(ReportedImage(name=name, file=target, rows=rows[:_MOST_ROWS]))
        self._entries.append(
            {
                "image": name,
                "heat_map": target.relative_to(self.output).as_posix(),
                "predicted_label": labels[explanation.predicted],
                "segments": len(explanation.values),
                "scores": dict(zip(labels, explanation.scores.tolist(), strict=True)),
                "baseline_scores": dict(zip(labels, explanation.base_scores.tolist(), strict=True)),
                "shap_values": dict(zip(labels, explanation.values.T.tolist(), strict=True)),
            }
        )

    def _target(self, name: str) -> str:
        """Return the file of a heat map: that of the image, unless another image has the same name but for its end."""
        plain = f"{name.rpartition('.')[0]}.jpeg"
        used = {image.file.relative_to(self.output).as_posix() for image in self._reported}
        return f"{name}.jpeg" if plain in used else plain

    def _label(self, number: int, classes: int) -> str:
        labels = self.config.predictor.labels
        if labels and len(labels) != classes:
            raise client_error(f"label_headers has {len(labels)} names, and the model gives {classes} scores.")
        return labels[number] if labels else str(number)

    def _facts(self) -> Sequence[tuple[str, Any]]:
        predictor, shap = self.config.predictor, self.config.shap
        return [
            ("Model", predictor.model or f"endpoint {predictor.endpoint}"),
            ("Images", len(self._entries)),
            ("Segments of an image, about", shap.segments),
            ("Coalitions of an image, at most", shap.samples),
            ("Baseline", shap.baseline or f"noise (seed {shap.seed})"),
            ("Contributions to", "log-odds" if shap.logit else "scores"),
        ]

    def _write_analysis(self) -> None:
        shap = self.config.shap
        analysis = {
            "version": "1.0",
            "explanations": {
                "kernel_shap": {
                    "settings": {
                        "num_samples": shap.samples,
                        "num_segments": shap.segments,
                        "segment_compactness": shap.compactness,
                        "baseline": shap.baseline or "noise",
                        "seed": shap.seed,
                        "use_logit": shap.logit,
                    },
                    "images": self._entries,
                }
            },
        }
        text = json.dumps(finite_json(analysis), indent=2) + "\n"
        (self.output / "analysis.json").write_text(text, encoding="utf-8")


def read_image(path: Path, name: str) -> npt.NDArray[np.uint8]:
    """Return the pixels of an image, (H, W, 3). name: in messages. Raises JobFailed for a file that is none."""
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise client_error(f"{name} is not a JPEG or PNG image that can be read ({error}).") from None


def _resized(baseline: npt.NDArray[np.uint8], image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(baseline).resize((width, height), Image.Resampling.BILINEAR))
