"""Every operation of the service, by service and name. A new kind of resource adds its table here."""

from __future__ import annotations

from clearsight_sagemaker.cloud import identities, log_events, log_groups, metrics, notifications, roles
from clearsight_sagemaker.experiments import component_metrics, experiments, lineage, trial_components
from clearsight_sagemaker.resources import (
    endpoint_configs,
    endpoints,
    models,
    processing_jobs,
    tags,
    training_jobs,
    transform_jobs,
    tuning_jobs,
)
from clearsight_sagemaker.scaling import scalable_targets, scaling_policies
from clearsight_sagemaker.search import search
from clearsight_sagemaker.state.service_state import Operation

OPERATIONS: dict[tuple[str, str], Operation] = {
    **training_jobs.OPERATIONS,
    **tuning_jobs.OPERATIONS,
    **processing_jobs.OPERATIONS,
    **transform_jobs.OPERATIONS,
    **tags.OPERATIONS,
    **experiments.OPERATIONS,
    **trial_components.OPERATIONS,
    **component_metrics.OPERATIONS,
    **lineage.OPERATIONS,
    **search.OPERATIONS,
    **models.OPERATIONS,
    **endpoint_configs.OPERATIONS,
    **endpoints.OPERATIONS,
    **identities.OPERATIONS,
    **roles.OPERATIONS,
    **log_groups.OPERATIONS,
    **log_events.OPERATIONS,
    **metrics.OPERATIONS,
    **notifications.OPERATIONS,
    **scalable_targets.OPERATIONS,
    **scaling_policies.OPERATIONS,
}
