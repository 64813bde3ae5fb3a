"""The process of a batch transform job: objects in records, records to a model server, responses to objects."""
