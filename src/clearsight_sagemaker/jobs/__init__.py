"""Jobs of the service: a folder with a request and events, a queue, and a process for each."""
