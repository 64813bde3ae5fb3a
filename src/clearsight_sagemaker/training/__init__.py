"""A training job: its /opt/ml, its data, its script in a process tree of its own, and what it leaves behind.

`python -m clearsight_sagemaker.training JOB_FOLDER` runs the job of a folder. The service starts it and reads
events.jsonl and log.txt of that folder; nothing else passes between the two.
"""
