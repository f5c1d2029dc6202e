"""How the fields of a row become those of a user: renamed, cast, dropped, or filled in, as a file in TOML says."""

from .compiled import CompiledMapping
from .inference import CastConflict, Inference, PropertyInference, SampleValue
from .rules import Cast, FieldRule, RowMapping
from .toml import load_mapping, mapping_text

__all__ = [
    "Cast",
    "CastConflict",
    "CompiledMapping",
    "FieldRule",
    "Inference",
    "PropertyInference",
    "RowMapping",
    "SampleValue",
    "load_mapping",
    "mapping_text",
]
