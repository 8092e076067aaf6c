"""The mutants of pages: sessions, forms, what is escaped and what headers say."""

from tests.mutants.mutant import Mutant

FORMS = "tests/dashboard/test_forms.py"
SIGNING_IN = "tests/dashboard/test_signing_in.py"
CODES = "tests/dashboard/test_codes.py"
ACCOUNT = "tests/dashboard/test_account.py"
PAGES = "tests/dashboard/test_pages.py"
STORED = "tests/store/test_sessions.py"

NOTIFIERS = "tests/dashboard/test_notifiers.py"
NEW_NOTIFIER = "tests/dashboard/test_new_notifier.py"

ROUTES = "dashboard/routes.py"
VISIT = "dashboard/visit.py"

PAGE_MUTANTS = (
    Mutant(
        "forms-unchecked",
        ROUTES,
        "                    refuse_foreign(request, visit)\n",
        "",
        (
            f"{FORMS}::test_no_form_is_taken_without_the_token_of_its_browser",
            f"{FORMS}::test_no_form_is_taken_from_another_site",
        ),
    ),
    Mutant(
        "form-tokens-unchecked",
        "dashboard/forms.py",
        'if not visit.is_own_form(visit.form.get(TOKEN, "")):',
        "if visit is None:",
        (f"{FORMS}::test_no_form_is_taken_without_the_token_of_its_browser",),
    ),
    Mutant(
        "forms-of-other-sites-taken",
        "dashboard/forms.py",
        "    if is_foreign:\n",
        "    if is_foreign is None:\n",
        (f"{FORMS}::test_no_form_is_taken_from_another_site",),
    ),
    Mutant(
        "signing-in-leads-anywhere",
        "dashboard/forms.py",
        'return text if is_plain and text.startswith("/") and not text.startswith("//") else "/"',
        "return text if is_plain else text",
        (f"{SIGNING_IN}::test_signing_in_leads_to_pages_of_this_server_alone",),
    ),
    Mutant(
        "cookies-within-reach-of-scripts",
        VISIT,
        "httponly=True",
        "httponly=False",
        (f"{SIGNING_IN}::test_cookies_are_for_this_server_alone",),
    ),
    Mutant(
        "cookies-over-plain-http",
        VISIT,
        "secure=self._is_https",
        "secure=False",
        (f"{SIGNING_IN}::test_cookies_are_for_this_server_alone",),
    ),
    Mutant(
        "sessions-outlive-a-sign-in",
        "store/sessions.py",
        "    if replaces is not None:\n",
        "    if replaces is None:\n",
        (f"{SIGNING_IN}::test_each_sign_in_makes_a_session_anew_and_ends_the_one_before",),
    ),
    Mutant(
        "sessions-outlive-a-password",
        "store/sessions.py",
        "    remove_other_sessions(connection, user_id, keep_session)\n",
        "",
        (
            f"{ACCOUNT}::test_a_changed_password_ends_every_other_session",
            f"{STORED}::test_a_changed_password_leaves_one_session_and_those_of_others",
        ),
    ),
    Mutant(
        "sessions-without-end",
        "sessions.py",
        "min(now + IDLE, session.created_at + LIFETIME)",
        "now + IDLE",
        (f"{ACCOUNT}::test_thirty_days_end_a_session_however_it_is_used",),
    ),
    Mutant(
        "sessions-of-others-ended",
        "store/sessions.py",
        "sessions.delete().where(sessions.c.user_id == user_id, sessions.c.id == session_id)",
        "sessions.delete().where(sessions.c.id == session_id)",
        (
            f"{ACCOUNT}::test_nobody_ends_the_session_of_somebody_else",
            f"{STORED}::test_a_session_ends_for_its_user_alone",
        ),
    ),
    Mutant(
        "unknown-names-cost-no-check",
        "accounts.py",
        "await self._is_password(password, password_hash or await self._decoy())",
        "password_hash is not None and await self._is_password(password, password_hash)",
        (f"{SIGNING_IN}::test_a_wrong_password_and_an_unknown_user_take_the_same_work",),
    ),
    Mutant(
        "codes-tried-for-ever",
        "store/codes.py",
        "row.tries_left - 1",
        "row.tries_left",
        (
            f"{CODES}::test_five_wrong_codes_use_the_right_one_up",
            f"{STORED}::test_guesses_that_come_at_once_are_all_counted",
        ),
    ),
    Mutant(
        "codes-used-twice",
        "store/codes.py",
        "left = 0 if is_right else",
        "left = row.tries_left if is_right else",
        (f"{STORED}::test_a_code_signs_in_once_even_when_it_comes_many_times_at_once",),
    ),
    Mutant(
        "templates-unescaped",
        "dashboard/pages.py",
        "autoescape=True",
        "autoescape=False",
        (f"{PAGES}::test_what_others_wrote_is_text_on_every_page",),
    ),
    Mutant(
        "pages-in-frames",
        "api/answers.py",
        "\"form-action 'self'; base-uri 'none'; frame-ancestors 'none'\"",
        "\"form-action 'self'; base-uri 'none'\"",
        (f"{PAGES}::test_pages_of_visitors_are_whole_and_safe",),
    ),
    Mutant(
        "settings-shown-whole-to-who-may-only-look",
        "dashboard/notifier_views.py",
        "is_whole = self._access.may(Right.NOTIFIERS_WRITE)",
        "is_whole = self._access.may(Right.NOTIFIERS_READ)",
        (f"{NOTIFIERS}::test_who_may_only_look_sees_masked_settings_and_may_test",),
    ),
    Mutant(
        "secrets-shown-to-who-may-only-look",
        "dashboard/notifier_secrets.py",
        "import CurrentUser, ReadsSecrets, WritesNotifiers",
        "import CurrentUser, WritesNotifiers, ReadsNotifiers as ReadsSecrets",
        (f"{NOTIFIERS}::test_who_may_only_look_sees_masked_settings_and_may_test",),
    ),
    Mutant(
        "a-new-notifier-sends-before-it-was-tried",
        "dashboard/new_notifier.py",
        "active=False",
        "active=True",
        (f"{NEW_NOTIFIER}::test_a_newcomer_adds_a_notifier_with_few_clicks",),
    ),
)
