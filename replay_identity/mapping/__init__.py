"""How the fields of a row become those of a user: renamed, cast, dropped, or filled in, as a file in TOML says."""

from .document import load_mapping
from .plan import Plan
from .rules import Cast, FieldRule, RowMapping

__all__ = ["Cast", "FieldRule", "Plan", "RowMapping", "load_mapping"]
