"""What a message says depends on what the event holds: severity, figures, links, detail."""

import pytest

from tests.rendering.telling import event, shown, tell
from tocsin.catalogue import Catalogue
from tocsin.model import EventUser, Severity
from tocsin.rendering import alerts, render


def fields(message) -> dict[str, str]:
    return {field.label: field.value for field in message.fields}


@pytest.mark.parametrize(
    ("status", "severity", "title"),
    [
        ("success", Severity.SUCCESS, "alice deployed my-app in 12 s (0123456)"),
        ("build-error", Severity.ERROR, "A deployment of my-app by alice failed (build-error) after 12 s"),
        ("crashed-error", Severity.ERROR, "A deployment of my-app by alice failed (crashed-error) after 12 s"),
        ("timeout-error", Severity.ERROR, "A deployment of my-app by alice failed (timeout-error) after 12 s"),
        ("hook-error", Severity.ERROR, "A deployment of my-app by alice failed (hook-error) after 12 s"),
        ("disk-error", Severity.ERROR, "A deployment of my-app by alice failed (disk-error) after 12 s"),
        ("aborted", Severity.WARNING, "A deployment of my-app by alice was aborted after 12 s"),
        ("building", Severity.INFO, "A deployment of my-app by alice is under way (building)"),
        ("half_done", Severity.INFO, "A deployment of my-app by alice ended as half done after 12 s"),
    ],
)
def test_a_deployment_is_told_by_how_it_ended(status: str, severity: Severity, title: str) -> None:
    message = tell("deployment", status=status, duration=12, git_ref="0123456789abcdef")
    assert (message.title, message.severity) == (title, severity)


def test_a_deployment_is_its_pushers_when_one_is_named() -> None:
    assert tell("deployment", status="success", pusher="bob").title == "bob deployed my-app"


def test_a_deployment_of_a_branch_keeps_its_name() -> None:
    assert tell("deployment", status="success", git_ref="release/2026").title.endswith("(release/2026)")


def test_a_deployment_lists_its_commits() -> None:
    commits = [{"message": f"Change {number}\n\nLong story"} for number in range(7)]
    message = tell("deployment", status="build-error", last_commits={"commits": commits, "remaining": 3})
    assert message.text.splitlines()[0] == "The build failed."
    assert message.text.splitlines()[1].startswith("• Change 0")
    assert message.text.splitlines()[-1] == "• and 5 more"


def test_an_alert_that_is_over_is_good_news() -> None:
    message = tell("alert", metric="memory", value=0.5, limit=0.8, activated=False, sender_name="web")
    assert message.title == "my-app: memory of web is back to 50 %, within its limit of 80 %"
    assert message.severity is Severity.SUCCESS


def test_an_alert_may_fire_below_its_limit() -> None:
    message = tell("alert", metric="all", value=1200, limit=5000, activated=True, send_when_below=True)
    assert message.title == "my-app: number of requests is 1,200 a minute, under its limit of 5,000 a minute"
    assert message.severity is Severity.WARNING


def test_an_alert_on_an_unknown_metric_is_told_as_its_sender_words_it() -> None:
    message = tell("alert", metric="queue", value=7, value_text="7 jobs", limit=3, activated=True)
    assert message.title == "my-app: queue is 7 jobs, over its limit of 3"


def test_every_metric_of_the_catalogue_has_words_and_its_unit() -> None:
    units = {name: unit for name, (_, unit) in alerts.METRICS.items()}
    assert units == {metric.id: metric.unit for metric in Catalogue.load().alert_metrics}


@pytest.mark.parametrize(
    ("status", "severity"),
    [("paid", Severity.SUCCESS), ("new", Severity.INFO), ("failed", Severity.ERROR), ("", Severity.INFO)],
)
def test_a_payment_is_told_by_its_status(status: str, severity: Severity) -> None:
    assert tell("payment_attempt", status=status, amount=3).severity is severity


@pytest.mark.parametrize(
    ("event_type", "severity"),
    [
        ("crash", Severity.ERROR),
        ("repeated_crash", Severity.ERROR),
        ("stop_app", Severity.WARNING),
        ("suspend_addon", Severity.ERROR),
        ("database_backup_failed", Severity.ERROR),
        ("database_continuousbackup_delayed", Severity.WARNING),
        ("database_continuousbackup_stale", Severity.ERROR),
        ("login_failure", Severity.WARNING),
        ("notifier_failing", Severity.WARNING),
        ("notifier_disabled", Severity.ERROR),
        ("notifier_recovered", Severity.SUCCESS),
        ("scale", Severity.INFO),
    ],
)
def test_severity_goes_with_what_happened(event_type: str, severity: Severity) -> None:
    assert tell(event_type).severity is severity


def test_a_crash_shows_the_end_of_its_logs_and_links_to_them() -> None:
    logs = "\n".join(f"line {number}" for number in range(10_000)) + "\n\x1b[31mfatal\x1b[0m: no\tmemory\x00\r\n"
    message = tell("crash", container_type="web", crash_logs=logs, logs_url="https://logs.example.com/1")
    assert message.text.startswith("…\nline ")
    assert message.text.endswith("line 9999\nfatal: no memory")
    assert message.link == "https://logs.example.com/1"


def test_scaling_names_what_changed_alone() -> None:
    message = tell(
        "scale",
        previous_containers={"web": 1, "clock": "1:S", "old": "1:M"},
        containers={"web": 2, "clock": "1:S", "new": "1:L"},
    )
    assert message.title == "alice scaled my-app: web 1 → 2, old 1:M → 0, new 0 → 1:L"
    assert fields(message)["Containers"] == "web 2, clock 1:S, new 1:L"


def test_a_restart_by_the_platform_is_not_blamed_on_a_user() -> None:
    message = tell("restart", scope=["web", "clock"], reason="unexpected_failure")
    assert message.title == "web and clock of my-app were restarted after an unexpected failure"
    assert message.severity is Severity.WARNING


def test_an_operators_one_off_has_no_command() -> None:
    assert tell("run", command="", detached=True).title == "alice ran a one-off command in my-app in the background"


def test_a_domain_is_read_in_both_spellings() -> None:
    assert tell("new_domain", name="www.example.com").title == "alice added www.example.com to my-app"
    assert tell("add_credit", value=5).title == "alice added €5.00 of credit"


def test_flags_are_read_from_strings_too() -> None:
    assert tell("edit_app", force_https="false").title == "alice turned off forced HTTPS for my-app"


def test_the_given_link_is_used_when_the_event_offers_none() -> None:
    bad = event("crash", logs_url="javascript:alert(1)")
    assert render(bad, link="https://tocsin.example.com/e/1").link == "https://tocsin.example.com/e/1"
    assert render(bad).link is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "http://",
        "//example.com",
        "https://user:pw@example.com/",
        "https://example.com/a b",
        "https://example.com/\u202egnp.exe",
        "https://example.com/\n",
        "https://example.com/" + "a" * 3_000,
        ["https://example.com/"],
        None,
    ],
)
def test_a_link_that_no_reader_should_follow_is_left_out(url: object) -> None:
    assert tell("crash", logs_url=url).link is None


def test_a_user_without_a_name_goes_by_address() -> None:
    by_address = event("delete_app", user=EventUser(email="carol@example.com"))
    assert render(by_address).title == "carol@example.com deleted my-app"


def test_an_invited_person_without_a_name_goes_by_address() -> None:
    message = tell("new_collaborator", collaborator={"username": "n/a", "email": "dan@example.com"})
    assert message.title == "alice invited dan@example.com to my-app"


def test_a_collaborator_who_leaves_is_not_removed_by_themselves() -> None:
    assert tell("delete_collaborator", collaborator={"username": "alice"}).title == "alice left my-app"


def test_a_notifier_event_shows_where_messages_go_but_not_the_address() -> None:
    settings = {"webhook_url": "https://hooks.example.com/services/T0/SECRET", "emails": ["a@example.com"]}
    message = tell("new_notifier", notifier_name="Ops", notifier_type_data=settings, send_all_events=True)
    assert fields(message) == {"Receiver": "https://hooks.example.com", "Events": "all"}
    mailed = tell("new_notifier", notifier_type_data={"emails": ["a@example.com"], "user_ids": ["us-1", "us-2"]})
    assert fields(mailed)["Receiver"] == "1 address and 2 members"


def test_an_unknown_event_is_told_in_words_with_its_plain_values() -> None:
    message = tell("invoice.line_paid", amount=1234, isFinal=True, tags=["a", "b"], nested={"deep": 1}, note=None)
    assert message.title == "alice: invoice line paid on my-app"
    assert fields(message) == {"Amount": "1234", "Is Final": "yes", "Tags": "a, b"}
    assert message.severity is Severity.INFO


def test_an_unknown_event_may_bring_text_severity_and_link() -> None:
    message = tell("smoke", message="It burns.\nRun.", severity="critical", url="https://example.com/1")
    assert (message.text, message.severity) == ("It burns.\nRun.", Severity.ERROR)
    assert message.link == "https://example.com/1"
    assert message.fields == ()


def test_an_unknown_event_without_user_or_app_begins_with_a_capital() -> None:
    assert render(event("disk_full", user=EventUser(), app_name=None)).title == "Disk full"


def test_secrets_of_unknown_events_are_left_out() -> None:
    message = tell(
        "opened",
        password="hunter2",
        apiToken="hunter2",
        client_secret="hunter2",
        privateKey="hunter2",
        DATABASE_DSN="hunter2",
        address="postgres://admin:hunter2@db.example.com/x",
        note="call with token=hunter2 please",
        message="password: hunter2",
    )
    assert "hunter2" not in shown(message)
    assert fields(message)["Address"] == "postgres://…@db.example.com/x"
