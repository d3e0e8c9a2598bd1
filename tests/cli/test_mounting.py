"""Who uses an object, and who can take a change of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from sidecar import volume
from sidecar.cli.mounting import Member, Use, members, mounted
from sidecar.cli.objects import Kind, Reference, Source
from sidecar.cli.stage import Stage
from sidecar.selection import Selection
from tests.cli import specs
from tests.cli.specs import Document, mount, pod, program, sidecar
from tests.kubelet import KubeletVolume

CONTENT = {"site.conf": b"one", "notes.txt": b"two"}
EXAMPLES = Path(__file__).parent.parent.parent / "manifests" / "examples"
NAMES = frozenset(CONTENT)
SITE = Source(Reference(Kind.CONFIG_MAP, "site"), 0.0, NAMES, CONTENT)
TLS = Source(Reference(Kind.SECRET, "tls"), 0.0, frozenset({"tls.crt", "tls.key"}))


def found(*documents: Document, sources: tuple[Source, ...] = (SITE,)) -> list[Member]:
    """Return the pods that use one of the sources."""
    return members(specs.decoded(*documents), sources)


def use(document: Document, source: Source = SITE) -> Use:
    """Return the one use of the one pod."""
    [member] = found(document, sources=(source,))
    [only] = member.uses
    return only


def digests(document: Document, source: Source = SITE) -> list[tuple[str, str | None]]:
    """Return where the sidecar sees the one use, and the digest that it comes to."""
    return [(place.path, place.digest) for place in use(document, source).places]


def stage(document: Document, source: Source = SITE) -> Stage | None:
    """Return what keeps the one pod from being followed, if anything."""
    obstacle = use(document, source).obstacle
    return obstacle.stage if obstacle else None


def digest_of(files: dict[str, bytes], tmp_path: Path, selection: Selection) -> str:
    """Return what the sidecar makes of these files."""
    written = KubeletVolume(tmp_path / "volume")
    written.write(files)
    return volume.read(str(written.path), selection).digest


def test_the_digest_is_the_one_that_the_sidecar_makes_of_the_files(
    tmp_path: Path,
) -> None:
    """Two programs compute it, from the object and from the volume."""
    expected = digest_of(CONTENT, tmp_path, Selection(["*"]))

    assert [("/etc/site", expected)] == digests(pod())


def test_the_digest_heeds_items_and_the_sidecars_lists(tmp_path: Path) -> None:
    """Only selected keys count, under the paths that the volume gives them."""
    items = [
        {"key": "site.conf", "path": "conf.d/a.conf"},
        {"key": "notes.txt", "path": "conf.d/b.txt"},
    ]
    document = pod(
        containers=[
            program(mount("/etc/nginx")),
            sidecar(env={"WATCH_INCLUDE": "conf.d/*", "WATCH_EXCLUDE": "*.txt"}),
        ],
        volumes=[{"name": "site", "configMap": {"name": "site", "items": items}}],
    )
    files = {"conf.d/a.conf": b"one", "conf.d/b.txt": b"two"}
    expected = digest_of(files, tmp_path, Selection(["conf.d/*"], ["*.txt"]))

    assert [("/etc/site", expected)] == digests(document)


@pytest.mark.parametrize(
    "variables",
    [
        [{"name": "WATCH_INCLUDE", "value": "$(GLOBS)"}],
        [{"name": "WATCH_INCLUDE", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
        [{"name": "WATCH_INCLUDE", "value": "[broken"}],
    ],
)
def test_what_the_spec_does_not_say_literally_makes_no_digest(
    variables: list[Document],
) -> None:
    """A digest that is guessed would never be seen."""
    ours = sidecar()
    ours["env"] += variables

    assert [("/etc/site", None)] == digests(pod(containers=[ours]))


def test_of_two_variables_of_one_name_the_later_counts() -> None:
    """As for the kubelet, which makes the environment of them."""
    ours = sidecar(env={"HTTP_LISTEN": ":1"})
    ours["env"] += [{"name": "HTTP_LISTEN", "value": ":2"}]

    assert 2 == use(pod(containers=[ours])).port


def test_a_variable_may_come_from_elsewhere_as_a_whole() -> None:
    """With `envFrom` nobody knows from the spec what is not written there."""
    ours = sidecar()
    ours["envFrom"] = [{"configMapRef": {"name": "settings"}}]

    assert [("/etc/site", None)] == digests(pod(containers=[ours]))


def test_a_volume_inside_another_makes_no_digest() -> None:
    """Its keys are read with the rest, and they are none of the object's."""
    ours = sidecar(mount("/etc/site"), mount("/etc/site/more", "other"))

    assert [("/etc/site", None)] == digests(pod(containers=[ours]))


def test_secrets_and_projected_volumes_make_no_digest() -> None:
    """Their digests are not shown, or only under a key."""
    projected = {"sources": [{"configMap": {"name": "site"}}]}
    of_secret = pod(volumes=[{"name": "site", "secret": {"secretName": "tls"}}])
    of_both = pod(volumes=[{"name": "site", "projected": projected}])

    unknown = [("/etc/site", None)]
    assert [unknown, unknown] == [digests(of_secret, TLS), digests(of_both)]


def keys(volume: Document, source: Source = TLS) -> tuple[frozenset[str] | None, bool]:
    """Return the names of the object's files in a volume, and if others are there."""
    ours = sidecar(env={"WATCH_EXCLUDE": "*.old"})
    document = pod(containers=[ours], volumes=[{"name": "site", **volume}])
    [place] = use(document, source).places
    return place.keys, place.is_shared


def test_the_names_of_the_files_are_known_where_the_content_is_not() -> None:
    """`/status` shows them of everything: a key that is missing has not come yet."""
    source = replace(TLS, keys=TLS.keys | {"tls.old"})
    chosen = [{"key": "tls.key", "path": "private/key"}, {"key": "absent", "path": "x"}]
    secret = {"name": "tls", "items": chosen, "optional": True}

    assert [(TLS.keys, False), (frozenset({"private/key"}), False)] == [
        keys({"secret": {"secretName": "tls"}}, source),
        keys({"projected": {"sources": [{"secret": secret}]}}, source),
    ]


def test_what_a_projected_volume_has_of_the_pod_itself_is_known_by_name_too() -> None:
    """A token lies beside the certificate."""
    label = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    sources = [
        {"secret": {"name": "tls"}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [label]}},
    ]

    expected = TLS.keys | {"token", "labels"}
    assert (expected, False) == keys({"projected": {"sources": sources}})


@pytest.mark.parametrize(
    "other", [{"configMap": {"name": "site"}}, {"clusterTrustBundle": {"path": "ca"}}]
)
def test_in_a_projected_volume_others_files_may_lie_beside_them(
    other: Document,
) -> None:
    """They are neither missing nor too many; new kinds of them come now and then."""
    sources = [{"secret": {"name": "tls"}}, other]

    assert (TLS.keys, True) == keys({"projected": {"sources": sources}})


def test_a_sidecar_whose_lists_are_not_known_makes_no_names() -> None:
    """What is guessed would be waited for."""
    ours = sidecar(env={"WATCH_INCLUDE": "$(GLOBS)"})
    [place] = use(pod(containers=[ours])).places

    assert place.keys is None


@pytest.mark.parametrize("spelt", ["/etc/site/", "//etc/./site", " /etc/site "])
def test_paths_are_compared_as_the_sidecar_shows_them(spelt: str) -> None:
    """Nobody is careful with slashes."""
    document = pod(containers=[sidecar(env={"WATCH_DIRS": f"/etc/other,{spelt}"})])

    assert ["/etc/site"] == [place.path for place in use(document).places]


@pytest.mark.parametrize(
    ("containers", "why"),
    [
        ([program(mount("/a", subPath="site.conf")), sidecar()], "subPath"),
        ([program(mount("/a", subPathExpr="$(A)")), sidecar()], "subPath"),
        ([program(envFrom=[{"configMapRef": {"name": "site"}}])], "envFrom"),
        (
            [
                program(
                    env=[
                        {
                            "name": "A",
                            "valueFrom": {
                                "configMapKeyRef": {"name": "site", "key": "a"}
                            },
                        }
                    ]
                ),
                sidecar(),
            ],
            "by env,",
        ),
    ],
)
def test_what_only_a_restart_changes_is_said_at_once(
    containers: list[Document], why: str
) -> None:
    """The sidecar sees the new files, but the program never will."""
    obstacle = use(pod(containers=containers)).obstacle

    assert obstacle
    assert (Stage.RESTART, True) == (obstacle.stage, why in obstacle.detail)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"RELOAD_SIGNAL": "SIGTERM"}, None),
        ({"RELOAD_SIGNAL": "9"}, None),
        ({"ROLLOUT": "deployment/web"}, None),
        ({"RELOAD_SIGNAL": "SIGHUP"}, Stage.RESTART),
        ({"RELOAD_SIGNAL": "$(SIGNAL)"}, Stage.RESTART),
        ({"RELOAD_SIGNAL": "SIGTERM", "WATCH_DIRS": "/etc/other"}, Stage.RESTART),
    ],
)
def test_a_sidecar_that_restarts_the_program_heals_what_only_a_restart_changes(
    told: dict[str, str], expected: Stage | None
) -> None:
    """It watches the whole volume, and ends who reads a part of what was there."""
    reader = program(mount("/a", subPath="site.conf"))

    assert expected == stage(pod(containers=[reader, sidecar(env=told)]))


@pytest.mark.parametrize("example", ["restart", "rollout"])
def test_the_examples_of_programs_that_can_not_reload_are_followed(
    example: str,
) -> None:
    """They read by subPath and `env`, and their sidecars mend that."""
    text = (EXAMPLES / example / "web.yaml").read_text()
    [workload] = [
        document
        for document in YAML(typ="safe").load_all(text)
        if document["kind"] == "Deployment"
    ]
    spec = workload["spec"]["template"]["spec"]
    [name] = {
        volume["configMap"]["name"]
        for volume in spec["volumes"]
        if "configMap" in volume and volume["configMap"]["name"] != "kube-root-ca.crt"
    }
    running = pod() | {"spec": {**spec, "nodeName": "node1"}}
    source = replace(SITE, reference=Reference(Kind.CONFIG_MAP, name))

    assert stage(running, source) is None


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        (
            [program(mount("/a"), envFrom=[{"configMapRef": {"name": "site"}}])],
            "nginx reads it by envFrom, too",
        ),
        (
            [
                program(mount("/a")),
                {**program(mount("/b", subPath="site.conf")), "name": "exporter"},
            ],
            "exporter reads it by subPath, too",
        ),
    ],
)
def test_who_reads_it_in_another_way_too_is_followed_and_needs_a_restart(
    containers: list[Document], said: str
) -> None:
    """The volume is new and the rest is not: to call that all of it would be a lie."""
    [member] = found(pod(containers=[*containers, sidecar()]))
    followed, stuck = member.uses

    assert (None, 9533) == (followed.obstacle, followed.port)
    assert stuck.obstacle
    assert (Stage.RESTART, True) == (
        stuck.obstacle.stage,
        stuck.obstacle.detail.startswith(said),
    )


def test_who_reads_it_in_another_way_too_and_is_restarted_lacks_nothing() -> None:
    """It reads all of it anew."""
    both = program(mount("/a"), envFrom=[{"configMapRef": {"name": "site"}}])
    told = {"RELOAD_SIGNAL": "SIGTERM"}

    assert stage(pod(containers=[both, sidecar(env=told)])) is None


def test_a_pod_without_a_node_has_read_nothing_yet() -> None:
    """Not even by subPath: it needs no restart."""
    reader = program(mount("/a", subPath="site.conf"))

    assert Stage.PENDING == stage(pod(containers=[reader], nodeName=None))


def test_init_containers_that_have_ended_read_nothing_any_more() -> None:
    """A native sidecar is one that goes on."""
    early = {**program(mount("/a")), "name": "early"}
    native = {**sidecar(), "restartPolicy": "Always"}

    assert [Stage.RESTART, None] == [
        stage(pod(containers=[program()], initContainers=[early])),
        stage(pod(containers=[program(mount("/a"))], initContainers=[native])),
    ]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (pod(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}), "mirror"),
        (pod(containers=[program(mount("/a"))]), "add the sidecar"),
        (pod(containers=[program(mount("/a")), sidecar(mount("/b"))]), "WATCH_DIRS"),
        (pod(containers=[sidecar(env={"HTTP_LISTEN": "off"})]), "HTTP_LISTEN"),
        (pod(containers=[sidecar(env={"HTTP_LISTEN": "127.0.0.1:1"})]), "HTTP_LISTEN"),
        (pod(containers=[sidecar(env={"HTTP_LISTEN": ":0"})]), "HTTP_LISTEN"),
        (pod(nodeName=None), "when it starts"),
    ],
)
def test_each_obstacle_says_what_to_change(document: Document, expected: str) -> None:
    """A person who reads it need not ask."""
    obstacle = use(document).obstacle

    assert obstacle
    assert expected in f"{obstacle.stage} {obstacle.detail}"


def test_a_key_that_the_object_lacks_keeps_the_kubelet_from_updating() -> None:
    """It leaves the whole volume as it is, unless the source is optional."""
    items = [{"key": "gone", "path": "a"}]
    asks = {"name": "site", "items": items}
    of_secret = {"secretName": "tls", "items": items}
    strict = pod(volumes=[{"name": "site", "configMap": asks}])
    lenient = pod(volumes=[{"name": "site", "configMap": {**asks, "optional": True}}])
    secret = pod(volumes=[{"name": "site", "secret": of_secret}])

    assert [Stage.REFUSED, None, Stage.REFUSED] == [
        stage(strict),
        stage(lenient),
        stage(secret, TLS),
    ]


@pytest.mark.parametrize(
    ("listen", "port"), [("", 9533), (":8080", 8080), ("8081", 8081), ("[::]:1", 1)]
)
def test_the_port_is_where_the_sidecar_listens(listen: str, port: int) -> None:
    """It is the operator's to choose."""
    document = pod(containers=[sidecar(env={"HTTP_LISTEN": listen})])

    assert port == use(document).port


def test_pods_that_have_ended_or_are_going_do_not_count() -> None:
    """Nobody waits for them."""
    ended = pod("ended") | {"status": {"phase": "Succeeded"}}
    going = pod("going", metadata={"deletionTimestamp": "2026-11-22T12:00:00Z"})

    names = [member.name for member in found(pod("web-1"), ended, going, pod("web-0"))]

    assert ["web-0", "web-1"] == names


def test_whether_a_pod_is_ready_is_noted() -> None:
    """Those of a node whose kubelet is silent are not, after less than a minute."""
    conditions = {"conditions": [{"type": "Ready", "status": "False"}]}
    silent = pod("web-1") | {"status": {"phase": "Running", **conditions}}

    assert [True, False] == [member.ready for member in found(pod("web-0"), silent)]


def test_who_does_not_use_it_is_left_out() -> None:
    """A Secret of the same name is another object."""
    same_name = {"name": "site", "secret": {"secretName": "site"}}

    assert [] == found(pod(volumes=[same_name]), pod(volumes=[], containers=[]))


def test_one_pod_may_use_several_objects() -> None:
    """It is told once, and followed for each."""
    tls = {"name": "tls", "secret": {"secretName": "tls"}}
    both = pod(
        containers=[
            sidecar(
                mount("/etc/site"),
                mount("/etc/tls", "tls"),
                env={"WATCH_DIRS": "/etc/site,/etc/tls"},
            )
        ],
        volumes=[specs.SITE_VOLUME, tls],
    )
    [member] = found(both, sources=(SITE, TLS))

    assert ["/etc/site", "/etc/tls"] == [u.places[0].path for u in member.uses]


def test_each_sidecar_that_watches_it_is_followed() -> None:
    """A pod may have one for each of its programs, and both must hold the content."""
    other = {**sidecar(env={"HTTP_LISTEN": ":9534"}), "name": "config-reload-b"}
    idle = {**sidecar(mount("/etc/other", "other")), "name": "config-reload-c"}
    [member] = found(pod(containers=[program(mount("/a")), sidecar(), other, idle]))

    assert [("config-reload", 9533), ("config-reload-b", 9534)] == [
        (one.sidecar, one.port) for one in member.uses
    ]


def test_the_kubelet_of_an_immutable_object_is_left_alone() -> None:
    """It does not look at the object again."""
    fixed = replace(SITE, immutable=True)
    [member] = found(pod(), sources=(fixed,))

    assert not member.brought


def test_mounted_names_are_what_a_person_may_have_meant() -> None:
    """They are known even to who may not list the objects."""
    sources = [{"configMap": {"name": "a"}}, {"secret": {"name": "b"}}]
    both = pod(
        volumes=[specs.SITE_VOLUME, {"name": "p", "projected": {"sources": sources}}]
    )
    pods = specs.decoded(both)

    assert [{"site", "a"}, {"b"}] == [
        mounted(pods, Kind.CONFIG_MAP),
        mounted(pods, Kind.SECRET),
    ]
