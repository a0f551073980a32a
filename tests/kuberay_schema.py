"""What KubeRay and the Prometheus operator take, written after their references.

No package that this project can install has their CRDs. The fields are those of KubeRay 1.7 and of
monitoring.coreos.com/v1, each table whole where the type is KubeRay's own, so that a field which is missing
here is missing there. ``operator_errors``: why KubeRay's controller refuses what its CRD admits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.kubernetes_models import Tables

VERSIONS = {
    "RayService": "ray.io/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}
NAMED = {"apiVersion!": "str", "kind!": "str", "metadata!": "V1ObjectMeta"}

TABLES: Tables = {
    "RayService": NAMED | {"spec!": "RayServiceSpec"},
    "RayServiceSpec": {
        "rayClusterDeletionDelaySeconds": "int",
        "serviceUnhealthySecondThreshold": "int",
        "deploymentUnhealthySecondThreshold": "int",
        "serveService": "V1Service",
        "upgradeStrategy": "RayServiceUpgradeStrategy",
        "managedBy": "str",
        "serveConfigV2": "str",
        "rayClusterConfig!": "RayClusterSpec",
        "excludeHeadPodFromServeSvc": "bool",
        "suspend": "bool",
    },
    "RayServiceUpgradeStrategy": {
        "type": "enum[NewCluster|NewClusterWithIncrementalUpgrade|None]",
        "clusterUpgradeOptions": "ClusterUpgradeOptions",
    },
    "ClusterUpgradeOptions": {
        "maxSurgePercent": "int",
        "stepSizePercent": "int",
        "intervalSeconds": "int",
        "gatewayClassName": "str",
    },
    "RayClusterSpec": {
        "upgradeStrategy": "RayClusterUpgradeStrategy",
        "authOptions": "AuthOptions",
        "suspend": "bool",
        "managedBy": "str",
        "autoscalerOptions": "AutoscalerOptions",
        "headServiceAnnotations": "dict[str, str]",
        "enableInTreeAutoscaling": "bool",
        "gcsFaultToleranceOptions": "GcsFaultToleranceOptions",
        "historyServerOptions": "HistoryServerOptions",
        "networkPolicy": "NetworkPolicyConfig",
        "tlsOptions": "TLSOptions",
        "headGroupSpec!": "HeadGroupSpec",
        "rayVersion": "str",
        "workerGroupSpecs": "list[WorkerGroupSpec]",
    },
    "RayClusterUpgradeStrategy": {"type": "enum[Recreate|None]"},
    "AuthOptions": {"enableK8sTokenAuth": "bool", "secretName": "str", "mode": "enum[disabled|token]"},
    "AutoscalerOptions": {
        "resources": "V1ResourceRequirements",
        "image": "str",
        "imagePullPolicy": "enum[Always|IfNotPresent|Never]",
        "securityContext": "V1SecurityContext",
        "idleTimeoutSeconds": "int",
        "upscalingMode": "enum[Default|Aggressive|Conservative]",
        "version": "enum[v1|v2]",
        "env": "list[V1EnvVar]",
        "envFrom": "list[V1EnvFromSource]",
        "volumeMounts": "list[V1VolumeMount]",
        "command": "list[str]",
        "args": "list[str]",
    },
    "GcsFaultToleranceOptions": {
        "backend": "enum[redis|rocksdb]",
        "redisUsername": "RedisCredential",
        "redisPassword": "RedisCredential",
        "externalStorageNamespace": "str",
        "redisAddress": "str",
        "storage": "GcsEmbeddedStorage",
    },
    "RedisCredential": {"valueFrom": "V1EnvVarSource", "value": "str"},
    "GcsEmbeddedStorage": {
        "claimName": "str",
        "size": "str",
        "storageClassName": "str",
        "accessModes": "list[str]",
        "subPath": "str",
        "deletionPolicy": "enum[DeleteWithCluster|Retain]",
    },
    "HistoryServerOptions": {"collectorOptions": "CollectorOptions"},
    "CollectorOptions": {
        "image": "str",
        "imagePullPolicy": "enum[Always|IfNotPresent|Never]",
        "resources": "V1ResourceRequirements",
        "env": "list[V1EnvVar]",
    },
    "NetworkPolicyConfig": {
        "mode": "enum[DenyAll|DenyAllIngress|DenyAllEgress]",
        "head": "NetworkPolicyRules",
        "worker": "NetworkPolicyRules",
        "workerGroups": "list[WorkerGroupNetworkPolicyRules]",
    },
    "NetworkPolicyRules": {
        "ingressRules": "list[V1NetworkPolicyIngressRule]",
        "egressRules": "list[V1NetworkPolicyEgressRule]",
    },
    "WorkerGroupNetworkPolicyRules": {
        "groupName!": "str",
        "ingressRules": "list[V1NetworkPolicyIngressRule]",
        "egressRules": "list[V1NetworkPolicyEgressRule]",
    },
    "TLSOptions": {"enabled": "bool"},
    "HeadGroupSpec": {
        "template!": "V1PodTemplateSpec",
        "headService": "V1Service",
        "enableIngress": "bool",
        "ingressOptions": "IngressOptions",
        "resources": "dict[str, str]",
        "labels": "dict[str, str]",
        "rayStartParams": "dict[str, str]",
        "serviceType": "enum[ClusterIP|NodePort|LoadBalancer|ExternalName]",
    },
    "IngressOptions": {
        "host": "str",
        "path": "str",
        "pathType": "enum[Exact|Prefix|ImplementationSpecific]",
        "tls": "list[V1IngressTLS]",
    },
    "WorkerGroupSpec": {
        "suspend": "bool",
        "groupName!": "str",
        "replicas": "int",
        "minReplicas!": "int",
        "maxReplicas!": "int",
        "idleTimeoutSeconds": "int",
        "priority": "int",
        "resources": "dict[str, str]",
        "labels": "dict[str, str]",
        "rayStartParams": "dict[str, str]",
        "template!": "V1PodTemplateSpec",
        "scaleStrategy": "ScaleStrategy",
        "numOfHosts": "int",
    },
    "ScaleStrategy": {"workersToDelete": "list[str]"},
    # Of the Prometheus operator only what is used: more is added here, after its reference, when it is.
    "PodMonitor": NAMED | {"spec!": "PodMonitorSpec"},
    "PodMonitorSpec": {
        "selector!": "V1LabelSelector",
        "podMetricsEndpoints": "list[PodMetricsEndpoint]",
        "jobLabel": "str",
        "podTargetLabels": "list[str]",
    },
    "PodMetricsEndpoint": {
        "port": "str",
        "path": "str",
        "interval": "str",
        "scrapeTimeout": "str",
        "relabelings": "list[RelabelConfig]",
        "metricRelabelings": "list[RelabelConfig]",
    },
    "RelabelConfig": {
        "sourceLabels": "list[str]",
        "separator": "str",
        "targetLabel": "str",
        "regex": "str",
        "replacement": "str",
        "action": "enum[replace|keep|drop|labelmap|labeldrop|labelkeep]",
    },
    "PrometheusRule": NAMED | {"spec!": "PrometheusRuleSpec"},
    "PrometheusRuleSpec": {"groups": "list[RuleGroup]"},
    "RuleGroup": {"name!": "str", "interval": "str", "rules": "list[Rule]"},
    "Rule": {
        "alert": "str",
        "record": "str",
        "expr!": "object",
        "for": "str",
        "keep_firing_for": "str",
        "labels": "dict[str, str]",
        "annotations": "dict[str, str]",
    },
}

NAME_LENGTH = 47  # KubeRay appends to it, up to the 63 characters of a service's name
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
TOKENS_SINCE = (2, 52, 0)


def operator_errors(service: Mapping[str, Any]) -> Iterator[str]:
    """For which reasons KubeRay's controller refuses a RayService."""
    name, spec = service["metadata"]["name"], service["spec"]["rayClusterConfig"]
    if len(name) > NAME_LENGTH or not DNS_1035.fullmatch(name):
        yield f"name {name!r}"
    yield from _head_errors(spec)
    groups = spec.get("workerGroupSpecs", [])
    if len({group["groupName"] for group in groups}) != len(groups):
        yield "groups of one name"
    for group in [spec["headGroupSpec"], *groups]:
        yield from _group_errors(group, spec)
    if spec.get("authOptions", {}).get("mode") == "token":
        version = tuple(int(part) for part in re.findall(r"\d+", spec.get("rayVersion", ""))[:3])
        if version < TOKENS_SINCE:
            yield "token authentication without rayVersion 2.52.0 or later"


def _head_errors(spec: Mapping[str, Any]) -> Iterator[str]:
    head = spec["headGroupSpec"]
    variables = {one["name"] for one in head["template"]["spec"]["containers"][0].get("env", [])}
    refused = {
        "REDIS_PASSWORD",
        "RAY_REDIS_ADDRESS",
        "REDIS_USERNAME",
        "RAY_enable_autoscaler_v2",
    } & variables
    if refused:
        yield f"variables of the head that the operator sets: {sorted(refused)}"
    if {"redis-password", "redis-username"} & head.get("rayStartParams", {}).keys():
        yield "Redis' password in rayStartParams"


def _group_errors(group: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    name, pod = group.get("groupName", "head"), group["template"]["spec"]
    start = group.get("rayStartParams", {})
    if not pod.get("containers"):
        yield f"{name}: no container"
    if not 0 <= group.get("minReplicas", 0) <= group.get("maxReplicas", 0) and name != "head":
        yield f"{name}: minReplicas above maxReplicas"
    if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & start.keys():
        yield f"{name}: resources twice"
    if "labels" in start:
        yield f"{name}: labels in rayStartParams"
    autoscaled = (
        spec.get("enableInTreeAutoscaling") and spec.get("autoscalerOptions", {}).get("version") != "v1"
    )
    if autoscaled and pod.get("restartPolicy", "Never") != "Never":
        yield f"{name}: restartPolicy {pod['restartPolicy']} with autoscaler v2"
