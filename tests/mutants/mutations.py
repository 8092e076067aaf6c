"""The mutants: each takes one protection out of the source, and names the tests of which every one must notice."""

from tests.mutants.mutant import Mutant
from tests.mutants.of_pages import PAGE_MUTANTS

STORE = "tests/store/test_claim_and_settle.py"
MODEL = "tests/store/test_model.py::test_deliveries_live_as_the_model_says"
EVENTS = "tests/store/test_add_events.py"
DELIVERIES = "tests/store/test_deliveries.py"
SQLITE = "tests/store/test_sqlite.py"
FAULTS = "tests/store/test_postgres_faults.py"
RETRY = "tests/test_retry.py"
SENDING = "tests/test_sending.py"
SSRF = "tests/egress/test_ssrf.py"
SIEGE = "tests/egress/test_hostile_urls.py::test_no_hostile_url_reaches_anybody_when_it_is_saved_tested_or_delivered_to"
HOSTILE = "tests/system/test_hostile_receivers.py"
CLIENT = "tests/egress/test_client.py"
DEADLINES = "tests/egress/test_deadlines.py"
CONTRACT = "tests/platforms/test_contract.py"
WEBHOOK = "tests/platforms/test_webhook.py"
ROTATION = "tests/test_rotation.py"
VERIFIED = "tests/platforms/test_verification.py::test"

SQLITE_HOT = "store/sqlite/hot.py"
LEASES = "store/leases.py"
CLAIMS = "store/postgres/claims.py"
SETTLEMENTS = "store/postgres/settlements.py"
INTAKE = "store/intake.py"
LIVES = "store/lives.py"
RETENTION = "store/retention.py"
EGRESS = "egress/__init__.py"
ADDRESSES = "egress/addresses.py"
DIAL = "egress/dial.py"
CONNECTION = "egress/connection.py"
VERIFICATION = "platforms/verification.py"


_LATE = f"{STORE}::test_a_settlement_with_a_lost_lease_moves_nothing"

QUICK = (
    Mutant(
        "sqlite-ends-without-lease",
        SQLITE_HOT,
        " AND deliveries.lease_token = ended.column2",
        "",
        (f"{_LATE}[sqlite-delivered]", f"{_LATE}[sqlite-failed]"),
    ),
    Mutant(
        "delays-without-jitter",
        "retry.py",
        " * (1 - JITTER + 2 * JITTER * chance)",
        "",
        (f"{RETRY}::test_the_default_schedule_waits_longer_each_time_within_its_jitter",),
    ),
    Mutant(
        "addresses-in-urls-unchecked",
        ADDRESSES,
        "        _check_literal(host, port, policy)\n",
        "        pass\n",
        (
            f"{SSRF}::test_a_url_that_must_not_be_reached_is_refused_when_it_is_saved",
            f"{SSRF}::test_refused_urls_reach_nobody_and_tell_no_address",
        ),
    ),
)
"""A few that are tried each time."""

LEASE_MUTANTS = (
    Mutant(
        "sqlite-retries-without-lease",
        SQLITE_HOT,
        " AND deliveries.lease_token = again.column2",
        "",
        (f"{_LATE}[sqlite-to-retry]", f"{MODEL}[sqlite]"),
    ),
    Mutant(
        "sqlite-settles-twice",
        SQLITE_HOT,
        " AND deliveries.lease_token = ended.column2 AND deliveries.state = 'sending'",
        "",
        (f"{MODEL}[sqlite]",),
    ),
    Mutant(
        "postgres-settles-without-lease",
        SETTLEMENTS,
        " AND deliveries.lease_token = ended.token",
        "",
        (f"{_LATE}[postgres-delivered]", f"{_LATE}[postgres-to-retry]", f"{MODEL}[postgres]"),
    ),
    Mutant(
        "released-without-lease",
        LEASES,
        ".where(deliveries.c.id == delivery_id, deliveries.c.lease_token == lease_token, IS_SENDING)",
        ".where(deliveries.c.id == delivery_id, IS_SENDING)",
        (f"{STORE}::test_a_lease_can_be_given_back_while_it_is_held_alone",),
    ),
    Mutant(
        "given-up-without-lease",
        LEASES,
        "is_meant = (deliveries.c.id == delivery_id, deliveries.c.lease_token == lease_token, IS_SENDING)",
        "is_meant = (deliveries.c.id == delivery_id, IS_SENDING)",
        (f"{STORE}::test_a_delivery_is_given_up_by_whoever_holds_it_alone",),
    ),
    Mutant(
        "sqlite-counts-no-attempt-at-claim",
        SQLITE_HOT,
        " attempt_count = attempt_count + 1,",
        "",
        (f"{STORE}::test_a_claim_counts_the_attempt_and_leases_the_delivery[sqlite]",),
    ),
    Mutant(
        "postgres-counts-no-attempt-at-claim",
        CLAIMS,
        " attempt_count = attempt_count + 1,",
        "",
        (f"{STORE}::test_a_claim_counts_the_attempt_and_leases_the_delivery[postgres]",),
    ),
    Mutant(
        "postgres-claims-what-is-locked",
        CLAIMS,
        "LIMIT sendable.firsts FOR UPDATE SKIP LOCKED",
        "LIMIT sendable.firsts",
        (
            f"{FAULTS}::test_a_claim_passes_over_what_another_has_locked",
            f"{FAULTS}::test_two_workers_never_claim_the_same",
        ),
    ),
    Mutant(
        "leases-taken-back-early",
        LEASES,
        "deliveries.c.lease_until < lease_until",
        "deliveries.c.claimed_at < lease_until",
        (f"{STORE}::test_a_lease_that_has_not_ended_is_not_taken_back",),
    ),
    Mutant(
        "attempts-begun-at-the-end-of-a-lease",
        "deliver.py",
        "return self._clock.now() - claim.claimed_at > self._latest_start",
        "return False",
        ("tests/test_waiting_in_line.py::test_what_waited_too_long_under_its_lease_is_claimed_anew",),
    ),
    Mutant(
        "poison-tried-for-ever",
        LEASES,
        "    poison = [row.id for row in lost if row.lost_lease_count + 1 >= MAX_LOST_LEASES]\n",
        "    poison: list[str] = []\n",
        (f"{STORE}::test_a_delivery_that_loses_its_lease_again_and_again_is_poison",),
    ),
    Mutant(
        "what-was-told-twice-is-lost-sqlite",
        SQLITE_HOT,
        "            # Recorded before, by a commit that this caller was not told of.\n            return True\n",
        "            return False\n",
        (f"{STORE}::test_an_attempt_that_was_recorded_unbeknown_to_its_worker_may_be_settled_again[sqlite]",),
    ),
    Mutant(
        "what-was-told-twice-is-lost-postgres",
        SETTLEMENTS,
        'row["is_recorded"] or (locked',
        "(locked",
        (f"{STORE}::test_an_attempt_that_was_recorded_unbeknown_to_its_worker_may_be_settled_again[postgres]",),
    ),
)

STORING_MUTANTS = (
    Mutant(
        "sqlite-commits-without-sync",
        "store/sqlite/database.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = OFF",
        (f"{SQLITE}::TestGroupCommit::test_an_event_is_durable_once_it_is_answered",),
    ),
    Mutant(
        "sqlite-syncs-at-checkpoints-alone",
        "store/sqlite/database.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        (f"{SQLITE}::TestGroupCommit::test_an_event_is_durable_once_it_is_answered",),
    ),
    Mutant(
        "postgres-need-not-sync",
        "store/postgres/__init__.py",
        "        await check_settings(connection)\n",
        "        pass\n",
        (
            f"{FAULTS}::test_a_database_that_does_not_sync_is_refused[synchronous_commit]",
            "tests/faults/test_starting.py::test_a_server_that_does_not_sync_is_refused",
        ),
    ),
    Mutant(
        "postgres-need-not-wait-for-the-log",
        "store/postgres/connections.py",
        'for name in ("fsync", "synchronous_commit"):',
        'for name in ("fsync",):',
        (f"{FAULTS}::test_a_database_that_does_not_sync_is_refused[synchronous_commit]",),
    ),
    Mutant(
        "postgres-need-not-write-to-disk",
        "store/postgres/connections.py",
        'for name in ("fsync", "synchronous_commit"):',
        'for name in ("synchronous_commit",):',
        ("tests/faults/test_starting.py::test_a_server_that_does_not_sync_is_refused",),
    ),
    Mutant(
        "keys-of-other-requests-accepted",
        INTAKE,
        "if request_hash != sent.request_hash:",
        "if False:",
        (f"{EVENTS}::test_an_idempotency_key_used_for_another_request_is_a_conflict",),
    ),
    Mutant(
        "keys-forgotten",
        INTAKE,
        "            self._add_key(new.app_id, new.idempotency, event_ids, new.events[0].received_at)\n",
        "            pass\n",
        (f"{EVENTS}::test_a_repeated_idempotency_key_gives_the_first_bodies",),
    ),
    Mutant(
        "requests-hash-alike",
        "ingest.py",
        "return hashlib.sha256(body).digest()",
        "return hashlib.sha256(body[:0]).digest()",
        (
            "tests/system/test_bad_events.py::test_an_idempotency_key_gives_the_first_answer_again_and_takes_no_other_body",
        ),
    ),
    Mutant(
        "postgres-routes-as-they-were",
        "store/postgres/ingest.py",
        "     WHERE apps.routes_version IS DISTINCT FROM known.version\n",
        "     WHERE false\n",
        (f"{FAULTS}::test_a_notifier_that_another_process_adds_gets_the_next_event",),
    ),
    Mutant(
        "events-pruned-before-their-deliveries",
        RETENTION,
        "            sa.not_(sa.exists().where(is_of_live, deliveries.c.replay_of.is_(None))),\n",
        "",
        (f"{DELIVERIES}::TestPruning::test_an_event_with_a_live_delivery_is_kept",),
    ),
    Mutant(
        "slots-kept-for-what-was-not-stored",
        INTAKE,
        "        self._undo.append(lambda: dispatch.give_back_slot(notifier.id))\n",
        "",
        (f"{EVENTS}::test_slots_are_given_back_when_a_request_is_not_stored",),
    ),
    Mutant(
        "leases-kept-by-who-is-gone",
        "store/sqlite/__init__.py",
        "            free_leases(connection, at=clock.now())\n",
        "",
        (f"{SQLITE}::TestOpening::test_leases_of_a_process_that_is_gone_are_freed",),
    ),
    Mutant(
        "two-writers-on-one-file",
        "store/sqlite/database.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        (f"{SQLITE}::TestOpening::test_a_second_handle_is_refused_with_the_holder_and_the_setting",),
    ),
)

SENDING_MUTANTS = (
    Mutant(
        "the-same-jitter-for-all",
        "deliver.py",
        "chance=random.random(),",
        "chance=0.5,",
        ("tests/test_settling.py::test_deliveries_that_fail_together_do_not_return_together",),
    ),
    Mutant(
        "times-to-wait-replace-the-plan",
        "retry.py",
        "delay_seconds = max(delay_seconds, wait_seconds)",
        "delay_seconds = wait_seconds",
        (f"{RETRY}::test_what_a_receiver_asks_for_can_only_postpone",),
    ),
    Mutant(
        "times-to-wait-ignored",
        "retry.py",
        "delay_seconds = max(delay_seconds, wait_seconds)",
        "pass",
        (f"{RETRY}::test_what_a_receiver_asks_for_can_only_postpone",),
    ),
    Mutant(
        "times-to-wait-unread",
        "sending.py",
        "asked = read_asked(response, now=self.clock.now())",
        "asked = None",
        (
            f"{SENDING}::test_an_answer_that_asks_to_wait_is_heard",
            "tests/system/test_notifier_lives.py::test_a_time_to_wait_holds_all_messages_and_costs_them_no_attempt",
        ),
    ),
    Mutant(
        "times-to-wait-without-end",
        "manners.py",
        "return min(found, MAX_WAIT_SECONDS)",
        "return found",
        ("tests/test_manners.py::test_how_long_to_wait_is_read_in_every_form",),
    ),
    Mutant(
        "redirects-count-as-delivered",
        "platforms/base.py",
        "if not 200 <= response.status < 300:",
        "if not 200 <= response.status < 400:",
        (f"{CONTRACT}::test_every_status_has_a_meaning",),
    ),
    Mutant(
        "bodies-unsigned",
        "platforms/signing.py",
        'return f"{message_id}.{timestamp}.".encode() + body',
        'return f"{message_id}.{timestamp}.".encode()',
        (
            f"{WEBHOOK}::test_the_signature_is_that_of_the_specification",
            f"{WEBHOOK}::test_a_signature_is_verified_among_several_and_not_for_other_bytes",
        ),
    ),
    Mutant(
        "timestamps-unsigned",
        "platforms/signing.py",
        'return f"{message_id}.{timestamp}.".encode() + body',
        'return f"{message_id}.".encode() + body',
        (f"{WEBHOOK}::test_the_signature_is_that_of_the_specification",),
    ),
    Mutant(
        "any-signature-verified",
        VERIFICATION,
        'return any(hmac.compare_digest(expected, given.encode()) for given in signature.split(" "))',
        "return True",
        (f"{WEBHOOK}::test_a_signature_is_verified_among_several_and_not_for_other_bytes",),
    ),
    Mutant(
        "any-ed25519-signature-verified",
        VERIFICATION,
        "except InvalidSignature:\n        return False",
        "except InvalidSignature:\n        return True",
        (f"{WEBHOOK}::test_an_ed25519_signature_fits_its_own_key_and_bytes_alone", f"{VERIFIED}_no_bit_can_be_changed"),
    ),
    Mutant(
        "old-webhooks-genuine",
        VERIFICATION,
        "if tolerance_seconds is None or abs(age_seconds) <= tolerance_seconds:",
        "if tolerance_seconds is None or age_seconds <= age_seconds:",
        (f"{VERIFIED}_the_right_signature_of_another_time_is_refused",),
    ),
    Mutant(
        "secrets-before-good-for-ever",
        "model.py",
        "return None if until is None or at >= until else self.previous_secret",
        "return self.previous_secret",
        (
            f"{ROTATION}::TestWhatIsGood::test_the_newest_is_good_and_the_one_before_it_for_a_day_unless_revoked",
            f"{ROTATION}::test_the_one_before_is_good_for_a_day_and_a_third_ends_it",
        ),
    ),
    Mutant(
        "revoked-secrets-good",
        "rotation.py",
        """previous_secret=None if revoke_now else notifier.secret,
        previous_secret_until=None if revoke_now else at + OVERLAP,""",
        """previous_secret=notifier.secret,
        previous_secret_until=at + OVERLAP,""",
        (f"{ROTATION}::TestWhatIsGood::test_the_newest_is_good_and_the_one_before_it_for_a_day_unless_revoked",),
    ),
    Mutant(
        "one-signature-while-two-are-good",
        "sending.py",
        "previous_secret=notifier.previous_secret_at(sent_at),",
        "previous_secret=None,",
        (f"{ROTATION}::test_the_one_before_is_good_for_a_day_and_a_third_ends_it",),
    ),
    Mutant(
        "private-keys-given-out",
        "platforms/signing.py",
        "return PUBLIC_PREFIX + b64encode(_private_key(secret).public_key().public_bytes_raw()).decode()",
        "return secret",
        ("tests/api/test_secrets.py::test_a_private_key_is_never_given_out",),
    ),
    Mutant(
        "secrets-before-unsealed",
        "store/sealed.py",
        "    notifiers.c.secret,\n    notifiers.c.previous_secret,\n",
        "    notifiers.c.secret,\n",
        (
            "tests/store/test_sealed.py::test_what_is_sealed_is_read_as_it_was_given",
            "tests/store/test_sealed.py::test_rotation_seals_everything_with_the_first_key",
        ),
    ),
    Mutant(
        "keys-of-secrets-before-unchecked",
        "store/sealed.py",
        "for column in (notifiers.c.secret, notifiers.c.previous_secret, variables.c.value):",
        "for column in (notifiers.c.secret, variables.c.value):",
        ("tests/store/test_sealed.py::test_a_secret_before_whose_key_is_not_here_keeps_the_database_closed",),
    ),
    Mutant(
        "secrets-shown",
        "platforms/settings.py",
        "mask_url(type_data[setting.name]) if setting.secret else type_data[setting.name]",
        "type_data[setting.name]",
        (
            f"{CONTRACT}::test_secrets_are_masked",
            "tests/verbs/test_notifiers.py::test_events_tell_of_notifiers_with_secrets_masked",
        ),
    ),
    Mutant(
        "paths-of-urls-shown",
        "platforms/settings.py",
        '    shown = f"[{host}]" if ":" in host else host\n',
        "    return str(value)\n",
        ("tests/platforms/test_text.py::test_a_masked_url_shows_where_it_leads_and_no_more",),
    ),
)

LIFE_MUTANTS = (
    Mutant(
        "silent-receivers-sent-to-for-ever",
        "health.py",
        "if row.silent >= SILENT_IN_A_ROW:",
        "if False:",
        ("tests/test_health.py::test_five_attempts_without_an_answer_stop_it",),
    ),
    Mutant(
        "gone-receivers-sent-to",
        "health.py",
        "if attempt.reason is Reason.GONE:",
        "if False:",
        ("tests/test_health.py::test_gone_and_a_wish_for_no_more_end_it",),
    ),
    Mutant(
        "holds-shortened",
        "life.py",
        "(notifier.state is NotifierState.HOLDING and is_longer)",
        "notifier.state is NotifierState.HOLDING",
        ("tests/test_life.py::test_a_hold_is_never_shortened_and_gives_way_to_a_stop",),
    ),
    Mutant(
        "probes-before-their-time",
        LIVES,
        "notifiers.c.id == notifier_id, IS_FAILING, notifiers.c.held_until <= at, _IS_PRESENT",
        "notifiers.c.id == notifier_id, IS_FAILING, _IS_PRESENT",
        ("tests/store/test_lives.py::test_a_probe_waits_until_its_time", f"{MODEL}[sqlite]"),
    ),
    Mutant(
        "probes-beside-each-other",
        LIVES,
        "if row is None or _has_one_under_way(connection, notifier_id):",
        "if row is None:",
        ("tests/store/test_lives.py::test_a_probe_is_the_oldest_due_delivery_and_the_only_one",),
    ),
)

EGRESS_MUTANTS = (
    Mutant(
        "resolved-addresses-unchecked-when-dialled",
        DIAL,
        "        if not self._policy.allows(address, destination.port, destination.host):\n            return False\n",
        "",
        (f"{SSRF}::test_of_several_addresses_only_the_allowed_ones_are_dialled",),
    ),
    Mutant(
        "private-addresses-taken-for-public",
        ADDRESSES,
        "if port not in _BAD_PORTS and is_public(found):",
        "if port not in _BAD_PORTS:",
        (
            f"{SSRF}::test_a_public_name_of_a_private_address_is_blocked",
            f"{SSRF}::test_refused_urls_reach_nobody_and_tell_no_address",
        ),
    ),
    Mutant(
        "own-addresses-dialled",
        DIAL,
        "return is_named or (found is not None and not is_own(found))",
        "return True",
        (f"{SIEGE}[some]",),
    ),
    Mutant(
        "kept-connections-after-the-name-moved",
        EGRESS,
        "        if addresses is not route.addresses:\n",
        "        if not route.addresses:\n",
        (f"{SSRF}::test_a_kept_connection_is_not_used_once_it_is_remembered_that_the_name_has_moved",),
    ),
    Mutant(
        "internal-names-unchecked",
        ADDRESSES,
        "        _check_name(host, port, policy)\n",
        "        pass\n",
        (f"{SSRF}::test_a_url_that_must_not_be_reached_is_refused_when_it_is_saved",),
    ),
    Mutant(
        "hidden-names-looked-up",
        "egress/hosts.py",
        ', ".invalid", ".onion", ".alt", ".arpa")',
        ")",
        (f"{SSRF}::test_a_url_that_must_not_be_reached_is_refused_when_it_is_saved",),
    ),
    Mutant(
        "metadata-opened-by-a-network",
        "egress/ranges.py",
        "    if address in _METADATA:\n        return True\n",
        "",
        (
            f"{SSRF}::test_a_metadata_address_is_opened_by_nothing_but_itself",
            "tests/egress/test_addresses.py::test_the_allow_list_does_not_open",
        ),
    ),
    Mutant(
        "isatap-taken-for-public",
        "egress/ranges.py",
        "    return embedded is None or is_public(embedded)\n",
        "    return True\n",
        (f"{SSRF}::test_a_url_that_must_not_be_reached_is_refused_when_it_is_saved",),
    ),
    Mutant(
        "redirects-told-whole",
        "platforms/base.py",
        '        told = msgspec.structs.replace(response, body=b"")\n',
        "        told = response\n",
        (
            f"{CONTRACT}::test_of_where_a_redirect_leads_to_the_host_alone_is_told",
            f"{HOSTILE}::test_a_redirect_is_not_followed_and_of_its_target_the_host_alone_is_on_record",
        ),
    ),
    Mutant(
        "any-port-on-public-addresses",
        ADDRESSES,
        "if port not in _BAD_PORTS and is_public(found):",
        "if is_public(found):",
        (f"{SSRF}::test_refused_urls_reach_nobody_and_tell_no_address",),
    ),
    Mutant(
        "bodies-read-whole",
        CONNECTION,
        "        room = MAX_BODY_BYTES - self._body_size\n",
        "        room = len(data)\n",
        (f"{CLIENT}::test_a_large_answer_is_read_up_to_64_kib_and_the_connection_closed",),
    ),
    Mutant(
        "chunk-extensions-read-for-ever",
        CONNECTION,
        "            elif self._raw_bytes > MAX_RAW_BYTES:\n                self._cut()\n",
        "",
        (f"{CLIENT}::test_endless_chunk_extensions_end_with_the_status",),
    ),
    Mutant(
        "heads-read-whole",
        CONNECTION,
        "        if self._head_bytes > MAX_HEAD_BYTES or self._head_lines > MAX_HEAD_LINES:\n",
        "        if self._head_lines > 10**9:\n",
        (f"{CLIENT}::test_a_head_over_the_cap_is_too_large",),
    ),
    Mutant(
        "no-deadline-on-kept-connections",
        "egress/deadlines.py",
        "if connection.due_at_seconds <= now:",
        "if False:",
        (f"{DEADLINES}::test_a_receiver_that_hangs_or_drips_ends_by_the_deadline[asyncio-reused-headers]",),
    ),
    Mutant(
        "no-deadline-on-new-connections",
        EGRESS,
        "async with asyncio.timeout_at(deadline_seconds):",
        "async with asyncio.timeout_at(None):",
        (f"{DEADLINES}::test_a_receiver_that_hangs_or_drips_ends_by_the_deadline[asyncio-fresh-body]",),
    ),
    Mutant(
        "a-deadline-for-each-phase",
        EGRESS,
        '                phase = "gave no complete answer"\n                return await self._exchange(',
        '                phase = "gave no complete answer"\n'
        "            async with asyncio.timeout(self._timeout_seconds):\n"
        "                return await self._exchange(",
        (f"{DEADLINES}::test_the_deadline_is_one_for_all_phases_together",),
    ),
    Mutant(
        "certificates-unchecked",
        "egress/tls.py",
        "    return context\n",
        "    context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n    return context\n",
        ("tests/egress/test_tls.py::test_a_certificate_of_an_unknown_authority_is_refused",),
    ),
)

MUTANTS = (*QUICK, *LEASE_MUTANTS, *STORING_MUTANTS, *SENDING_MUTANTS, *LIFE_MUTANTS, *EGRESS_MUTANTS, *PAGE_MUTANTS)
