"""The data dictionary: every column and field of a bundle, where it comes from, and what it means."""

from importlib.resources import files

FILE = "data-dictionary.csv"


def content() -> bytes:
    """The dictionary as it lies in every bundle: file, field, type, source, meaning."""
    return files("auditor.evidence").joinpath(FILE).read_bytes()
