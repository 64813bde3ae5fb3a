"""Pages of tuning jobs."""

from __future__ import annotations

import json

import pytest

from clearsight.workflow.open import open_study
from tests.sagemaker.local_service import LocalService
from tests.sagemaker.pages.test_pages import page
from tests.sagemaker.tuning.tuning_requests import children, continuous, ended_tuning_job, tuning_request

SCRIPT = "<script>document.title = 'changed'</script>"


@pytest.fixture(scope="module")
def tuned(service: LocalService) -> str:
    """A tuning job that has ended, with a category that is no HTML."""
    ranges = {
        "ContinuousParameterRanges": [
            continuous("x", 1.0, 2.0),
            continuous("momentum", 0.5, 0.99, "ReverseLogarithmic"),
        ],
        "CategoricalParameterRanges": [{"Name": "note", "Values": [SCRIPT]}],
    }
    service.call("CreateHyperParameterTuningJob", **tuning_request("dogs", jobs=5, ParameterRanges=ranges))
    ended_tuning_job(service, "dogs")
    return "dogs"


def test_a_tuning_job_with_its_training_jobs_and_the_importance(service: LocalService, tuned: str) -> None:
    assert f'href="/_clearsight/tuning/{tuned}"' in page(service, "/")
    text = page(service, f"/_clearsight/tuning/{tuned}")
    found = children(service, tuned, SortBy="FinalObjectiveMetricValue")
    for child in found:
        assert f'href="/_clearsight/jobs/{child["TrainingJobName"]}"' in text
        assert child["TunedHyperParameters"]["momentum"] in text
    best = found[0]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    for shown in (
        f'Best so far: <a href="/_clearsight/jobs/{found[0]["TrainingJobName"]}',
        f"{best:.6g}",
        "Importance",
    ):
        assert shown in text
    assert text.count("<polyline") == 2  # of each training job, and of the best one so far
    assert SCRIPT not in text
    assert "data-live" not in text
    assert f'href="/_clearsight/tuning/{tuned}"' in page(service, f"/_clearsight/jobs/{found[0]['TrainingJobName']}")


def test_the_study_report_of_clearsight_opens_in_a_sandbox(service: LocalService, tuned: str) -> None:
    response = service.client.get(f"/_clearsight/tuning/{tuned}/study", headers={"Accept": "text/html"})
    assert response.status_code == 200
    assert response.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert SCRIPT not in response.text
    saved = open_study(service.state.home.studies / tuned)
    by_name = [child["TunedHyperParameters"] for child in children(service, tuned)]
    assert [trial.params["momentum"] for trial in saved.trials] == [float(values["momentum"]) for values in by_name]
    assert [len(trial.curve) for trial in saved.trials] == [3] * 5
    assert json.loads((service.state.home.studies / tuned / "report.json").read_text())["status"] == "completed"


def test_a_tuning_job_is_stopped_from_its_page(service: LocalService) -> None:
    service.call("CreateHyperParameterTuningJob", **tuning_request("cats", jobs=1, script="wait"))
    text = page(service, "/_clearsight/tuning/cats")
    assert "Stop the tuning job" in text
    assert "data-live" in text
    assert service.client.post("/_clearsight/tuning/cats/stop", follow_redirects=False).status_code == 303
    assert ended_tuning_job(service, "cats")["HyperParameterTuningJobStatus"] == "Stopped"
    assert "the tuning job was stopped" in page(service, "/_clearsight/tuning/cats")


@pytest.mark.parametrize("path", ["nothing", "nothing/study"])
def test_what_is_not_there(service: LocalService, path: str) -> None:
    assert service.client.get(f"/_clearsight/tuning/{path}").status_code == 404
