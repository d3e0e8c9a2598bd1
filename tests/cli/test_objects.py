"""What is read of an object."""

from __future__ import annotations

import msgspec
import pytest
from lightkube.models.core_v1 import ConfigMap, Secret

from sidecar.cli.objects import (
    Kind,
    Reference,
    of_config_map,
    of_secret,
    reference,
    short_generation,
)
from tests.cli import specs

SITE = Reference(Kind.CONFIG_MAP, "site")
NOON = 1795348800.0  # 2026-11-22T12:00:00Z


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("configmap/site", SITE),
        ("cm/site", SITE),
        ("ConfigMap/site", SITE),
        ("secret/tls.example", Reference(Kind.SECRET, "tls.example")),
    ],
)
def test_objects_are_named_as_kubectl_names_them(text: str, read: Reference) -> None:
    """A person has these words in the fingers."""
    assert read == reference(text)


@pytest.mark.parametrize(
    "text", ["site", "configmap/", "pod/web", "configmap/A", "secret/../x", "cm/a/b"]
)
def test_anything_else_is_refused_with_what_is_accepted(text: str) -> None:
    """A name goes into a URL, so nothing that leads elsewhere may pass."""
    with pytest.raises(ValueError, match="accepted:"):
        reference(text)


def test_texts_and_bytes_are_content_alike() -> None:
    """The kubelet writes both as files."""
    document = specs.config_map(data={"a": "1\u00e9"}, binary={"b": b"\xff\x00"})
    read = of_config_map(SITE, msgspec.convert(document, ConfigMap), NOON)

    assert {"a": b"1\xc3\xa9", "b": b"\xff\x00"} == read.content
    assert {"a", "b"} == read.keys


def test_no_value_of_a_secret_is_kept() -> None:
    """What nobody needs can't be shown by accident."""
    found = Reference(Kind.SECRET, "tls")
    document = msgspec.convert(specs.secret(), Secret)

    assert "hunter2" not in repr(of_secret(found, document, NOON))
    assert of_secret(found, document, NOON).content is None


def test_a_new_label_is_no_change_of_content() -> None:
    """Nor is `immutable`: the kubelet makes no swap, so nobody would ever see one."""
    document = specs.config_map(changed="2026-11-22T12:00:00Z")
    document["metadata"]["managedFields"] += [
        specs.written("2026-11-22T12:30:00Z", "f:metadata"),
        specs.written("2026-11-22T12:40:00Z", "f:metadata", "f:immutable"),
        specs.written("2026-11-22T11:00:00Z", "f:data"),
    ]
    read = of_config_map(SITE, msgspec.convert(document, ConfigMap), NOON)

    assert NOON == read.changed


def test_without_notes_of_writers_the_birth_counts() -> None:
    """Some servers are told to strip them."""
    document = specs.config_map()
    document["metadata"] = {"name": "site", "creationTimestamp": specs.CHANGED}

    read = of_config_map(SITE, msgspec.convert(document, ConfigMap), NOON)

    assert NOON == read.changed


@pytest.mark.parametrize(("after", "aged"), [(1, False), (90, False), (101, True)])
def test_every_kubelet_has_looked_after_a_while(after: float, *, aged: bool) -> None:
    """Each syncs by itself within 90 s."""
    document = msgspec.convert(specs.config_map(), ConfigMap)

    assert aged == of_config_map(SITE, document, NOON + after).aged


def test_a_generation_is_shown_by_its_time() -> None:
    """The rest of its name tells a person nothing."""
    name = "..2026_11_22_11_53_56.2823385754"

    assert ["2026_11_22_11_53_56", "odd"] == [
        short_generation(name),
        short_generation("odd"),
    ]
