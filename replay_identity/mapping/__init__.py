"""Map the fields of rows to the fields of users, by rules that a TOML file can hold."""

from .compiled import CompiledMapping
from .inference import CastConflict, Inference, InferencePolicy, PropertyInference, SampleValue
from .rules import PRESETS, Cast, FieldRule, RowMapping
from .toml import load_mapping, mapping_text

__all__ = [
    "PRESETS",
    "Cast",
    "CastConflict",
    "CompiledMapping",
    "FieldRule",
    "Inference",
    "InferencePolicy",
    "PropertyInference",
    "RowMapping",
    "SampleValue",
    "load_mapping",
    "mapping_text",
]
