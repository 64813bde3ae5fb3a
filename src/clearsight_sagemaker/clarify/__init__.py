"""Clarify for images: which segments of an image a model's scores come from, by Kernel SHAP."""
