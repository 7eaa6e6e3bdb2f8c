"""Proves, every month, that a company's AWS IAM access keys are under control."""

__version__ = "0.1.0"
