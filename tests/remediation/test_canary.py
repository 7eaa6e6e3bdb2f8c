"""The secrets of new keys, searched for in everything that is written or could be: they are in the store alone."""

import base64
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.ssm.models import ssm_backends

from auditor.aws.failures import AwsFailure
from auditor.demo import Call, ErrorFault, Fault, LostFault, RawFault
from auditor.remediation.hands import Hands
from auditor.remediation.plan import Delivery, Item, Kind
from tests.remediation.test_age_files import READERS
from tests.remediation.world import OTHER, Death, Killed, World, claim, engine, item_of, plan_of

FAULTS: dict[str, Fault] = {
    "lost": LostFault(),
    "denied": ErrorFault(403, "AccessDenied"),
    "broken": ErrorFault(500, "InternalFailure"),
    "garbled": RawFault(b"<html>\xff not what was asked for"),
}
FOUND: set[str] = set()
"""Secrets of keys that were made; not in a local variable, where a traceback would show the test's own."""


def gather(user: str) -> None:
    """The secrets of the user's keys, as AWS has them."""
    keys = iam_backends[OTHER]["aws"].users[user].access_keys
    FOUND.update(str(key.secret_access_key) for key in keys)


def forms() -> set[bytes]:
    """Every form in which a secret may be written."""
    plain = {secret.encode() for secret in FOUND}
    encoded = {base64.b64encode(secret)[:-2] for secret in plain} | {
        quote(secret, safe="").encode() for secret in plain
    }
    return plain | encoded | {json.dumps(secret.decode()).strip('"').encode() for secret in plain}


def is_clean(content: bytes) -> bool:
    """Whether none of them is in it."""
    return not any(form in content for form in forms())


class Everything(logging.Handler):
    """All that is logged, with tracebacks that show every local variable."""

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.said.append(record.getMessage() + repr(record.__dict__))
        if record.exc_info and record.exc_info[1]:
            self.said += shown(record.exc_info[1])


def shown(error: BaseException | None) -> Iterator[str]:
    """What a reporter of errors could show: the frames with their variables, of what it came from as well."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        error = error.__context__ or error.__cause__


@pytest.fixture
def everything() -> Iterator[Everything]:
    heard, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    yield heard
    root.removeHandler(heard)
    root.setLevel(level)


def delivery(store: str, user: str, folder: Path) -> Delivery:
    """Into that store."""
    if store == "age":
        return Delivery(store="age", secret=user, file=str(folder / "secrets"), readers=READERS)
    if store == "ssm":
        return Delivery(store="ssm", secret=f"/auditor/{user}", smtp_regions=("eu-central-1",))
    if store == "profile":  # beside what is searched: the file is the store
        file = Path(f"{folder.parent}-credentials", folder.name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"[{user}]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = none\n")
        return Delivery(store="profile", secret=user, file=str(file), current="key AKIAIOSFODNN7EXAMPLE")
    return Delivery(secret=f"auditor/{user}", smtp_regions=("eu-central-1",))


@pytest.mark.parametrize(
    ("kind", "store"),
    [
        *((kind, "secretsmanager") for kind in ("killed before", "killed after", *FAULTS)),
        *(("killed after", store) for store in ("ssm", "profile", "age")),
        *(("broken", store) for store in ("ssm", "profile")),
    ],
)
def test_no_secret_is_anywhere_but_in_its_store(
    world: World, tmp_path: Path, everything: Everything, kind: str, store: str
) -> None:
    """Whatever goes wrong at whatever call: journal, logs at DEBUG, tracebacks with all variables, other files."""
    FOUND.clear()
    counted = Death()
    clean = item_of(world, "user-0", Kind.ROTATE, Kind.ROTATE, delivery=delivery(store, "user-0", tmp_path / "clean"))
    claim(world, tmp_path / "clean", plan_of(clean))
    with engine(world, tmp_path / "clean", death=counted) as made:
        list(made.tick())
    for at in range(counted.counted):
        user, folder = f"user-{at + 1}", tmp_path / str(at)
        item = item_of(world, user, Kind.ROTATE, Kind.ROTATE, delivery=delivery(store, user, folder))
        everything.said += one_fault(world, item, folder, kind, at)
    gather("user-0")
    assert len(FOUND) > counted.counted // 2
    assert is_clean("\n".join(everything.said).encode("utf-8", "replace"))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > counted.counted
    assert [path for path in written if not is_clean(path.read_bytes())] == []
    if store != "age":  # whose files nobody can read here
        assert not is_clean(stored(store, clean)), "the search finds nothing"


def stored(store: str, item: Item) -> bytes:
    """What the store has of an item's secret."""
    assert item.delivery is not None
    if store == "secretsmanager":
        versions = secretsmanager_backends[OTHER]["us-east-1"].secrets[item.delivery.secret].versions
        return repr(versions).encode()
    if store == "ssm":
        parameter = ssm_backends[OTHER]["us-east-1"].get_parameter(item.delivery.secret)
        return repr(parameter and parameter.value).encode()
    return Path(str(item.delivery.file)).read_bytes()


def one_fault(world: World, item: Item, folder: Path, kind: str, at: int) -> list[str]:
    """A rotation with one fault: what is told, and what it raised, shown with all that is in its frames."""
    claim(world, folder, plan_of(item))
    death = Death(at, after="after" in kind) if "killed" in kind else Death()
    number = iter(range(10_000))

    def fault(_call: Call) -> Fault | None:
        gather(item.user)
        return FAULTS.get(kind) if next(number) == at else None

    world.fault = fault
    try:
        with engine(world, folder, death=death) as made:
            return [repr(outcome) for outcome in made.tick()]
    except Killed as error:
        return list(shown(error))
    finally:
        world.fault = lambda _call: None
        gather(item.user)


@pytest.mark.parametrize(
    "touch",
    [
        lambda hands: hands.prepare("an-intent"),
        lambda hands: hands.look(),
        lambda hands: hands.stored_key("a version"),
        lambda hands: hands.verify("AKIA", "a version"),
        lambda hands: hands.publish("a version", None),
    ],
    ids=["prepare", "look", "stored_key", "verify", "publish"],
)
def test_what_a_credentials_file_holds_is_in_no_frame_of_an_error(
    world: World, tmp_path: Path, touch: Callable[[Hands], object]
) -> None:
    """Other profiles have secrets, too, and the whole file is in memory when it cannot be changed."""
    FOUND.clear()
    FOUND.add("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY")
    file = tmp_path / "credentials"
    file.write_text("[other]\naws_secret_access_key = " + next(iter(FOUND)) + "\n[user-0]\n[user-0]\n")
    item = item_of(world, "user-0", delivery=Delivery(store="profile", secret="user-0", file=str(file)))
    claim(world, tmp_path / "plan", plan_of(item))
    with engine(world, tmp_path / "plan") as made, pytest.raises(AwsFailure, match="credentials file") as failure:
        touch(made.hands(item))
    assert is_clean("".join(shown(failure.value)).encode())
