"""Measurements of the product, and what they need; no part of the wheel."""
