"""Search over the descriptions of resources: expressions, the kinds of resources, and suggestions of names."""
