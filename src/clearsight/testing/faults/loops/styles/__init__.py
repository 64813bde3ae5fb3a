"""Styles of training loops, each written as its authors write it. They share no loop."""
