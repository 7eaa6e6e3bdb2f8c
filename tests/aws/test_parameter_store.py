"""Parameter Store as the place of a secret, over HTTP: what applications read by the label, and what they never do."""

import asyncio
from uuid import uuid4

import pytest

from auditor.aws.calls import Caller
from auditor.aws.clients import shared_clients
from auditor.aws.failures import AwsFailure
from auditor.aws.loop import run
from auditor.aws.parameter_store import ParameterStore
from auditor.aws.secret_stores import key_in
from auditor.aws.timing import Timing
from auditor.demo import AccountSeed, LostFault, OrganisationSeed
from auditor.demo import Call as Asked
from auditor.model import StoredSecret
from auditor.secret import Secret
from tests.conftest import StartCloud, connect

VALUE = '{"Version":1,"AccessKeyId":"AKIA%s","SecretAccessKey":"s"}'
LOSE: list[str] = []


def lose(call: Asked) -> LostFault | None:
    """The answer of the next call of this name is lost; it is done all the same."""
    if call.action in LOSE:
        LOSE.remove(call.action)
        return LostFault()
    return None


@pytest.fixture
def store(start_cloud: StartCloud) -> ParameterStore:
    cloud = start_cloud(OrganisationSeed((AccountSeed("111111111111", "management"),)), fault=lose)
    clients = shared_clients(connect(cloud))
    timing = Timing(sleep=lambda _seconds: asyncio.sleep(0))
    return ParameterStore(Caller(clients, clients.ambient(), "aws", timing, 3), "/auditor/app", None)


def put(store: ParameterStore, number: int) -> str:
    """A new version that is not current yet; its token."""
    token = str(uuid4())
    run(store.put_pending(Secret(VALUE % number), token))
    return token


def look(store: ParameterStore) -> StoredSecret:
    """The parameter, which there is."""
    found = run(store.look())
    assert found is not None
    return found


def key_id(store: ParameterStore, version: str | None = None) -> str | None:
    """The key that a version holds, or the one that applications read."""
    held = key_in(run(store.read(version)))
    return held.id if held else None


def test_applications_read_a_key_only_after_it_is_published(store: ParameterStore) -> None:
    """First the sentinel, then each key when it is published and not before; every version is read by its token."""
    assert run(store.look()) is None
    sentinel = str(uuid4())
    run(store.prove(sentinel, str(uuid4())))
    assert key_id(store) is None
    before = sentinel
    for number in (1, 2):
        run(store.prove(sentinel, str(uuid4())))
        token = put(store, number)
        assert look(store).current == before
        assert key_id(store, token) == f"AKIA{number}"
        run(store.publish(token, before))
        assert look(store).current == token
        assert key_id(store) == f"AKIA{number}"
        before = token


def test_a_version_that_somebody_else_made_current_is_not_replaced(store: ParameterStore) -> None:
    """Refused: the label stays where it is."""
    sentinel = str(uuid4())
    run(store.prove(sentinel, str(uuid4())))
    theirs, ours = put(store, 1), put(store, 2)
    run(store.publish(theirs, sentinel))
    with pytest.raises(AwsFailure, match="another version has the label"):
        run(store.publish(ours, sentinel))
    assert look(store).current == theirs


@pytest.mark.parametrize("action", ["PutParameter", "LabelParameterVersion", "GetParameterHistory"])
def test_a_lost_answer_changes_nothing_of_it(store: ParameterStore, action: str) -> None:
    """What is put again is the same version to everybody who asks by its token."""
    sentinel = str(uuid4())
    LOSE[:] = [action]
    run(store.prove(sentinel, str(uuid4())))
    LOSE[:] = [action]
    token = put(store, 1)
    LOSE[:] = [action]
    run(store.publish(token, sentinel))
    LOSE.clear()
    found = look(store)
    assert (found.current, set(found.versions)) == (token, {sentinel, token})


def test_a_proof_that_was_cut_off_is_ended_the_next_time(store: ParameterStore) -> None:
    """Killed between putting the sentinel and labelling it: the parameter is ours, and is labelled then."""
    sentinel = str(uuid4())
    run(store.put_pending(Secret('{"Version":1,"Status":"NOT_READY"}'), sentinel))
    assert look(store).current is None
    assert not look(store).is_foreign
    run(store.prove(sentinel, str(uuid4())))
    assert look(store).current == sentinel


def test_a_parameter_of_somebody_else_is_known_as_such(store: ParameterStore) -> None:
    """Who reads it takes the newest version, so none may be put into it."""
    run(store.caller.call("ssm", "put_parameter", Name=store.name, Value="theirs", Type="SecureString"))
    found = look(store)
    assert (found.is_foreign, found.current) == (True, None)
