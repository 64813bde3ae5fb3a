"""TrainingJob: the profiler data of a job, found by its name."""

from __future__ import annotations

import time
from typing import Any

from smdebug.exceptions import SMDebugRuntimeError
from smdebug.profiler.algorithm_metrics_reader import S3AlgorithmMetricsReader
from smdebug.profiler.metrics_reader_base import MetricsReaderBase
from smdebug.profiler.system_metrics_reader import S3SystemMetricsReader
from smdebug.profiler.utils import us_since_epoch_to_human_readable_time

POLL_SECONDS = 10.0
_FINAL_STATUSES = ("Completed", "Failed", "Stopped")


class TrainingJob:
    """A training job, asked for by boto3. region: by default boto3's.

    Raises SMDebugRuntimeError without boto3, or for a job without a profiler.
    """

    def __init__(self, training_job_name: str, region: str | None = None) -> None:
        self.name = training_job_name
        try:
            import boto3
        except ImportError:
            raise SMDebugRuntimeError("TrainingJob needs boto3. Install it: pip install boto3") from None
        self.sm_client = boto3.client("sagemaker", region_name=region)
        self.system_metrics_reader: S3SystemMetricsReader | None = None
        self.framework_metrics_reader: S3AlgorithmMetricsReader | None = None
        self.profiler_config: dict[str, Any] = {}
        self.profiler_s3_output_path = ""
        self.get_config_and_profiler_s3_output_path()

    def get_systems_metrics_reader(self) -> S3SystemMetricsReader | None:
        """Return the reader of system metrics, after `wait_for_sys_profiling_data_to_be_available`."""
        return self.system_metrics_reader

    def get_framework_metrics_reader(self) -> S3AlgorithmMetricsReader | None:
        """Return the reader of framework metrics, after `wait_for_framework_profiling_data_to_be_available`."""
        return self.framework_metrics_reader

    def get_sm_client(self) -> Any:
        return self.sm_client

    def describe_training_job(self) -> dict[str, Any]:
        described: dict[str, Any] = self.sm_client.describe_training_job(TrainingJobName=self.name)
        return described

    def get_config_and_profiler_s3_output_path(self) -> tuple[dict[str, Any], str]:
        """Return the configuration of the job's profiler and the s3:// path of profiler-output."""
        if not self.profiler_config:
            config = self.describe_training_job().get("ProfilerConfig") or {}
            if "S3OutputPath" not in config:
                raise SMDebugRuntimeError(f"{self.name}: the job has no profiler. Start it with a ProfilerConfig.")
            self.profiler_config = config
            self.profiler_s3_output_path = f"{config['S3OutputPath'].rstrip('/')}/{self.name}/profiler-output"
            print(f"ProfilerConfig:{self.profiler_config}")
            print(f"s3 path:{self.profiler_s3_output_path}")
        return self.profiler_config, self.profiler_s3_output_path

    def wait_for_sys_profiling_data_to_be_available(self) -> None:
        """Wait for the first file of system metrics. Raises SMDebugRuntimeError where the job ends without one."""
        self.system_metrics_reader = S3SystemMetricsReader(self.profiler_s3_output_path)
        self._wait(self.system_metrics_reader, "system")
        print("\n\nProfiler data from system is available")

    def wait_for_framework_profiling_data_to_be_available(self) -> None:
        """Wait for the first timeline. Raises SMDebugRuntimeError where the job ends without one."""
        self.framework_metrics_reader = S3AlgorithmMetricsReader(self.profiler_s3_output_path)
        self._wait(self.framework_metrics_reader, "framework")
        print("\n\n Profiler data from framework is available")
        latest = self.framework_metrics_reader.get_timestamp_of_latest_available_file()
        print(
            f"Found recorded framework annotations. Latest available timestamp microsseconds_since_epoch is:{latest} , "
            "human_readable_timestamp in utc:",
            us_since_epoch_to_human_readable_time(latest),
        )

    def _wait(self, reader: MetricsReaderBase, part: str) -> None:
        last = ("", "")
        while reader.get_timestamp_of_latest_available_file() == 0:
            described = self.describe_training_job()
            reader.refresh_event_file_list()
            if reader.get_timestamp_of_latest_available_file():
                return
            print(f"Profiler data from {part} not available yet")
            status = (described.get("TrainingJobStatus", ""), described.get("SecondaryStatus", ""))
            if status != last:
                print(f"time: {time.time()} TrainingJobStatus:{status[0]} TrainingJobSecondaryStatus:{status[1]}")
            last = status
            if status[0] in _FINAL_STATUSES:
                # A notebook that waits for files that never come would hang for good.
                raise SMDebugRuntimeError(
                    f"{self.name}: the job is {status[0]} and has no profiler data of the {part}."
                )
            time.sleep(POLL_SECONDS)
