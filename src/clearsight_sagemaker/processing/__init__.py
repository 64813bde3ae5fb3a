"""The process of a processing job: inputs, the command in its private /opt/ml, outputs."""
