"""AnalysisConfig: analysis_config.json of a Clarify job on images, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clearsight_sagemaker.training.failure import client_error

CONTENT_TYPES = ("image/jpeg", "image/png", "application/x-npy")
_DEFAULT_SAMPLES, _DEFAULT_SEGMENTS, _DEFAULT_COMPACTNESS = 500, 20, 5.0
_MOST_SEGMENTS, _MOST_SAMPLES = 1000, 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictorConfig:
    """Section `predictor`: exactly one of model and endpoint is set.

    scores: JMESPath of the scores in a JSON response, "" where the response is the scores.
    """

    model: str
    endpoint: str
    content_type: str
    accept: str
    labels: tuple[str, ...]
    scores: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PredictorConfig:
        """Return the section as it stands in the file. Raises JobFailed for one that is not supported."""
        model, endpoint = str(values.get("model_name") or ""), str(values.get("endpoint_name") or "")
        if bool(model) == bool(endpoint):
            raise client_error("predictor: it must have model_name or endpoint_name, and not both.")
        content_type = values.get("content_type") or CONTENT_TYPES[0]
        if content_type not in CONTENT_TYPES:
            allowed = ", ".join(CONTENT_TYPES)
            raise client_error(f"predictor: content_type {content_type!r} is not supported. Allowed: {allowed}.")
        labels, scores = values.get("label_headers"), values.get("probability", "")
        if labels is not None and not (isinstance(labels, list) and labels):
            raise client_error(f"predictor: label_headers {labels!r} must be a list of names.")
        return cls(
            model=model,
            endpoint=endpoint,
            content_type=content_type,
            accept=str(values.get("accept_type") or "application/json"),
            labels=tuple(str(label) for label in labels or ()),
            scores=f"[{scores}]" if isinstance(scores, int) else str(scores or ""),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapConfig:
    """Section `methods.shap`. baseline: address of an image, "" for noise.  samples: coalitions of an image.

    logit: True for contributions to log-odds in the place of probabilities.  local_values: True for files of them.
    """

    segments: int
    compactness: float
    samples: int
    baseline: str
    seed: int
    logit: bool
    local_values: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ShapConfig:
        """Return the section as it stands in the file. Raises JobFailed for one that is not supported."""
        image = values.get("image_config")
        if not isinstance(image, dict):
            raise client_error(
                "methods.shap: image_config is missing. Pass image_config=ImageConfig(...) to SHAPConfig."
            )
        kind = image.get("model_type", "IMAGE_CLASSIFICATION")
        if kind != "IMAGE_CLASSIFICATION":
            raise client_error(f"image_config: model_type {kind} is not supported. Allowed: IMAGE_CLASSIFICATION.")
        method = image.get("feature_extraction_method", "segmentation")
        if method != "segmentation":
            text = f"image_config: feature_extraction_method {method} is not supported."
            raise client_error(f"{text} Allowed: segmentation.")
        baseline = values.get("baseline") or ""
        if not isinstance(baseline, str):
            raise client_error("methods.shap: baseline must be the address of an image for images.")
        return cls(
            segments=int(_number(image, "num_segments", _DEFAULT_SEGMENTS, 1, _MOST_SEGMENTS)),
            compactness=_number(image, "segment_compactness", _DEFAULT_COMPACTNESS, 0, 1e6),
            samples=int(_number(values, "num_samples", _DEFAULT_SAMPLES, 2, _MOST_SAMPLES)),
            baseline=baseline,
            seed=int(_number(values, "seed", 0, 0, 2**63)),
            logit=bool(values.get("use_logit", False)),
            local_values=bool(values.get("save_local_shap_values", True)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisConfig:
    """Analysis of a job: model, explanation and report. title: of the report, "" for none."""

    predictor: PredictorConfig
    shap: ShapConfig
    title: str

    @classmethod
    def of(cls, values: object) -> AnalysisConfig:
        """Return the content of analysis_config.json. Raises JobFailed for an analysis that is not supported."""
        if not isinstance(values, dict) or not isinstance(values.get("methods"), dict):
            raise client_error("analysis_config.json: it must be an object with methods.")
        kind = str(values.get("dataset_type", "")).lower()
        if kind != "application/x-image":
            text = f"analysis_config.json: dataset_type {kind!r} is not supported."
            raise client_error(f"{text} The local service explains images: application/x-image.")
        methods = values["methods"]
        others = sorted({*methods} - {"shap", "report"})
        if others or not isinstance(methods.get("shap"), dict):
            text = f"analysis_config.json: methods {', '.join(others) or 'without shap'} are not supported for images."
            raise client_error(f"{text} Allowed: shap, report.")
        if not isinstance(values.get("predictor"), dict):
            raise client_error("analysis_config.json: predictor is missing.")
        report = methods.get("report")
        title = str(report.get("title") or "Analysis Report") if isinstance(report, dict) else ""
        return cls(predictor=PredictorConfig.of(values["predictor"]), shap=ShapConfig.of(methods["shap"]), title=title)


def _number(values: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise client_error(f"{name} {value!r} must be a number from {low:g} to {high:g}.")
    return value
