"""Each kind of value is read by one function, and refused with what is accepted."""

from __future__ import annotations

import fnmatch
import re
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given, strategies as st

from sidecar import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5),
        ("5m", 300),
        ("1m30s", 90),
        ("2h", 7200),
        ("1h1m1s1ms", 3661.001),
        ("1.5s", 1.5),
        ("90", 90),
        ("0.5", 0.5),
        ("720h", values.LONGEST),
        ("1ms", values.SHORTEST),
    ],
)
def test_reads_durations(text: str, seconds: float) -> None:
    """The forms of the contract, `m` and `ms` told apart, up to both bounds."""
    assert seconds == values.duration(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1", "+1", "5 s", "1s1m", "5S", "nan", "inf", "1e3", "1d"),
        *(".", "5.", "٣s", "721h", "9" * 400, "0.1ms"),
    ],
)
def test_refuses_what_is_no_duration(text: str) -> None:
    """No sign, no exponent, no infinity, and nothing a loop could spin on."""
    with pytest.raises(ValueError, match="accepted"):
        values.duration_or_zero(text)


@pytest.mark.parametrize("text", ["0", "0s", "0ms", "0.0"])
def test_zero_is_accepted_only_where_it_means_something(text: str) -> None:
    """A timeout of 0 would fail every attempt."""
    assert 0 == values.duration_or_zero(text)
    with pytest.raises(ValueError, match="0 has no meaning here"):
        values.duration(text)


@pytest.mark.parametrize("text", ["true", "1", "YES", "On"])
def test_reads_yes(text: str) -> None:
    """In any case, as people write booleans in manifests."""
    assert values.boolean(text)


@pytest.mark.parametrize("text", ["false", "0", "No", "OFF"])
def test_reads_no(text: str) -> None:
    """The other half."""
    assert not values.boolean(text)


def test_items_are_trimmed_and_empty_ones_dropped() -> None:
    """A trailing comma in a manifest is no item, and a repeat no second one."""
    assert ("a", "b c") == values.items(" a ,, b c,a,")


def test_a_list_of_nothing_is_refused() -> None:
    """A selector that names nobody would match everybody."""
    with pytest.raises(ValueError, match="only commas"):
        values.items(" , ")


@pytest.mark.parametrize("text", ["/a/b", "/a/b/", "//a/b", "///a//b"])
def test_the_same_path_is_read_the_same(text: str) -> None:
    """Otherwise one directory would be watched twice."""
    assert Path("/a/b") == values.absolute_path(text)


@pytest.mark.parametrize("text", ["a", "./a", "~/a", "$HOME/a", "a/../b"])
def test_a_relative_path_is_refused(text: str) -> None:
    """It would depend on the image's working directory."""
    with pytest.raises(ValueError, match="begins with /"):
        values.absolute_path(text)


@pytest.mark.parametrize("text", ["/etc/site/..data", "/etc/../srv", "/x/..2026_1.2/a"])
def test_a_volume_is_its_directory_and_not_a_generation(text: str) -> None:
    """`..data` is replaced at each update; a watch on it would see one generation."""
    with pytest.raises(ValueError, match=r"the one that holds `\.\.data`"):
        values.directory_path(text)


@pytest.mark.parametrize(
    "text", ["*", "*.conf", "conf.d/*", "[ab]*", "[]]", "[!]]", "a]", "[[]x", "{a}"]
)
def test_takes_globs(text: str) -> None:
    """What fnmatch understands."""
    assert text == values.glob(text)


@pytest.mark.parametrize(
    "text", ["/a", "./a", "a/", "../a", "a/../b", "[a", "[]", "[!]", "x[", "{a"]
)
def test_refuses_globs_that_match_nothing(text: str) -> None:
    """Each looks right and silently never matches a key."""
    with pytest.raises(ValueError, match="accepted: globs over keys"):
        values.glob(text)


@given(st.text("[]!ab", max_size=8))
def test_a_bracket_is_a_set_exactly_when_fnmatch_says_so(text: str) -> None:
    """Where it says no, it takes the `[` for a literal, and so matches nothing."""
    tokens = re.findall(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|.", fnmatch.translate(text))
    literal = r"\[" in tokens
    if literal:
        with pytest.raises(ValueError, match="not closed"):
            values.glob(text)
    else:
        assert text == values.glob(text)


def test_a_wrong_regular_expression_shows_where() -> None:
    """The operator sees the position, not only the text again."""
    with pytest.raises(ValueError, match=r"unterminated character set at position 3"):
        values.pattern("abc[")


@pytest.mark.parametrize("text", ["a{999999999999999999999}", "(" * 5000 + ")" * 5000])
def test_a_monstrous_regular_expression_is_refused(text: str) -> None:
    """The compiler has its own ways to fail, which are no traceback of ours."""
    with pytest.raises(ValueError, match="accepted: a Python regular expression"):
        values.pattern(text)


@pytest.mark.parametrize("text", ["a", "(a)(b)"])
def test_the_value_that_changes_is_one_group(text: str) -> None:
    """With none or two nobody knows what to compare."""
    with pytest.raises(ValueError, match="exactly one"):
        values.pattern_with_one_group(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGHUP", 1),
        ("hup", 1),
        ("SigUsr2", 12),
        ("1", 1),
        ("64", 64),
        ("KILL", 9),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+1", signal.SIGRTMIN + 1),
        ("rtmax-2", signal.SIGRTMAX - 2),
    ],
)
def test_reads_signals(text: str, number: int) -> None:
    """By name with or without SIG, in any case, or by number."""
    assert number == values.signal_number(text)


@pytest.mark.parametrize(
    "text", ["0", "65", "-1", "SIGFOO", "SIG", "1.0", "RTMIN+31", "RTMAX-31", "RTMIN+"]
)
def test_refuses_what_is_no_signal(text: str) -> None:
    """0 would only ask whether the process is there."""
    with pytest.raises(ValueError, match="not a signal"):
        values.signal_number(text)


@pytest.mark.parametrize("text", ["SIGSTOP", "stop", "19"])
def test_refuses_to_freeze_the_program(text: str) -> None:
    """Stopped programs reload nothing, and nobody here continues them."""
    with pytest.raises(ValueError, match="freezes the program"):
        values.signal_number(text)


def test_reads_statuses() -> None:
    """Both ends of a range are in it."""
    assert (range(200, 300), range(304, 305)) == values.statuses("200-299, 304")


@pytest.mark.parametrize("text", ["2xx", "299-200", "99", "600", "200-", "200-2999"])
def test_refuses_what_is_no_status(text: str) -> None:
    """From 100 to 599, the lower end first."""
    with pytest.raises(ValueError, match="200-299,304"):
        values.statuses(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A: b", (("A", "b"),)),
        ("A:b\nC:  d \r\n\n", (("A", "b"), ("C", "d"))),
        ("A: b; C: d", (("A", "b"), ("C", "d"))),
        ("Accept: text/html;q=0.9", (("Accept", "text/html;q=0.9"),)),
        ("A: x; y=http://z", (("A", "x; y=http://z"),)),
        ("X-Empty:", (("X-Empty", ""),)),
        ("Host: app.test", (("Host", "app.test"),)),
    ],
)
def test_reads_headers(text: str, expected: tuple[tuple[str, str], ...]) -> None:
    """A `;` separates only where another name and colon follow."""
    assert expected == values.headers(text)


@pytest.mark.parametrize(
    "text", ["secret", "a b: secret", ": secret", "A: secret\x07", "A: sécret"]
)
def test_a_refused_header_is_not_repeated(text: str) -> None:
    """A line that is no header may be a piece of a token."""
    with pytest.raises(ValueError, match="header 1") as caught:
        values.headers(text)

    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_framing_headers_are_refused(name: str) -> None:
    """With a length of its own a request can't be parsed by the one who gets it."""
    with pytest.raises(ValueError, match="can't be chosen"):
        values.headers(f"{name}: 3")


def test_urls_are_separated_where_the_next_one_begins() -> None:
    """Queries may hold commas."""
    assert (
        "http://a/?x=1,2",
        "HTTPS://b",
        "http+unix://%2Fs/r",
    ) == values.separate_urls("http://a/?x=1,2, HTTPS://b ,,http+unix://%2Fs/r,")


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost",
        "http://127.0.0.1:9090/-/reload",
        "https://[::1]:8443/x?y=z",
        "https://user:pa%2Fss@app.site.svc:443/",
        "http+unix://%2Frun%2Fapp.sock/reload",
        "http://a_b/é",
    ],
)
def test_takes_urls(text: str) -> None:
    """All three schemes."""
    assert text == values.url(text)


@pytest.mark.parametrize(
    "text",
    [
        "localhost:8080/reload",
        "ftp://a/",
        "http:/a/",
        "http://",
        "http:///x",
        "http://:80/",
        "http://a:0/",
        "http://a:65536/",
        "http://a:x/",
        "http://a b/",
        "http://a/\tb",
        "http://a/#b",
        "http://300.1.1.1/",
        "http://[::g]/",
        "http://[::1/",
        "http://bücher.test/",
        "http+unix:///run/app.sock/reload",
        "http+unix://run%2Fapp.sock/",
        "http+unix://u:p@%2Frun%2Fapp.sock/",
        "http+unix://%2F" + "a" * 107,
        "http://a/" + "b" * 8000,
    ],
)
def test_refuses_urls_that_cannot_be_called(text: str) -> None:
    """At the start, and not at the first change, perhaps weeks later."""
    with pytest.raises(ValueError, match=r"accepted: http://host:port/path"):
        values.url(text)


@given(
    st.sampled_from(["http://", "https://", "HTTP://"]),
    st.text(st.sampled_from("aA0.-_:@[]%/?é"), max_size=12),
)
def test_httpx_takes_every_url_that_is_accepted(scheme: str, rest: str) -> None:
    """What httpx refuses would be an error that nobody expects at run time."""
    try:
        url = values.url(scheme + rest)
    except ValueError:
        return
    parsed = httpx.URL(url)

    assert parsed.host
    assert parsed.scheme in {"http", "https"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://u@a/", True), ("http://u:p@a", True), ("http://a/@b", False)],
)
def test_tells_credentials_from_other_signs(url: str, expected: bool) -> None:
    """An `@` after the host is a part of the path."""
    assert expected == values.has_credentials(url)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9533", ("", 9533)),
        ("9533", ("", 9533)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:9533", ("::1", 9533)),
        ("localhost:80", ("localhost", 80)),
        ("OFF", None),
    ],
)
def test_reads_addresses(text: str, expected: tuple[str, int] | None) -> None:
    """An empty host is every address; port 0 lets the kernel choose."""
    assert expected == values.listen_address(text)


@pytest.mark.parametrize(
    "text",
    ["", ":", "::1:80", ":65536", "1.2.3:80", "[::z]:80", "a b:80", "http://a:1"],
)
def test_refuses_what_is_no_address(text: str) -> None:
    """IPv6 needs its brackets, or its last group would be the port."""
    with pytest.raises(ValueError, match=r"accepted: :9533"):
        values.listen_address(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (values.label, "Web"),
        (values.label, "a" * 64),
        (values.label, "a.b"),
        (values.subdomain, "-a"),
        (values.subdomain, "a." * 130 + "a"),
        (values.word, "a b"),
        (values.workload, "pod/a"),
        (values.workload, "deployment/"),
        (values.method, "PO ST"),
        (values.process_names, "/usr/sbin/nginx"),
        (values.one_of("auto", "json"), "xml"),
        (values.boolean, "maybe"),
        (values.absolute_path, "/a\0b"),
    ],
)
def test_refuses_the_rest_with_what_is_accepted(
    parse: Callable[[str], object], text: str
) -> None:
    """Whatever is wrong, the message says what would be right."""
    with pytest.raises(ValueError, match="accepted"):
        parse(text)


def test_reads_the_rest() -> None:
    """The good side of the same parsers."""
    assert "web-1" == values.label("web-1")
    assert "web-1.site" == values.subdomain("web-1.site")
    assert ("deployment", "web") == values.workload("deployment/web")
    assert "PUT" == values.method("put")
    assert ("nginx", "nginx: master") == values.process_names("nginx, nginx: master")
    assert "json" == values.one_of("auto", "json")("JSON")
    assert re.compile("a+") == values.pattern("a+")


def test_a_regular_expression_that_python_doubts_is_taken_quietly() -> None:
    """Its FutureWarning would be a stray line between the JSON lines of the log."""
    assert "[[a]+" == values.pattern("[[a]+").pattern
