"""Planted faults: training runs with one known fault each, and healthy runs, to measure how well causes are named."""
