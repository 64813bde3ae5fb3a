"""Programs that a container runs: copied as files into what is submitted."""
