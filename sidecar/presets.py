"""What is known about programs: a preset is nothing but defaults for variables.

A program is here when its own documentation names a way to reload it; the comment at
each says where. Not here, for instance: dnsmasq, whose SIGHUP leaves its configuration
file alone; rsyslogd, which only closes its files; Caddy, which wants the configuration
itself in the request; Apache's httpd, which a broken configuration ends; Envoy, Redis
and Traefik, which know no such signal.

A regular expression stands where the name is not enough: because the file's name
differs between packages, or because the program renames its process.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SELECTORS = ("PROCESS_NAME", "PROCESS_CMDLINE", "PROCESS_CONTAINER", "PID_FILE")
"""The variables each of which makes processes a target."""


def _frozen(**variables: str) -> Mapping[str, str]:
    return MappingProxyType(variables)


PRESETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # Grafana Alloy's reference of `alloy run`, "Update the configuration file"
        "alloy": _frozen(PROCESS_NAME="alloy", RELOAD_SIGNAL="SIGHUP"),
        # Alertmanager's "Management API"; the metric as Prometheus's
        "alertmanager": _frozen(
            PROCESS_NAME="alertmanager",
            RELOAD_SIGNAL="SIGHUP",
            VERIFY_URL="http://127.0.0.1:9093/metrics",
            VERIFY_CHANGES=(
                r"(?m)^alertmanager_config_last_reload_success_timestamp_seconds (\S+)"
            ),
        ),
        # blackbox_exporter's README, "Checking the results"; the name is longer than
        # the 15 characters of comm and is found in argv[0]
        "blackbox_exporter": _frozen(
            PROCESS_NAME="blackbox_exporter",
            RELOAD_SIGNAL="SIGHUP",
            VERIFY_URL="http://127.0.0.1:9115/metrics",
            VERIFY_CHANGES=(
                r"(?m)^blackbox_exporter_config_last_reload_success_timestamp_seconds"
                r" (\S+)"
            ),
        ),
        # CoreDNS's page of the plugin `reload`, which saves one from sending it
        "coredns": _frozen(PROCESS_NAME="coredns", RELOAD_SIGNAL="SIGUSR1"),
        # Fluent Bit's manual, "Hot reload": needs `hot_reload on` and `http_server on`;
        # the count says that it happened, the answer alone only that it was asked for
        "fluent-bit": _frozen(
            WEBHOOK_URL="http://127.0.0.1:2020/api/v2/reload",
            WEBHOOK_BODY="{}",
            VERIFY_URL="http://127.0.0.1:2020/api/v2/reload",
            VERIFY_CHANGES=r'"hot_reload_count"\s*:\s*(\d+)',
        ),
        # Gunicorn's "Signal Handling". It is a Python script, and with setproctitle
        # installed its master and workers rename themselves (its setting `proc_name`)
        "gunicorn": _frozen(
            PROCESS_CMDLINE=(
                r"^(\S*/)?gunicorn(: master|\s|$)"
                r"|^\S*(python|pypy)[0-9.]*( -\S+)* (\S*/)?gunicorn(\s|$)"
            ),
            RELOAD_SIGNAL="SIGHUP",
        ),
        # HAProxy's management guide, chapter 4; only in master-worker mode (-W). While
        # its master executes itself again it forgets a second signal (measured, 2.6)
        "haproxy": _frozen(
            PROCESS_NAME="haproxy", RELOAD_SIGNAL="SIGUSR2", RELOAD_MIN_INTERVAL="1s"
        ),
        # mosquitto's manual page, "Signals": not every option, and only if started
        # with -c
        "mosquitto": _frozen(PROCESS_NAME="mosquitto", RELOAD_SIGNAL="SIGHUP"),
        # BIND's named(8), "Signals"
        "named": _frozen(PROCESS_NAME="named", RELOAD_SIGNAL="SIGHUP"),
        # NATS's documentation, "Signals"
        "nats-server": _frozen(PROCESS_NAME="nats-server", RELOAD_SIGNAL="SIGHUP"),
        # nginx's "Controlling nginx". Nothing of its own tells whether it took the
        # configuration: to know, set VERIFY_URL to a page that shows it
        "nginx": _frozen(PROCESS_NAME="nginx", RELOAD_SIGNAL="SIGHUP"),
        # the OpenTelemetry Collector's change log, 0.61: "SIGHUP configuration reload";
        # each distribution has its own name (otelcol, otelcol-contrib, otelcol-k8s)
        "otelcol": _frozen(
            PROCESS_CMDLINE=r"^(\S*/)?otelcol[a-z0-9-]*(\s|$)", RELOAD_SIGNAL="SIGHUP"
        ),
        # PgBouncer's manual page, "Signals"
        "pgbouncer": _frozen(PROCESS_NAME="pgbouncer", RELOAD_SIGNAL="SIGHUP"),
        # php-fpm.conf's and the service unit's `kill -USR2`; the file's name may end in
        # PHP's version, the title that the master gives itself does not. Mind that a
        # broken configuration ends it
        "php-fpm": _frozen(
            PROCESS_CMDLINE=r"^php-fpm: master process", RELOAD_SIGNAL="SIGUSR2"
        ),
        # PostgreSQL's "Setting Parameters"; sent to the postmaster, which passes it on
        "postgres": _frozen(PROCESS_NAME="postgres", RELOAD_SIGNAL="SIGHUP"),
        # Prometheus's "Configuration" and "Management API". The metric's name stands in
        # its HELP and TYPE lines too: hence the anchor
        "prometheus": _frozen(
            PROCESS_NAME="prometheus",
            RELOAD_SIGNAL="SIGHUP",
            VERIFY_URL="http://127.0.0.1:9090/metrics",
            VERIFY_CHANGES=(
                r"(?m)^prometheus_config_last_reload_success_timestamp_seconds (\S+)"
            ),
        ),
        # Telegraf's "Run Telegraf as a service"
        "telegraf": _frozen(PROCESS_NAME="telegraf", RELOAD_SIGNAL="SIGHUP"),
        # unbound.conf(5), at `pidfile`
        "unbound": _frozen(PROCESS_NAME="unbound", RELOAD_SIGNAL="SIGHUP"),
        # uWSGI's "Managing the uWSGI server", with a master process
        "uwsgi": _frozen(PROCESS_NAME="uwsgi", RELOAD_SIGNAL="SIGHUP"),
        # Vector's administration guide, "Process management": reloading
        "vector": _frozen(PROCESS_NAME="vector", RELOAD_SIGNAL="SIGHUP"),
    }
)


def defaults(text: str, explicit: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a preset sets and the environment does not.

    Who says how the program is told means that, and not the preset's way as well:

    * an explicit WEBHOOK_URL drops the preset's process, unless an explicit selector
      asks for a process too;
    * an explicit selector drops the preset's webhook, unless WEBHOOK_URL is set too.

    Selectors themselves add up, as everywhere: `PRESET=nginx` with
    `PROCESS_CONTAINER=web` means the nginx of that container. The preset's
    verification stays in either case.

    Raises:
        ValueError: the preset is unknown; with the nearest names.
    """
    name = text.lower()
    if name not in PRESETS:
        import difflib  # only for an error, and it stays in memory

        near = difflib.get_close_matches(name, PRESETS, n=3)
        hint = f" (nearest: {', '.join(near)})" if near else ""
        raise ValueError(f"unknown{hint}; accepted: {', '.join(PRESETS)}")
    selected = any(selector in explicit for selector in SELECTORS)
    called = "WEBHOOK_URL" in explicit
    dropped: tuple[str, ...] = ()
    if called and not selected:
        dropped = (*SELECTORS, "RELOAD_SIGNAL")
    elif selected and not called:
        dropped = ("WEBHOOK_",)
    return {
        variable: value
        for variable, value in PRESETS[name].items()
        if variable not in explicit and not variable.startswith(dropped)
    }
