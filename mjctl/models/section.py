"""The base class of the models of an environment's file."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationInfo, field_validator

PATTERN_RULES: dict[str, str] = {}
"""The rule that each pattern of `text_like` expresses, in words, by the pattern."""


def text_like(pattern: str, rule: str) -> StringConstraints:
    """Return the constraint of a text that must match a pattern.

    Args:
        pattern: The regular expression.
        rule: The pattern's rule in words, which completes the sentence "this field must be ...".
    """
    PATTERN_RULES[pattern] = rule
    return StringConstraints(pattern=pattern)


class Section(BaseModel):
    """Describes a part of an environment's file.

    A section is immutable. A section rejects unknown fields, and true or false in place of a number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Reject true and false for a number: Pydantic would read true as 1, and YAML 1.1 reads `yes` as true."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        booleans = [value] if isinstance(value, bool) else list(value.values()) if isinstance(value, dict) else []
        if any(isinstance(item, bool) for item in booleans) and _allows(annotation, int, float):
            raise ValueError("this field needs a number, and YAML reads yes, no, on and off as true and false")
        return value


def _allows(annotation: Any, *kinds: type) -> bool:
    """Return whether a type, or a part of a composed type, is one of `kinds`."""
    parts = get_args(annotation)
    return annotation in kinds or any(_allows(part, *kinds) for part in parts)
