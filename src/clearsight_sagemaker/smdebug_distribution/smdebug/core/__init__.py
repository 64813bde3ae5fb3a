"""The parts that recording and reading share: collections, schedules, files."""
