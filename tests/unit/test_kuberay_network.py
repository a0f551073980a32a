"""configs/kuberay/: who may call whom, the edge, and what Prometheus asks."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from scripts.kuberay_config import FOLDER
from tests.kuberay_manifests import (
    manifest,
    manifests,
    pod_templates,
    ray_groups,
    ray_service,
    selected,
)

ROOT = Path(__file__).parents[2]


def test_chroma_admits_only_ray() -> None:
    policy = manifest("NetworkPolicy fashion-chroma")["spec"]
    assert selected(policy["podSelector"]) == {"StatefulSet chroma"}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = policy["ingress"]
    (peer,) = rule["from"]
    assert peer.keys() == {"podSelector"}  # of this namespace
    assert selected(peer["podSelector"]) == {"Ray head", "Ray cpu", "Ray gpu"}
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]
    assert policy["egress"] == []


def test_chroma_is_where_the_service_looks_for_it() -> None:
    (line,) = re.findall(
        r"^CHROMA_URL=http://(.*):(\d+)$", (FOLDER / "settings.env").read_text(), re.MULTILINE
    )
    service = manifest("Service chroma")
    (port,) = service["spec"]["ports"]
    assert (service["metadata"]["name"], str(port["port"])) == line
    (container,) = pod_templates()["StatefulSet chroma"]["spec"]["containers"]
    assert container["ports"] == [{"name": port["targetPort"], "containerPort": 8000}]
    assert container["command"][container["command"].index("--port") + 1] == "8000"


def test_nobody_reaches_ray_without_a_reason() -> None:
    policy = manifest("NetworkPolicy fashion-ray")["spec"]
    assert selected(policy["podSelector"]) == {"Ray head", "Ray cpu", "Ray gpu"}
    own, *others = policy["ingress"]
    assert [selected(peer["podSelector"]) for peer in own["from"]] == [{"Ray head", "Ray cpu", "Ray gpu"}]
    assert all(rule["ports"] for rule in others)
    (edge,) = [rule for rule in others if "namespaceSelector" not in rule["from"][0]]
    assert selected(edge["from"][0]["podSelector"]) == {"Deployment fashion-edge"}
    assert edge["ports"] == [{"protocol": "TCP", "port": 8000}]


def test_the_edge_reaches_no_data() -> None:
    policy = manifest("NetworkPolicy fashion-edge")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert selected(policy["podSelector"]) == {"Deployment fashion-edge"}
    ray_only, names = policy["egress"]
    assert selected(ray_only["to"][0]["podSelector"]) == {"Ray head", "Ray cpu", "Ray gpu"}
    assert [port["port"] for port in names["ports"]] == [53, 53]


def test_only_the_edge_listens_beyond_the_cluster() -> None:
    for name, document in manifests().items():
        if document["kind"] == "Service":
            exposed = document["spec"].get("type", "ClusterIP")
            assert exposed == ("LoadBalancer" if name == "Service fashion-edge" else "ClusterIP")
            (made,) = selected({"matchLabels": document["spec"]["selector"]})
            named = {port["name"] for port in pod_templates()[made]["spec"]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in document["spec"]["ports"]} <= named


def directives(config: str) -> list[str]:
    return [line.split("#")[0].strip() for line in config.splitlines() if line.split("#")[0].strip()]


def test_the_edge_has_its_template_and_calls_the_service_of_those_that_serve() -> None:
    template = (FOLDER / "nginx.conf.template").read_text("utf-8")
    (nginx,) = pod_templates()["Deployment fashion-edge"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in nginx["env"]}
    variables = set(re.findall(r"\$\{(\w+)\}", template))
    assert variables == {"EDGE_NODES", "NGINX_LOCAL_RESOLVERS"}
    # The entry point replaces these and no other: nginx has variables of its own.
    assert all(re.fullmatch(told["NGINX_ENVSUBST_FILTER"] or "", name) for name in variables)
    assert (
        told["EDGE_NODES"] == f"{ray_service()['metadata']['name']}-serve-svc.$(NAMESPACE).svc.cluster.local"
    )
    filled = template.replace("${EDGE_NODES}", "serve").replace("${NGINX_LOCAL_RESOLVERS}", "127.0.0.11")
    config = (ROOT / "configs" / "edge" / "nginx.conf").read_text("utf-8")  # that test_edge.py tries
    assert directives(filled) == directives(config)
    mounts = {mount["mountPath"] for mount in nginx["volumeMounts"]}
    assert mounts == {"/etc/nginx/templates/nginx.conf.template", "/certs", "/tmp"}
    (certificate,) = [
        volume["secret"]
        for volume in pod_templates()["Deployment fashion-edge"]["spec"]["volumes"]
        if "secret" in volume
    ]
    for item in certificate["items"]:
        assert f"/certs/{item['path']};" in template


def test_prometheus_asks_what_compose_s_does() -> None:
    monitor = manifest("PodMonitor fashion-ray")["spec"]
    assert selected(monitor["selector"]) == {"Ray head", "Ray cpu", "Ray gpu"}
    config = yaml.safe_load((ROOT / "configs" / "monitoring" / "prometheus.yml").read_text("utf-8"))
    expected = {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in config["scrape_configs"]}
    for group in ray_groups():
        ports = {
            port["name"]: port["containerPort"]
            for port in group["template"]["spec"]["containers"][0]["ports"]
        }
        found = {}
        for endpoint in monitor["podMetricsEndpoints"]:
            (rule,) = endpoint["relabelings"]
            assert rule["targetLabel"] == "job"
            found[rule["replacement"]] = ports[endpoint["port"]]
        assert found == expected
