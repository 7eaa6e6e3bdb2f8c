"""Keys that come as files encrypted to their owner: nobody else can read them, and no key is ever without its file."""

import json
from collections.abc import Callable
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from moto.iam.models import iam_backends

from auditor.aws.age_files import AgeFiles, wrong_recipients
from auditor.aws.clients import Connection
from auditor.aws.failures import AwsFailure
from auditor.aws.loop import run
from auditor.config import parse_config
from auditor.demo import Call, ErrorFault, Fault
from auditor.errors import UsageError
from auditor.model import UsedAt
from auditor.remediation.decision import Step
from auditor.remediation.engine import Standing
from auditor.remediation.plan import Delivery, Item, Kind
from auditor.remediation.planning import Candidate
from auditor.remedy.means import Means
from auditor.secret import Secret
from tests.builders import AS_OF
from tests.remediation.world import OTHER, Death, World, claim, item_of, plan_of, tick, tracked

OWNER, RECOVERY = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
STRANGER = pyrage.x25519.Identity.generate()
READERS = (str(OWNER.to_public()), str(RECOVERY.to_public()))
VALUE = Secret(json.dumps({"AccessKeyId": "AKIANEW", "SecretAccessKey": "wJalr"}))


def files(folder: Path, readers: tuple[str, ...] = READERS) -> AgeFiles:
    """A user's folder."""
    return AgeFiles(folder / "111122223333_ann", readers)


def opened(path: Path, *identities: object) -> dict[str, str]:
    """What is in a file, for who has these private keys."""
    told: dict[str, str] = json.loads(pyrage.decrypt(path.read_bytes(), list(identities)))
    return told


def test_a_file_is_for_its_owner_and_for_recovery(tmp_path: Path) -> None:
    """Each alone; a stranger, we among them, reads nothing; nobody else on the machine sees the files."""
    store = files(tmp_path)
    run(store.prove("sentinel", "marker"))
    run(store.put_pending(VALUE, "v1"))
    path = store.folder / "AKIANEW.age"
    assert opened(path, OWNER) == opened(path, RECOVERY) == json.loads(VALUE.reveal())
    with pytest.raises(pyrage.DecryptError):
        opened(path, STRANGER)
    assert {oct(file.stat().st_mode)[-3:] for file in store.folder.iterdir()} == {"600"}
    assert all(b"wJalr" not in file.read_bytes() for file in store.folder.iterdir())
    assert path.read_bytes().startswith(b"-----BEGIN AGE ENCRYPTED FILE-----")


def test_an_ssh_key_is_a_reader_too(tmp_path: Path) -> None:
    """The line of its .pub file, with its comment."""
    key = Ed25519PrivateKey.generate()
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    store = files(tmp_path, (f"{line} ann@laptop", READERS[1]))
    run(store.put_pending(VALUE, "v1"))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    assert opened(store.folder / "AKIANEW.age", pyrage.ssh.Identity.from_buffer(private))["AccessKeyId"] == "AKIANEW"


def test_versions_go_through_the_stages_that_a_store_has(tmp_path: Path) -> None:
    """Nothing, a sentinel, a pending key, the current one; what was current is kept, and a marker is replaced."""
    store = files(tmp_path)
    assert run(store.look()) is None
    run(store.prove("sentinel", "marker"))
    run(store.put_pending(VALUE, "v1"))
    run(store.put_pending(VALUE, "v1"))
    found = run(store.look())
    assert found is not None
    assert found.current == "sentinel"
    assert found.versions["v1"] == {"AWSPENDING"}
    with pytest.raises(AwsFailure, match="another version is current"):
        run(store.publish("v1", "somebody else's"))
    run(store.publish("v1", "sentinel"))
    run(store.prove("sentinel", "marker-2"))
    run(store.prove("sentinel", "marker-3"))
    found = run(store.look())
    assert found is not None
    assert found.versions == {"sentinel": frozenset(), "v1": {"AWSCURRENT"}, "marker-3": {"AUDITOR-PREFLIGHT"}}
    with pytest.raises(AwsFailure, match="no version v2"):
        run(store.publish("v2", "v1"))


def test_a_pending_file_that_is_not_what_was_put_does_not_count(tmp_path: Path) -> None:
    """Gone or changed: the key is nobody's, and is taken back. A published one its owner may take away."""
    store = files(tmp_path)
    run(store.prove("sentinel", "marker"))
    run(store.put_pending(VALUE, "v1"))
    path = store.folder / "AKIANEW.age"
    content = path.read_bytes()
    assert store.key_of("v1") == "AKIANEW"
    for spoil in (lambda: path.write_bytes(content[:-9]), path.unlink):
        spoil()
        found = run(store.look())
        assert found is not None
        assert "v1" not in found.versions
        assert store.key_of("v1") is None
    path.write_bytes(content)
    run(store.publish("v1", "sentinel"))
    path.unlink()
    found = run(store.look())
    assert found is not None
    assert (found.current, store.key_of("v1")) == ("v1", "AKIANEW")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"versions": {"v": {}}}', b'{"versions": []}', b"\xff"])
def test_an_index_that_was_changed_is_told(tmp_path: Path, content: bytes) -> None:
    """It is not taken for an empty one."""
    store = files(tmp_path)
    run(store.prove("sentinel", "marker"))
    (store.folder / "versions.json").write_bytes(content)
    with pytest.raises(AwsFailure, match="not what was written"):
        run(store.look())


def test_a_folder_that_cannot_be_written_is_found_out_before_there_is_a_key(tmp_path: Path) -> None:
    """As is a reader to whom nothing can be encrypted."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(AwsFailure, match="cannot be read"):
        run(AgeFiles(tmp_path / "file" / "x", READERS).prove("s", "m"))
    with pytest.raises(AwsFailure, match="nothing can be encrypted"):
        run(files(tmp_path, ("age1bad",)).prove("s", "m"))
    assert wrong_recipients([*READERS, "age1bad", "ssh-ed25519 AAAA"]) == ["age1bad", "ssh-ed25519 AAAA"]


# ------------------------------------------------------------------------------------------------- the whole rotation


def sealed(world: World, user: str, folder: Path, through: Kind = Kind.ROTATE) -> Item:
    """A rotation into a file."""
    delivery = Delivery(store="age", secret=f"{OTHER}_{user}", file=str(folder / "secrets"), readers=READERS)
    return item_of(world, user, through=through, delivery=delivery)


def kept(item: Item) -> AgeFiles:
    """The item's folder."""
    assert item.delivery is not None
    assert item.delivery.file is not None
    return AgeFiles(Path(item.delivery.file) / item.delivery.secret, READERS)


def good(world: World, item: Item) -> None:
    """The new key is the one that the owner reads, with the secret that AWS has of it."""
    store = kept(item)
    found = run(store.look())
    assert found is not None
    assert found.current is not None
    key = store.key_of(found.current)
    assert set(world.keys(item.user)) == {item.key.id, key}
    told = opened(store.folder / f"{key}.age", OWNER)
    (made,) = (one for one in iam_backends[OTHER]["aws"].users[item.user].access_keys if one.access_key_id == key)
    assert (told["AccessKeyId"], told["SecretAccessKey"]) == (key, made.secret_access_key)


def test_a_rotation_into_a_file(world: World, tmp_path: Path) -> None:
    """Proved before it is encrypted; the secret is nowhere else; adopted when the owner uses it, as any other."""
    item = sealed(world, "user-0", tmp_path, Kind.DEACTIVATE)
    claim(world, tmp_path, plan_of(item))
    (outcome,) = tick(world, tmp_path)
    assert outcome.steps == (Step.PREPARE, Step.CREATE, Step.VERIFY, Step.PUBLISH)
    good(world, item)
    new = tracked(world, tmp_path, item).done.new_key
    assert new is not None
    secret = opened(kept(item).folder / f"{new}.age", OWNER)["SecretAccessKey"]
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) > 3
    assert [file for file in written if secret.encode() in file.read_bytes()] == []
    (kept(item).folder / f"{new}.age").unlink()  # the owner took it
    for _ in range(12):
        world.clock.pass_(days=1)
        world.cloud.record_use(new, UsedAt(world.clock.now, "s3", "eu-west-1"))
        (outcome,) = tick(world, tmp_path) or [outcome]
    assert tracked(world, tmp_path, item).ended == "inactive"


def test_a_published_file_that_is_gone_before_the_key_is_used_is_told(world: World, tmp_path: Path) -> None:
    """Its owner may have taken it, or nobody has the key: it counts as moved only when somebody uses it."""
    item = sealed(world, "user-0", tmp_path, Kind.DEACTIVATE)
    claim(world, tmp_path, plan_of(item))
    tick(world, tmp_path)
    world.clock.pass_(days=8)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("the new key has not been used yet; the old key was last used by ")
    (path,) = kept(item).folder.glob("*.age")
    path.unlink()
    (outcome,) = tick(world, tmp_path)
    assert "its file is gone: ask whether its owner took it" in outcome.told
    assert set(world.keys("user-0").values()) == {"Active"}


@pytest.mark.parametrize("kind", ["killed before", "killed after", "denied", "commits before", "commits after"])
def test_whatever_is_interrupted_ends_with_a_key_that_its_owner_has(world: World, tmp_path: Path, kind: str) -> None:
    """At every call, and at every commit: one try leaves the key that the owner reads, or none."""
    calls, commits = Death(), Death()
    item = sealed(world, "user-0", tmp_path / "clean")
    claim(world, tmp_path / "clean", plan_of(item, at=world.clock.now))
    tick(world, tmp_path / "clean", death=calls, commits=commits)
    good(world, item)
    for at in range(commits.counted if "commits" in kind else calls.counted):
        item, folder = sealed(world, f"user-{at + 1}", tmp_path / str(at)), tmp_path / str(at)
        claim(world, folder, plan_of(item, at=world.clock.now))
        death = Death(at, after="after" in kind)
        world.fault = refusing(at) if kind == "denied" else lambda _call: None
        tick(
            world, folder, **({"commits": death} if "commits" in kind else {"death": death} if "killed" in kind else {})
        )
        for _ in range(3):
            world.clock.pass_(minutes=45)
            tick(world, folder)
        assert tracked(world, folder, item).ended == "rotated", f"{kind} {at}"
        good(world, item)


def refusing(at: int) -> Callable[[Call], Fault | None]:
    """The n-th call is refused."""
    counted = iter(range(1000))
    return lambda _call: ErrorFault(403, "AccessDenied") if next(counted) == at else None


def test_a_key_that_aws_never_gets_to_know_is_taken_back(world: World, tmp_path: Path) -> None:
    """It was not proved, so it is in no file, and not there any more."""
    item = sealed(world, "user-0", tmp_path)
    claim(world, tmp_path, plan_of(item))
    unknown = ErrorFault(403, "InvalidClientTokenId")
    world.fault = lambda call: unknown if call.action == "GetCallerIdentity" else None
    (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, "was deleted again" in outcome.told) == (Standing.FAILED, True)
    assert list(world.keys("user-0")) == [item.key.id]
    assert list(kept(item).folder.glob("*.age")) == []
    world.fault = lambda _call: None
    (outcome,) = tick(world, tmp_path)
    assert outcome.standing is Standing.DONE
    good(world, item)


# ------------------------------------------------------------------------------------------------- the configuration

KEYS = f"""
    [remediation.secrets]
    smtp_regions = ["eu-west-1"]
    recovery_keys = ["{READERS[1]}"]
    [[remediation.secrets.owner]]
    name = "vendor-*"
    keys = ["{READERS[0]}"]
"""


@pytest.mark.parametrize(
    ("owner", "expected"), [("vendor-a", READERS), ("Vendor-B", READERS), ("payments", ()), (None, ())]
)
def test_an_owner_who_is_listed_gets_files(owner: str | None, expected: tuple[str, ...]) -> None:
    """By name or pattern, whatever the case; the others go on with the store."""
    assert parse_config(KEYS, origin="t").remediation.secrets.readers_of(owner) == expected


def test_where_a_key_goes_is_its_owners_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor's into a folder of its user alone; refused where that is gone tomorrow, or nobody could read it."""

    def delivery(text: str, owner: str) -> Delivery:
        candidate = Candidate(
            account_id=OTHER,
            account_name=None,
            partition="aws",
            user="..",
            key_id="AKIA",
            created_at=AS_OF,
            basis=(),
            owner=owner,
            kind=Kind.ROTATE,
        )
        return Means(parse_config(text, origin="t"), Connection(), Path()).delivery(candidate)

    found = delivery(KEYS, "vendor-a")
    assert (found.store, found.secret, found.readers) == ("age", f"{OTHER}_..", READERS)
    assert found.file == str(Path("remediation/secrets").absolute())
    assert found.place == f"a file in {found.file}/{OTHER}_.. that 2 public keys can open"
    assert found.smtp_regions == ("eu-west-1",), "a vendor sends mail from there, too"
    assert delivery(KEYS, "payments").store == "secretsmanager"
    with pytest.raises(UsageError, match="is no public key"):
        delivery(KEYS.replace(READERS[0], f"age1{'q' * 58}"), "vendor-a")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(UsageError, match="gone after the job"):
        delivery(KEYS, "vendor-a")


def test_files_need_a_second_reader() -> None:
    """Or a key that its owner lost could never be read."""
    with pytest.raises(UsageError, match="need a second reader"):
        parse_config(KEYS.replace(f'recovery_keys = ["{READERS[1]}"]', ""), origin="t")
    with pytest.raises(UsageError, match="a public key"):
        parse_config(KEYS.replace(READERS[0], "AGE-SECRET-KEY-1"), origin="t")
