"""Which containers of a pod are the sidecar: push, inject and lint must agree."""

from __future__ import annotations

import pytest

from sidecar.cli import container, pod
from sidecar.presets import SELECTORS
from tests.cli import specs
from tests.cli.specs import Document


def with_env(document: Document, **variables: str) -> Document:
    """Return a container that is told so, and nothing else."""
    told = [{"name": name, "value": text} for name, text in variables.items()]
    return {**document, "env": told}


def ours(*containers: Document) -> list[str]:
    """Return who is taken for the sidecar, by all who ask."""
    spec = specs.pod(containers=containers)["spec"]
    of_manifest = [found.name for found in pod.parse(spec).sidecars]
    [decoded] = specs.decoded({"spec": spec})
    assert decoded.spec
    of_api = [found.container.name for found in container.sidecars(decoded.spec)]

    assert of_manifest == of_api
    return of_api


APPLICATION = with_env(specs.program(), CONFIG_DIR="/etc/nginx")
OTHER_NAME = {**specs.sidecar(), "name": "reloader"}
OTHER_IMAGE = {**specs.sidecar(), "image": "registry.example/mirror/reload:1"}
OTHER_BOTH = {**OTHER_NAME, "image": "registry.example/mirror/reload:1"}


def test_a_directory_of_its_own_makes_no_sidecar_of_an_application() -> None:
    """Many programs have a CONFIG_DIR; whoever asked them would wait for an answer."""
    assert [] == ours(APPLICATION)


@pytest.mark.parametrize("document", [OTHER_NAME, OTHER_IMAGE])
def test_one_name_is_enough(document: Document) -> None:
    """Of the container or of its image: one of them is often changed."""
    assert [document["name"]] == ours(APPLICATION, with_env(document))


@pytest.mark.parametrize(
    "image",
    [
        "config-reload-sidecar",
        "localhost:5000/config-reload-sidecar:1",
        "registry.example/a/config-reload-sidecar@sha256:0123",
        "registry.example:443/a/config-reload-sidecar:1@sha256:0123",
    ],
)
def test_an_image_is_known_wherever_it_is_pulled_from(image: str) -> None:
    """Companies mirror what they run."""
    assert ["reloader"] == ours(with_env({**OTHER_NAME, "image": image}))


@pytest.mark.parametrize("directories", ["WATCH_DIRS", "CONFIG_DIR"])
@pytest.mark.parametrize(
    "target",
    [*SELECTORS, "PRESET", "WEBHOOK_URL", "ROLLOUT"],
)
def test_what_it_is_told_tells_where_no_name_does(
    directories: str, target: str
) -> None:
    """What to watch and whom to tell: one of the two alone is anybody's."""
    told = with_env(OTHER_BOTH, **{directories: "/etc/site", target: "x"})

    assert [["reloader"], []] == [
        ours(APPLICATION, told),
        ours(with_env(OTHER_BOTH, **{target: "x"})),
    ]


def test_who_bears_the_name_is_believed_before_who_is_told_the_like() -> None:
    """An application with a CONFIG_DIR may call a webhook of its own."""
    lookalike = with_env(
        specs.program(), CONFIG_DIR="/etc/nginx", WEBHOOK_URL="http://chat.example"
    )

    assert ["config-reload"] == ours(lookalike, specs.sidecar())
