"""What all records of the configuration share. In TOML an empty text means "not set"; here that is None."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.functional_validators import BeforeValidator

from auditor.config.conflicts import PARTITIONS
from auditor.config.forms import LINE
from auditor.model import ControlId

UNSET = BeforeValidator(lambda value: None if value == "" else value)
OptionalLine = Annotated[Annotated[str, LINE] | None, UNSET]

# TOML brings texts and arrays where the records have enumerations and tuples: these alone are taken over leniently.
T = TypeVar("T")
Choice = Annotated[T, Field(strict=False)]
Many = Annotated[tuple[T, ...], Field(strict=False)]


def _name_in_toml(field_name: str) -> str:
    """A field that is named after a control or a partition is written as its id: `key_age` is [policy.key-age]."""
    dashed = field_name.replace("_", "-")
    return dashed if dashed in {*ControlId, *PARTITIONS} else field_name


class Section(BaseModel):
    """A table of the configuration, described by its docstring and those of its fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_by_alias=True,
        validate_by_name=True,
        hide_input_in_errors=True,
        alias_generator=_name_in_toml,
        use_attribute_docstrings=True,
    )


def table(section: type[T]) -> T:
    """A field that is a table of its own, described by the docstring of its record."""
    field: T = Field(default=section(), description=section.__doc__)
    return field
