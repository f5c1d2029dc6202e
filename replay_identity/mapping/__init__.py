"""How the fields of a row become those of a user: renamed, cast, dropped, or filled in, as a file in TOML says."""

from .compiled import Plan
from .inference import Against, Inference, PropertyInference, Sample
from .rules import Cast, FieldRule, RowMapping
from .toml import load_mapping, mapping_text

__all__ = [
    "Against",
    "Cast",
    "FieldRule",
    "Inference",
    "Plan",
    "PropertyInference",
    "RowMapping",
    "Sample",
    "load_mapping",
    "mapping_text",
]
