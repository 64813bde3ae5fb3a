"""Other services of AWS that clients of SageMaker call: identities, roles, logs, metrics, notifications."""
