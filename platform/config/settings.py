"""All settings, each from the environment where operators differ (config/env.py says where values come from).

There is one settings module: development, tests and production differ by variables, not by code.
docs/settings.md lists every variable.
"""

from typing import Any
from urllib.parse import unquote, urlsplit

from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from config.env import ROOT, from_process
from web.policies import add_file_headers

env = from_process()

# --- Identity of this installation ---

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY", hint="Any 50 random characters; changing it signs everybody out.")
SITE_URL = env.text("SITE_URL", hint="The origin people and SDKs use, such as https://keys.example.com.").rstrip("/")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
# How many proxies in front may be believed when they name the caller (X-Forwarded-For).
TRUSTED_PROXIES = env.integer("TRUSTED_PROXIES", 0)

# --- Secrets of one purpose each; see docs/operations.md for rotation ---

SDK_TOKEN_KEYS = env.key_ring("SDK_TOKEN_KEYS")
AUTH_PEPPERS = env.key_ring("AUTH_PEPPERS")
VAULT_AT_REST_KEYS = env.key_ring("VAULT_AT_REST_KEYS")
PRELOGIN_KEYS = env.key_ring("PRELOGIN_KEYS")

# --- Applications ---

SHARED_APPS = [
    "tenancy",
    "django_tenants",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "web",
    "devstack",
    "apps.accounts",
    "apps.organizations",
    "apps.directory",
    "apps.members",
    "apps.pricing",
    "apps.usage",
    "apps.activity",
]
TENANT_APPS = [
    "apps.audit",
    "apps.projects",
    "apps.vault",
    "apps.ledger",
    "apps.analytics",
]
INSTALLED_APPS = SHARED_APPS + TENANT_APPS

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# SDKs follow no redirect: what has a trailing slash in the contract has it here, and nothing is guessed.
APPEND_SLASH = False

MIDDLEWARE = [
    "web.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "web.headers.PageHeadersMiddleware",
    # For pages only: what programs call has no session, no form and no frame.
    "web.middleware.SessionMiddleware",
    "web.middleware.CsrfViewMiddleware",
    "web.middleware.AuthenticationMiddleware",
    "apps.accounts.middleware.PersonMiddleware",
    "web.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "apps.accounts.middleware.SuspendedRequestMiddleware",
    "web.middleware.DomainErrorMiddleware",
    "web.middleware.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.organizations.context.shell",
            ],
        },
    },
]

# --- Database and tenants (platform/tenancy) ---

_database = conninfo_to_dict(env.text("DATABASE_URL", hint="postgresql://user:password@host:5432/name"))
_owner = conninfo_to_dict(env.text("DATABASE_OWNER_URL", ""))
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "tenancy.backend",
        "NAME": _database.pop("dbname", "postgres"),
        "USER": _database.pop("user", ""),
        "PASSWORD": _database.pop("password", ""),
        "HOST": _database.pop("host", ""),
        "PORT": _database.pop("port", ""),
        "OPTIONS": {**_database, "application_name": "anyllm-platform"},
        # One connection a thread, kept: web threads are few and long-lived.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
}
# What takes the place of the above while something is done as the owner (tenancy/roles.py); empty where this process
# may not, or where one role is all there is.
DATABASE_OWNER: dict[str, Any] = {}
if _owner:
    if not _owner.get("user") or not DATABASES["default"]["USER"]:
        raise ImproperlyConfigured("Beside DATABASE_OWNER_URL both URLs must name their user.")
    _owner.pop("dbname", None)
    DATABASE_OWNER = {
        "USER": _owner.pop("user"),
        "PASSWORD": _owner.pop("password", ""),
        "HOST": _owner.pop("host", DATABASES["default"]["HOST"]),
        "PORT": _owner.pop("port", DATABASES["default"]["PORT"]),
        "OPTIONS": {**DATABASES["default"]["OPTIONS"], **_owner},
    }
TENANT_MODEL = "organizations.Organization"
TENANT_SYNC_ROUTER = "django_tenants.routers.TenantSyncRouter"
DATABASE_ROUTERS = [TENANT_SYNC_ROUTER]
# Finished schemas kept ready, so that a sign-up waits for none.
SPARE_SCHEMAS = env.integer("SPARE_SCHEMAS", 5)

# --- Cache, broker ---

REDIS_URL = env.text("REDIS_URL", hint="redis://host:6379/0, of Valkey or Redis.")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "alp",
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_ALWAYS_EAGER = False
CELERY_TIMEZONE = "UTC"
# What takes minutes has a program of its own (exporter in the Procfile): two of it would stop all that takes moments.
CELERY_TASK_ROUTES = {"analytics.make_export": {"queue": "exports"}}
CELERY_BEAT_SCHEDULE = {
    "fill-schema-pool": {"task": "tenancy.fill_pool", "schedule": 60.0},
    "delete-due-organizations": {"task": "organizations.delete_due", "schedule": 300.0},
    "retire-due-project-keys": {"task": "vault.retire_due_project_keys", "schedule": 60.0},
    "delete-stale-unlock-methods": {"task": "accounts.delete_stale_unlock_methods", "schedule": 86_400.0},
    "delete-expired-challenges": {"task": "directory.delete_expired_challenges", "schedule": 300.0},
    "delete-expired-sessions": {"task": "accounts.delete_expired_sessions", "schedule": 3600.0},
    "price-unpriced-usage": {"task": "ledger.price_unpriced", "schedule": 300.0},
    "roll-up-usage": {"task": "analytics.roll_up_changed", "schedule": 2.0, "options": {"expires": 2.0}},
    "sweep-usage": {"task": "analytics.sweep", "schedule": 3600.0},
    "tidy-ledger": {"task": "ledger.tidy", "schedule": 21_600.0},
    "refresh-prices": {"task": "pricing.refresh_prices", "schedule": crontab(day_of_week="monday", hour=4, minute=17)},
}

# --- Prices (apps/pricing/refresh.py) ---

# Newer list prices approve themselves where none ends, at most so many change, and none by more percent.
PRICE_AUTO_APPROVE_PERCENT = env.integer("PRICE_AUTO_APPROVE_PERCENT", 20)
PRICE_AUTO_APPROVE_CHANGES = env.integer("PRICE_AUTO_APPROVE_CHANGES", 100)

# --- Accounts ---

AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = ["apps.accounts.hashers.PepperedArgon2PasswordHasher"]
# The server never sees a password, only a secret derived from it: strength is judged in the browser.
AUTH_PASSWORD_VALIDATORS: list[dict[str, str]] = []

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
SESSION_ENGINE = "apps.accounts.sessions"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/welcome/start/"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_ADAPTER = "apps.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "apps.accounts.forms.LoginForm",
    "signup": "apps.onboarding.signup.SignUpForm",
    "reset_password": "apps.accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "apps.accounts.forms.ResetPasswordKeyForm",
    "change_password": "apps.accounts.forms.ChangePasswordForm",
    "set_password": "apps.accounts.forms.SetPasswordForm",
    "reauthenticate": "apps.accounts.forms.ReauthenticateForm",
}
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# In the browser that signed up, whose vault then needs no password either. A second factor is asked for all the same.
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_LOGIN_ON_PASSWORD_RESET = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_ADAPTER = "apps.accounts.mfa.MFAAdapter"
MFA_TOTP_ISSUER = "any-llm platform"
MFA_FORMS = {
    "authenticate": "apps.accounts.mfa.AuthenticateForm",
    "reauthenticate": "apps.accounts.mfa.ReauthenticateForm",
    "activate_totp": "apps.accounts.mfa.ActivateTOTPForm",
    "authenticate_webauthn": "apps.accounts.mfa.AuthenticateWebAuthnForm",
    "reauthenticate_webauthn": "apps.accounts.mfa.ReauthenticateWebAuthnForm",
    "add_webauthn": "apps.accounts.mfa.AddWebAuthnForm",
    "edit_webauthn": "apps.accounts.mfa.EditWebAuthnForm",
}
# Nobody is signed in who has no verified address, so this only lets people with a second factor change theirs.
MFA_ALLOW_UNVERIFIED_EMAIL = True

# --- Mail ---

# smtp://user:password@host:port, smtp+tls:// for STARTTLS, smtps:// for TLS; file:///a/folder in development.
EMAIL_URL = env.text("EMAIL_URL", "smtp://localhost:25")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("MAIL_FROM", "any-llm platform <noreply@localhost>")
_mail = urlsplit(EMAIL_URL)
if _mail.scheme == "file":
    EMAIL_BACKEND = "devstack.mail.FolderBackend"
    EMAIL_FILE_PATH = _mail.path
EMAIL_HOST, EMAIL_PORT = _mail.hostname or "", _mail.port or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
EMAIL_USE_SSL = _mail.scheme == "smtps"
EMAIL_USE_TLS = _mail.scheme == "smtp+tls"
EMAIL_TIMEOUT = 10

# --- HTTP ---

_https = SITE_URL.startswith("https://")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
# Not "no-referrer": with that, browsers send forms with `Origin: null`, which could be anybody's.
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_NAME = "__Host-session" if _https else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if _https else "csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "web.views.csrf_failure"
DEFAULT_EXCEPTION_REPORTER_FILTER = "web.errors.ErrorReportFilter"
X_FRAME_OPTIONS = "DENY"

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "EXCEPTION_HANDLER": "web.errors.exception_handler",
}

STATIC_URL = "/static/"
STATIC_ROOT = ROOT / env.text("STATIC_ROOT", "static")
STATICFILES_DIRS = [path for path in [ROOT / "frontend" / "dist"] if path.is_dir()]
# Files that members download after they were asked who they are. Web and workers share them; nothing else serves them.
EXPORTS_FOLDER = ROOT / env.text("EXPORTS_FOLDER", "var/exports")
STORAGES = {
    "exports": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": EXPORTS_FOLDER,
            "base_url": None,
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    },
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}
# In development files are served from where the build put them; in production from the collected, hashed copies.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ADD_HEADERS_FUNCTION = add_file_headers

# --- SDK endpoints ---

# Failed key proofs (unknown key, unsolved challenge) an address may send in a minute before it hears 429.
SDK_FAILURES_PER_MINUTE = env.integer("SDK_FAILURES_PER_MINUTE", 300)
# Bytes that one request of spans may have, after inflation. 64 MiB is what OTLP recommends.
OTLP_BODY_LIMIT = env.integer("OTLP_BODY_LIMIT", 67108864)

# --- Language and time: amounts and times are shown in the organization's own, stored in UTC ---

LANGUAGE_CODE = "en-us"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- Logs: one JSON object a line, with the request's id, scrubbed of secrets (web/logs.py) ---

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "web.logs.JsonFormatter"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
    "root": {"handlers": ["stdout"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        # Its 4xx lines repeat what the request line says already.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "ERROR"},
    },
}
