"""Jobs that end badly, through boto3: each ends as the contract says, with the reason."""

from __future__ import annotations

import json

from tests.sagemaker.clients.conftest import RealService

SUBMIT = """
import io, json, sys, tarfile
import boto3

s3, sagemaker, logs = (boto3.client(name) for name in ("s3", "sagemaker", "logs"))
s3.create_bucket(Bucket="bad-jobs")

def create(name, script, **members):
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        info = tarfile.TarInfo("train.py")
        info.size = len(script.encode())
        archive.addfile(info, io.BytesIO(script.encode()))
    s3.put_object(Bucket="bad-jobs", Key=f"{name}.tar.gz", Body=body.getvalue())
    sagemaker.create_training_job(
        TrainingJobName=name, RoleArn="arn:aws:iam::111122223333:role/Trainer",
        AlgorithmSpecification={"TrainingImage": "pytorch-training:1.9-cpu-py38", "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://bad-jobs/models"}, StoppingCondition={"MaxRuntimeInSeconds": 60},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        HyperParameters={"sagemaker_program": '"train.py"',
                         "sagemaker_submit_directory": json.dumps(f"s3://bad-jobs/{name}.tar.gz")}, **members)

channel = {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix",
           "S3Uri": "s3://bad-jobs/nothing-here", "S3DataDistributionType": "FullyReplicated"}}}
create("failing", "raise ValueError('the learning rate is negative')")
create("no-channel", "print(1)", InputDataConfig=[channel])
create("a" * 63, "print(1)")
create("talkative", "import sys\\nsys.stdout.write(''.join(f'line {n}\\\\n' for n in range(100_000)))")
found = {}
for name in ("failing", "no-channel", "a" * 63, "talkative"):
    try:
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name, WaiterConfig={"Delay": 1})
    except Exception as error:
        assert "Failed" in str(error), error
    answer = sagemaker.describe_training_job(TrainingJobName=name)
    found[name] = [answer["TrainingJobStatus"], answer.get("FailureReason", "")]
try:
    create("a" * 64, "print(1)")
except sagemaker.exceptions.ClientError as error:
    found["long"] = [error.response["Error"]["Code"], error.response["Error"]["Message"]]
group = "/aws/sagemaker/TrainingJobs"
[stream] = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="talkative/")["logStreams"]
lines, token = 0, {}
while True:
    page = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, **token)
    if not page["events"]:
        break
    lines += sum(event["message"].startswith("line ") for event in page["events"])
    token = {"nextToken": page["nextForwardToken"]}
found["lines"] = lines
print(json.dumps(found))
"""


def test_each_ends_with_its_reason(real: RealService) -> None:
    found = json.loads(real.clients.python(SUBMIT).splitlines()[-1])
    status, reason = found["failing"]
    assert status == "Failed"
    assert reason.startswith("AlgorithmError: ")
    assert "ValueError: the learning rate is negative" in reason
    status, reason = found["no-channel"]
    assert status == "Failed"
    assert "s3://bad-jobs/nothing-here" in reason
    assert found["a" * 63] == ["Completed", ""]
    code, message = found["long"]
    assert code == "ValidationException"
    assert "length less than or equal to 63" in message
    assert found["talkative"][0] == "Completed"
    assert found["lines"] == 100_000
