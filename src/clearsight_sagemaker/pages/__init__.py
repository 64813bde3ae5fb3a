"""Pages of the service for a browser: jobs, their metrics, rules and logs, and buckets."""
