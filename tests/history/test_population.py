"""population.json: the same organisation gives the same bytes, and run.json's numbers are its numbers."""

import json
from dataclasses import asdict, replace

from auditor.formats.words import population as sentence
from auditor.history.manifest import decode_manifest, encode_manifest
from auditor.history.population import encode_population
from auditor.model import Member, PopulationEntry
from tests.history.test_archive import make_run

ONE = PopulationEntry(
    Member("111111111111", "Ünï <b>", "ACTIVE", ("r-ab12", "ou-ab12-cd34ef56")), unit_names=("Sandbox",)
)
TWO = PopulationEntry(Member("222222222222", None, "SUSPENDED"), 'accounts.exclude.names "sandbox-*"')


def test_the_order_of_aws_does_not_show() -> None:
    """Accounts are sorted by id; every one is there with its name, state, place and fate."""
    content = encode_population((TWO, ONE))
    assert content == encode_population((ONE, TWO))
    first, second = json.loads(content)["accounts"]
    place = {"units": list(ONE.member.units), "unit_names": ["Sandbox"]}
    assert first == asdict(ONE.member) | {**place, "in_scope": True, "left_out": None}
    assert (second["in_scope"], second["left_out"]) == (False, TWO.left_out)


def test_the_manifest_brings_the_counts_back() -> None:
    """Runs without an organisation have none, and runs from before there were counts still load."""
    manifest = make_run().manifest
    coverage = replace(manifest.coverage, organisation_accounts=1200, left_out=1198)
    counted = replace(manifest, coverage=coverage)
    assert decode_manifest(encode_manifest(counted), manifest.policy).coverage == coverage
    document = json.loads(encode_manifest(manifest))
    for name in ("organisation_accounts", "left_out"):
        del document["coverage"][name]
    assert decode_manifest(json.dumps(document).encode(), manifest.policy).coverage == manifest.coverage


def test_the_sentence_is_there_only_where_accounts_were_left_out() -> None:
    """It has all three numbers."""
    manifest = make_run().manifest
    assert sentence(manifest) == ""
    coverage = replace(manifest.coverage, organisation_accounts=1200, left_out=1198)
    assert sentence(replace(manifest, coverage=coverage)).startswith(
        "Of the organisation's 1,200 accounts, 2 are in scope and 1,198 left out by "
    )


def test_accounts_beside_the_organisation_are_not_counted_as_its_own() -> None:
    """Of three accounts one is left out; the third in scope is listed beside it."""
    manifest = make_run().manifest
    coverage = replace(manifest.coverage, accounts_in_scope=3, organisation_accounts=3, left_out=1)
    said = sentence(replace(manifest, coverage=coverage))
    assert said.startswith("Of the organisation's 3 accounts, 2 are in scope and 1 left out by ")
    assert said.endswith("1 more account in scope by the configuration's list.")
