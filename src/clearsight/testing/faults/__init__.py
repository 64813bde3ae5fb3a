"""The fault zoo: training runs with a known fault planted in them, and healthy ones."""
