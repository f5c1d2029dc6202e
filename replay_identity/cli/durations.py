"""Lengths of time for a person."""

from datetime import timedelta


def duration(seconds: float) -> str:
    """Return *seconds*, rounded up to whole ones, as ``1 day, 2:03:04``."""
    return str(timedelta(seconds=-(-seconds // 1)))
