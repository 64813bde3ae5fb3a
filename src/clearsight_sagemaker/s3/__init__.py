"""S3 on this machine: buckets are folders, and objects are files that anybody can open."""
