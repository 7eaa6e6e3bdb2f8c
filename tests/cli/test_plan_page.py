"""`auditor remediate show` as a page: all that the plan says, and nothing that a name makes of it."""

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

from auditor.model import KeyStatus
from auditor.remediation.plan import (
    Among,
    Author,
    Basis,
    Blocked,
    Delivery,
    Item,
    Kind,
    Limits,
    Plan,
    PlannedKey,
    Use,
    Waits,
)
from tests.conftest import CommandLine
from tests.notify.slack_server import TOKEN, serving

AT = datetime(2026, 11, 22, 19, tzinfo=UTC)
HOSTILE = '<script>alert("x")</script>&amp;'


def plan() -> Plan:
    """A rotation through deletion of a hostile user's key, and one that nothing is planned for."""
    item = Item(
        id="item1",
        kind=Kind.ROTATE,
        through=Kind.DELETE,
        account_id="111122223333",
        account_name=HOSTILE,
        partition="aws",
        user="app",
        user_id="AIDA1",
        key=PlannedKey(
            id="AKIAEXAMPLE",
            created_at=AT - timedelta(days=200),
            status=KeyStatus.ACTIVE,
            last_used=Use(at=AT, service="ses"),
        ),
        basis=(Basis(control="key-age", severity="high", reason="200 days old"),),
        owner=HOSTILE,
        delivery=Delivery(secret="auditor/app", smtp_regions=("eu-central-1",)),
        waits=Waits(grace_days=7, quiet_days=14, quarantine_days=15),
    )
    return Plan(
        id="plan-1",
        created_at=AT,
        expires_at=AT + timedelta(hours=72),
        author=Author(person="ann@example.com", arn="arn:aws:iam::111122223333:user/ann", account_id="111122223333"),
        tool_version="0",
        run_id="20261122T190000Z-00000000",
        run_sha256="0" * 64,
        approvers_sha256="0" * 64,
        accounts_read=1,
        limits=Limits(max_items=25, max_per_account=5, max_percent=10, max_disruptions_per_tick=5),
        items=(item,),
        blocked=(
            Blocked(
                account_id="111122223333",
                account_name=None,
                user="two",
                key_id="AKIATWO",
                code="TWO_KEYS",
                reason="the user has two keys",
                advice="Find out which.",
            ),
        ),
    )


SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
FINGERPRINT = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"
AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def more() -> Plan:
    """And a key that goes into a file, one that goes to another Region, and one that is inactive."""
    made = plan()
    first = made.items[0]
    files = Delivery(
        store="age", secret="111122223333_app2", file="/srv/secrets", readers=(f"{SSH} ann@x{HOSTILE}", AGE)
    )
    elsewhere = Delivery(store="ssm", secret="/auditor/app3", region="eu-west-1", kms_key="alias/k")
    off = first.key.model_copy(update={"status": KeyStatus.INACTIVE})
    items = (
        first.model_copy(update={"id": "item2", "user": "app2", "delivery": files, "through": Kind.ROTATE}),
        first.model_copy(update={"id": "item3", "user": "app3", "delivery": elsewhere, "through": Kind.DEACTIVATE}),
        first.model_copy(
            update={
                "id": "item4",
                "user": "app4",
                "kind": Kind.DELETE,
                "delivery": None,
                "key": off,
                "inactive_since": AT - timedelta(days=40),
            }
        ),
    )
    among = Among(active_keys=120, in_use={"111122223333": 14})
    return made.model_copy(update={"items": (first, *items), "among": among})


SAID = (
    "auditor/app in Secrets Manager",
    "111122223333_app2 in a file below /srv/secrets",
    f"ssh-ed25519 {FINGERPRINT} (ann@x{HOSTILE})",
    f"{AGE[:8]}...{AGE[-12:]}",
    "/auditor/app3 in Parameter Store, in eu-west-1, under the KMS key alias/k",
)


def test_who_approves_sees_where_secrets_go_and_who_reads_them(cli: CommandLine) -> None:
    """As text, as a page, and in Slack: each reader, the file, Region and key, the waits, and inactive since when."""
    made, path = more(), cli.folder / "plan.json"
    path.write_bytes(made.content)
    text = " ".join(cli.run("remediate", "show", str(path)).out.split())
    html = cli.run("remediate", "show", str(path), "--format", "html").out
    page = " ".join(Page(html).text.split())
    for shown in (text, page):
        for said in (*SAID, "7 days to move to the new key, 14 days quiet, 15 days inactive"):
            assert said in shown
        assert "2026-10-13" in shown
    assert "Chosen among 120 active keys; used lately: 14 in 111122223333" in page
    assert "chosen among 120 active keys; used lately: 14 in 111122223333." in text
    with serving() as slack:
        (cli.folder / "config.toml").write_text(f'[notify.slack]\nchannel = "C1"\napi_url = "{slack.url}"\n')
        cli.environment["AUDITOR_SLACK_TOKEN"] = TOKEN
        posted = cli.run("remediate", "show", str(path), "--format", "slack")
        assert posted.code == 0, posted.err
        told = json.dumps(slack.messages[0]["blocks"])
    for said in (
        "Secrets go to: `Secrets Manager: auditor/app`",
        "Secrets go to: `a file below /srv/secrets: 111122223333_app2`",
        f"Can be read by: `ssh-ed25519 {FINGERPRINT} (ann@x&lt;script",
        f"Can be read by: `{AGE[:8]}...{AGE[-12:]}`",
        "Waits: `7 days to move to the new key, 14 days quiet: app3`",
        "Inactive since: `2026-10-13 19:00Z: app4`",
    ):
        assert said in told


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str) -> None:
        """Reads it."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        self.text += f"{data} "


def test_the_page_says_what_the_terminal_says(cli: CommandLine) -> None:
    """What is done, why, when, how it is undone, and what is not planned; names are text, and nothing is loaded."""
    made = plan()
    path = cli.folder / "plan.json"
    path.write_bytes(made.content)
    done = cli.run("remediate", "show", str(path), "--format", "html", "--out", "plan.html")
    assert done.code == 0, done.err
    page = Page((cli.folder / "plan.html").read_text())
    text = " ".join(page.text.split())
    for said in (
        "1 key to rotate, 1 key to switch off, 1 key to delete",
        made.digest,
        f"code {made.code}",
        "its secret kept as auditor/app in Secrets Manager, with SMTP passwords for eu-central-1, and proved",
        "AKIAEXAMPLE is switched off when the new one is in use, 7 days later at the earliest",
        "undo: auditor remediate rollback item1 --reason TEXT",
        "AKIAEXAMPLE is deleted after 15 days inactive, announced 72 hours before; this cannot be undone",
        "200 days old",
        "the user has two keys TWO_KEYS Find out which.",
        HOSTILE,
    ):
        assert said in text
    assert not [tag for tag, _ in page.tags if tag in {"script", "img", "link", "iframe"}]
    assert not [attributes for _, attributes in page.tags if {"src", "href", "onclick"} & set(attributes)]
    told = " ".join(cli.run("remediate", "show", str(path)).out.split())
    assert "this cannot be undone" in told
    document = cli.run("remediate", "show", str(path), "--json").json
    assert document["sha256"] == made.digest
    undone = [change["undo"] for change in document["changes"]["item1"] if change["sign"] == "~"]
    assert undone == ["auditor remediate rollback item1 --reason TEXT"]


def test_who_says_that_a_key_leaked_is_said(cli: CommandLine) -> None:
    """AWS, or who planned it, whose word approvers judge; and what they are warned of."""
    made, path = plan(), cli.folder / "plan.json"
    found = Basis(control="quarantined-key", severity="critical", reason="AWS found it")
    words = Basis(control="asked-for", severity="-", reason="in a repository")
    warning = Basis(control="-", severity="-", reason="Careful: switched on by hand at 2026-11-22 18:00Z: night job")
    for basis, said, not_said in (
        ((found,), "is switched off at once: AWS found it exposed", "by the word"),
        ((words, warning), "is switched off at once: it leaked, by the word of who planned it", "AWS found"),
    ):
        update = {"basis": basis, "urgent": True, "kind": Kind.DEACTIVATE, "delivery": None}
        item = made.items[0].model_copy(update=update)
        path.write_bytes(made.model_copy(update={"items": (item,)}).content)
        text = " ".join(cli.run("remediate", "show", str(path)).out.split())
        page = " ".join(Page(cli.run("remediate", "show", str(path), "--format", "html").out).text.split())
        for shown in (text, page):
            assert said in shown
            assert not_said not in shown
            assert ("switched on by hand at 2026-11-22 18:00Z: night job" in shown) is (warning in basis)


def test_a_key_that_is_planned_in_part_is_not_counted_as_left_out(cli: CommandLine) -> None:
    """Of one that nobody is told of it is said that it is not deleted later."""
    made, path = plan(), cli.folder / "plan.json"
    more = made.blocked[0].model_copy(update={"key_id": made.items[0].key.id, "code": "NO_OWNER"})
    for blocked, said in (
        ((more, *made.blocked), "Not planned: 1 key; Planned in part: 1 key "),
        ((more,), " Planned in part: 1 key "),
        (made.blocked, " Not planned: 1 key "),
    ):
        path.write_bytes(made.model_copy(update={"blocked": blocked}).content)
        assert said in " ".join(cli.run("remediate", "show", str(path)).out.split())
        html = cli.run("remediate", "show", str(path), "--format", "html").out
        assert said in " ".join(Page(html).text.split())


def test_text_goes_to_no_file(cli: CommandLine, tmp_path: Path) -> None:
    """A file of a name that somebody relies on is not left unwritten in silence."""
    path = tmp_path / "plan.json"
    path.write_bytes(plan().content)
    finished = cli.run("remediate", "show", str(path), "--out", "plan.txt")
    assert (finished.code, (cli.folder / "plan.txt").exists()) == (2, False)
