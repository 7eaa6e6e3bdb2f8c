"""population.json: every account of the organisation, in scope or left out and by which filter."""

import json
from collections.abc import Iterable

from auditor.model import PopulationEntry

POPULATION = "population.json"
SCHEMA = "auditor.population/1"


def encode_population(population: Iterable[PopulationEntry]) -> bytes:
    """The population as JSON, by account id, so that the same organisation always gives the same bytes."""
    accounts = [
        {
            "id": entry.member.id,
            "name": entry.member.name,
            "state": entry.member.state,
            "units": list(entry.member.units),
            "unit_names": None if entry.unit_names is None else list(entry.unit_names),
            "in_scope": entry.left_out is None,
            "left_out": entry.left_out,
        }
        for entry in sorted(population, key=lambda entry: entry.member.id)
    ]
    return json.dumps({"schema": SCHEMA, "accounts": accounts}, indent=2, ensure_ascii=False).encode() + b"\n"
