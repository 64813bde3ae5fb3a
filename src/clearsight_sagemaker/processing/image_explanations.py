"""Image explanations: the work of a Clarify job, from its analysis_config.json to its output folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clearsight.core.files import read_json
from clearsight_sagemaker.clarify.analysis import ImageAnalysis, read_image
from clearsight_sagemaker.clarify.analysis_config import AnalysisConfig, PredictorConfig
from clearsight_sagemaker.clarify.runtime_endpoint import RuntimeEndpoint, describe_model
from clearsight_sagemaker.hosting.inference_server import InferenceServer
from clearsight_sagemaker.hosting.job_model import job_model
from clearsight_sagemaker.training.failure import client_error
from clearsight_sagemaker.training.processes.job_context import JobContext

# As the SDK and the container of Clarify know them.
_CONFIG = "/opt/ml/processing/input/config/analysis_config.json"
_DATA = "/opt/ml/processing/input/data"
_OUTPUT = "/opt/ml/processing/output"


def explain_images(context: JobContext, check: Callable[[], None]) -> None:
    """Explain the images of a Clarify job. check: called often; raises to give up. Raises JobFailed."""
    file = context.folder.inside(_CONFIG)
    if not file.is_file():
        raise client_error(f"there is no {_CONFIG}. It must be an input of the job.")
    config = AnalysisConfig.of(read_json(file))
    baseline = None
    if config.shap.baseline:
        with context.objects.opened(config.shap.baseline) as (path, _):
            baseline = read_image(path, config.shap.baseline)
    analysis = ImageAnalysis(
        config=config,
        data=context.folder.inside(_DATA),
        output=context.folder.inside(_OUTPUT),
        baseline=baseline,
        log=context.log.write,
        check=check,
    )
    with _server(context, config.predictor, check) as server:
        analysis.run(server)


@contextmanager
def _server(context: JobContext, config: PredictorConfig, check: Callable[[], None]) -> Iterator[InferenceServer]:
    """Yield the endpoint of a configuration, or a server of its model within the block."""
    if config.endpoint:
        yield RuntimeEndpoint(config.endpoint, context.service)
        return
    with job_model(context, describe_model(config.model, context.service), check) as server:
        yield server
