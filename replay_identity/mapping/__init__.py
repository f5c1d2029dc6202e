"""How the fields of a row become those of a user: renamed, cast, dropped, or filled in, as a file in TOML says."""

from .document import load_mapping
from .evidence import Against, Sample
from .inference import Inference, PropertyInference
from .plan import Plan
from .rules import Cast, FieldRule, RowMapping
from .toml_text import mapping_text

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
