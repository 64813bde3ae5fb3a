"""SageMaker as a place of `--on`: the same recipe as a training job, a tuning job or an endpoint of an account."""
