"""The cloud of the tests: an embedded organisation over HTTP, virtual time, and the command line as a user has it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from auditor.answers import REQUESTS, decode_requests, decode_result
from auditor.aws.clients import Connection, StaticCredentials
from auditor.aws.timing import Timing
from auditor.demo import Call, EmbeddedOrganisation, Fault, OrganisationSeed
from auditor.evidence.answered import differing
from auditor.gather import GatherSettings, audit_account
from auditor.model import Account, AccountResult, NotAudited, Policy
from tests.builders import AS_OF
from tests.forking import Forks

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, and so would be all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)

FORKS = Forks()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests counted, beside that they passed."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, told in report.user_properties:
            terminalreporter.write_line(f"{name}: {told}")


LEFT_OUT = ("AWS_", "AUDITOR_", "MOTO_")


@dataclass
class VirtualTime:
    """A clock that only sleeping moves; remembers every sleep, in seconds."""

    start: datetime = AS_OF
    slept: list[float] = field(default_factory=list)

    @property
    def timing(self) -> Timing:
        """The `Timing` that product code takes; the jitter is always one half."""
        return Timing(
            now=lambda: self.start + timedelta(seconds=sum(self.slept)),
            monotonic=lambda: sum(self.slept),
            sleep=self._sleep,
            uniform=lambda: 0.5,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class MemoryStore:
    """Keeps raw answers in memory."""

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def save(self, account_id: str, name: str, content: bytes) -> None:
        """See `auditor.gather.RawStore`."""
        self.files[account_id, name] = content

    def forget(self, account_id: str, name: str) -> None:
        """See `auditor.gather.RawStore`."""
        self.files.pop((account_id, name), None)

    def result(self, account_id: str) -> AccountResult:
        """What was kept of an account, read back."""
        return decode_result(
            {name: content for (account, name), content in self.files.items() if account == account_id}
        )


def audited_account(account: Account, settings: GatherSettings, store: MemoryStore) -> AccountResult:
    """Audit one account and read back what was kept of it, which is all that a judgement rests on.

    Whatever went wrong on the way, its look-ups come of the answers that were kept.
    """
    receipt = audit_account(account, settings)
    result = store.result(account.id)
    requests = list(decode_requests(store.files[account.id, REQUESTS]))
    assert differing(requests, result.outcome) is None
    assert result.spent == receipt.spent
    assert (result.outcome if isinstance(result.outcome, NotAudited) else None) == receipt.not_audited
    return result


class NoProgress:
    """Progress that is not shown."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Ignored."""

    def advance(self, step: str = "") -> None:
        """Ignored."""

    def status(self, text: str) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""


@pytest.fixture
def virtual_time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(autouse=True)
def _no_ambient_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(LEFT_OUT)]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


StartCloud = Callable[..., EmbeddedOrganisation]


@pytest.fixture
def start_cloud() -> Iterator[StartCloud]:
    running: list[EmbeddedOrganisation] = []

    def start(
        seed: OrganisationSeed, *, fault: Callable[[Call], Fault | None] | None = None, **options: Any
    ) -> EmbeddedOrganisation:
        cloud = EmbeddedOrganisation(seed, as_of=AS_OF, fault=fault, **options)
        cloud.start()
        running.append(cloud)
        return cloud

    yield start
    for cloud in running:
        cloud.stop()


def connect(cloud: EmbeddedOrganisation, **options: Any) -> Connection:
    """A connection to the cloud as its caller."""
    credentials = StaticCredentials(cloud.access_key_id, cloud.secret_access_key)
    return Connection(endpoint_url=cloud.endpoint_url, isolated=credentials, **options)


def settings_for(cloud: EmbeddedOrganisation, store: MemoryStore, time: VirtualTime, **options: Any) -> GatherSettings:
    """Settings that audit the cloud in virtual time."""
    connection = options.pop("connection", None) or connect(cloud)
    return GatherSettings(connection, Policy(), AS_OF, store, timing=time.timing, **options)


@dataclass(frozen=True)
class Finished:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)


class CommandLine:
    """`auditor` as a user runs it: a process of its own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Where `folder` is the working directory."""
        self.folder = folder
        self.environment: dict[str, str] = {}

    def log_in(self, cloud: EmbeddedOrganisation) -> None:
        """Have the cloud's endpoint and its caller's credentials in the environment."""
        self.environment |= {
            "AWS_ENDPOINT_URL": cloud.endpoint_url,
            "AWS_ACCESS_KEY_ID": cloud.access_key_id,
            "AWS_SECRET_ACCESS_KEY": cloud.secret_access_key,
        }

    @property
    def whole_environment(self) -> dict[str, str]:
        """What the command's process finds in its environment."""
        return dict(os.environ) | {"COLUMNS": "120", "NO_COLOR": "1"} | self.environment

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the command."""
        return subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "-m", "auditor", *arguments],
            cwd=self.folder,
            env=self.whole_environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Finished:
        """Run the command to its end."""
        if any(name.startswith("PYTHON") for name in self.environment):  # the interpreter is to start with these
            process = self.start(*arguments)
            out, err = process.communicate(timeout=120)
            return Finished(process.returncode, out, err)
        with TemporaryFile() as out_file, TemporaryFile() as err_file:
            code = FORKS.run(arguments, self.whole_environment, self.folder, (out_file, err_file))
            told = [(stream.seek(0), stream.read().decode())[1] for stream in (out_file, err_file)]
        return Finished(code, *told)


@pytest.fixture(scope="session", autouse=True)
def _forks() -> Iterator[None]:
    yield
    FORKS.stop()


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)
