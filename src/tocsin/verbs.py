"""What can be done with Tocsin, in one place: the API, the dashboard and the operator commands call these."""

from dataclasses import dataclass

from tocsin.accounts import Accounts
from tocsin.alerts import Alerts
from tocsin.apps import Apps
from tocsin.audit_log import AuditLog
from tocsin.explain import Explain
from tocsin.history import History
from tocsin.ingest import Ingest
from tocsin.keys import Keys
from tocsin.notifiers import Notifiers
from tocsin.operations import Operations
from tocsin.sessions import Sessions
from tocsin.statistics import Statistics
from tocsin.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class Verbs:
    accounts: Accounts
    tokens: Tokens
    sessions: Sessions
    apps: Apps
    notifiers: Notifiers
    alerts: Alerts
    history: History
    statistics: Statistics
    explain: Explain
    ingest: Ingest
    keys: Keys
    audit: AuditLog
    operations: Operations

    def forget(self) -> None:
        """Another process has changed something: what is remembered here may be stale."""
        self.tokens.forget()
        self.apps.forget()
