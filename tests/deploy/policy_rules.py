"""What must hold between the objects of one pool, beyond what a schema can say. Each rule yields its complaints."""

import functools
import json
import os
import re
import subprocess

from harness import BIN_DIR, ROOT

MIB = 1 << 20
READINESS = "quantd.v1.QuantizationService"
LIVENESS = "liveness"
# Environment variables that are not quantd's own, and who reads them.
FOREIGN_ENVIRONMENT = {"OPENBLAS_CORETYPE": "OpenBLAS", "NVIDIA_DRIVER_CAPABILITIES": "NVIDIA's container toolkit"}
CLUSTER_WIDE = {"Namespace", "ClusterIssuer"}
CERT_MANAGER = "cert-manager"  # the namespace where a ClusterIssuer looks for its Secret
VOLUME_TYPES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
                "secret"}
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": MIB, "Gi": 1 << 30, "Ti": 1 << 40}


def size_of(text):
    """Bytes of a Kubernetes quantity (2Gi) or of quantd's notation (2GiB)."""
    number, unit = re.fullmatch(r"([0-9.]+)([KMGT]i|[kMG])?B?", str(text)).groups()
    return int(float(number) * UNITS[unit or ""])


def title(one):
    return f"{one['kind']}/{one['metadata']['name']}"


class Objects:
    """The rendered objects, and what the rules ask them for."""

    def __init__(self, objects):
        self.all = objects

    def of(self, *kinds):
        return [one for one in self.all if one["kind"] in kinds]

    def named(self, kind, name):
        return [one for one in self.of(kind) if one["metadata"]["name"] == name]

    @property
    def deployment(self):
        [deployment] = self.of("Deployment")
        return deployment

    @property
    def pod(self):
        return self.deployment["spec"]["template"]["spec"]

    @property
    def labels(self):
        return self.deployment["spec"]["template"]["metadata"]["labels"]

    @property
    def container(self):
        [container] = self.pod["containers"]
        return container

    @property
    def ports(self):
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def environment(self):
        """What the container finds: its ConfigMaps, then its own variables."""
        found = {}
        for source in self.container.get("envFrom", []):
            for config in self.named("ConfigMap", source["configMapRef"]["name"]):
                found.update(config["data"])
        found.update({one["name"]: one.get("value", "") for one in self.container.get("env", [])})
        return found

    def authority(self):
        """The Certificate that ClusterIssuers sign with, and who issues it."""
        secrets = {one["spec"].get("ca", {}).get("secretName") for one in self.of("ClusterIssuer")}
        certificates = [one for one in self.of("Certificate") if one["spec"]["secretName"] in secrets]
        return certificates + [issuer for one in certificates
                               for issuer in self.named("Issuer", one["spec"]["issuerRef"]["name"])]

    def autoscalers(self):
        return self.of("ScaledObject", "HorizontalPodAutoscaler")


def pod_security_is_restricted(objects):
    pod, container = objects.pod, objects.container
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    for volume in pod.get("volumes", []):
        if not set(volume) - {"name"} <= VOLUME_TYPES:
            yield f"volume {volume['name']}: {set(volume) - {'name'} - VOLUME_TYPES} is not allowed"
    context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    for field, wanted in {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                          "runAsUser": 10001, "runAsGroup": 10001}.items():
        if context.get(field) != wanted:
            yield f"{field}: {context.get(field)} instead of {wanted}"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccompProfile is not RuntimeDefault"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield f"capabilities: {context.get('capabilities')} instead of drop ALL"
    for port in container["ports"]:
        if "hostPort" in port:
            yield f"hostPort {port['hostPort']}"


def namespace_enforces_pod_security(objects):
    for namespace in objects.of("Namespace"):
        labels = namespace["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                yield f"{title(namespace)}: {mode} is not restricted"
            if not re.fullmatch(r"v1\.\d+", labels.get(f"pod-security.kubernetes.io/{mode}-version", "")):
                yield f"{title(namespace)}: {mode} has no pinned version"


def no_token_is_mounted(objects):
    accounts = objects.named("ServiceAccount", objects.pod["serviceAccountName"])
    for one in [objects.pod, *accounts]:
        if one.get("automountServiceAccountToken") is not False:
            yield "a service account's token would be mounted"
    if not accounts:
        yield f"serviceAccountName {objects.pod['serviceAccountName']} does not exist"


def objects_can_be_applied(objects):
    """kubectl apply keeps a copy of each object in an annotation, and annotations end at 256 KiB."""
    for one in objects.all:
        size = len(json.dumps(one))
        if size > 250_000:
            yield f"{title(one)} has {size} bytes: too long for kubectl apply"


def images_are_pinned(objects):
    name, colon, tag = objects.container["image"].rpartition(":")
    if not (colon and name) or tag == "latest" or "/" in tag:
        yield f"image {objects.container['image']} has no fixed tag"


def everything_is_in_one_namespace(objects):
    """But for the CA, which serves all namespaces."""
    [namespace] = [one["metadata"]["name"] for one in objects.of("Namespace")]
    for one in objects.all:
        wanted = CERT_MANAGER if one in objects.authority() else namespace
        if one["kind"] not in CLUSTER_WIDE and one["metadata"].get("namespace") != wanted:
            yield f"{title(one)} is in namespace {one['metadata'].get('namespace')} instead of {wanted}"
    for query in queries(objects) + alert_expressions(objects):
        for asked in re.findall(r'namespace="([^"]*)"', query):
            if asked != namespace:
                yield f"a query asks for namespace {asked}"


def selectors_match(objects):
    for one, selector in selectors(objects):
        if not selector.items() <= objects.labels.items() or not selector:
            yield f"{title(one)} selects {selector}, pods have {objects.labels}"


def selectors(objects):
    yield objects.deployment, objects.deployment["spec"]["selector"]["matchLabels"]
    for one in objects.of("Service"):
        yield one, one["spec"]["selector"]
    for one in objects.of("PodDisruptionBudget", "PodMonitor"):
        yield one, one["spec"]["selector"]["matchLabels"]
    for one in objects.of("NetworkPolicy"):
        yield one, one["spec"]["podSelector"]["matchLabels"]
    for constraint in objects.pod.get("topologySpreadConstraints", []):
        yield objects.deployment, constraint["labelSelector"]["matchLabels"]


def port_names_exist(objects):
    for one in objects.of("Service"):
        yield from unknown_ports(objects, one, [port["targetPort"] for port in one["spec"]["ports"]])
    for one in objects.of("PodMonitor"):
        yield from unknown_ports(objects, one, [endpoint["port"] for endpoint in one["spec"]["podMetricsEndpoints"]])
    for one in objects.of("NetworkPolicy"):
        rules = one["spec"].get("ingress", [])
        yield from unknown_ports(objects, one, [port["port"] for rule in rules for port in rule.get("ports", [])])


def unknown_ports(objects, one, names):
    for name in names:
        if name not in objects.ports:
            yield f"{title(one)}: port {name} is not one of {sorted(objects.ports)}"


def declared_ports_are_listened_on(objects):
    environment = objects.environment()
    for name, option in {"grpc": "QUANTD_LISTEN", "health": "QUANTD_HEALTH_LISTEN",
                         "metrics": "QUANTD_METRICS_LISTEN"}.items():
        if environment.get(option) != f"0.0.0.0:{objects.ports.get(name)}":
            yield f"{option} is {environment.get(option)}, port {name} is {objects.ports.get(name)}"


def probes_ask_the_health_port(objects):
    for probe, service in {"startupProbe": LIVENESS, "livenessProbe": LIVENESS, "readinessProbe": READINESS}.items():
        grpc = objects.container.get(probe, {}).get("grpc", {})
        if grpc.get("port") != objects.ports.get("health"):
            yield f"{probe}: port {grpc.get('port')} is not that of health"
        if grpc.get("service") != service:
            yield f"{probe}: service {grpc.get('service')} instead of {service}"


def pods_have_time_to_leave(objects):
    sleep = objects.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = float(objects.environment()["QUANTD_DRAIN_SECONDS"])
    grace = objects.pod.get("terminationGracePeriodSeconds", 30)
    if sleep < 5:
        yield f"preStop sleeps {sleep} s: names would outlive the pod"
    if sleep + drain + 10 >= grace:
        yield f"terminationGracePeriodSeconds {grace} <= preStop {sleep} + drain {drain:g} + 10"


def rollouts_wait_for_clients(objects):
    """Only where more than one replica serves."""
    spec = objects.deployment["spec"]
    age = float(objects.environment()["QUANTD_MAX_CONNECTION_AGE"])
    if objects.autoscalers() and spec.get("minReadySeconds", 0) < age:
        yield f"minReadySeconds {spec.get('minReadySeconds', 0)} < QUANTD_MAX_CONNECTION_AGE {age:g}"


def memory_follows_the_budget(objects):
    environment, resources = objects.environment(), objects.container["resources"]
    streams = max(int(environment["QUANTD_MAX_QUEUED_JOBS"]), int(environment["QUANTD_MAX_STREAMS"]))
    transport = max(256 * MIB, 6 * MIB * streams + 64 * MIB)
    needed = size_of(environment["QUANTD_BUDGET"]) + transport + 256 * MIB
    limit = size_of(resources["limits"]["memory"])
    if not needed <= limit <= 1.5 * needed:
        yield f"memory limit is {limit / MIB:g} MiB, the budget asks for {needed / MIB:g} to {1.5 * needed / MIB:g} MiB"
    if resources["requests"].get("memory") != resources["limits"]["memory"]:
        yield "memory request and limit differ"


def cpu_is_requested_not_limited(objects):
    resources = objects.container["resources"]
    if "cpu" not in resources["requests"] or "cpu" in resources["limits"]:
        yield f"resources {resources}: a CPU request and no CPU limit is wanted"


@functools.cache
def known_options():
    """QUANTD_* names that this build of quantd reads, out of its own help."""
    done = subprocess.run([os.path.join(BIN_DIR, "quantd"), "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"Env:(QUANTD_[A-Z_]+)", done.stdout))


def options_exist(objects):
    for name in objects.environment():
        if name not in known_options() and name not in FOREIGN_ENVIRONMENT:
            yield f"{name} is no option of quantd"
    for argument in objects.container.get("args", []):
        if "QUANTD_" + argument.partition("=")[0].lstrip("-").upper().replace("-", "_") not in known_options():
            yield f"{argument} is no option of quantd"


def plain_text_or_tls(objects):
    """One of both, said aloud; with TLS the files come from a Secret that is mounted as a folder."""
    environment = objects.environment()
    files = [environment[name] for name in ("QUANTD_TLS_CERT", "QUANTD_TLS_KEY", "QUANTD_TLS_CLIENT_CA")
             if name in environment]
    if (environment.get("QUANTD_INSECURE") == "true") == bool(files):
        yield "neither QUANTD_INSECURE nor TLS, or both"
    folders = [mount["mountPath"] for mount in objects.container.get("volumeMounts", [])]
    for path in files:
        if os.path.dirname(path) not in folders:
            yield f"{path} is in none of the mounts {folders}"
    for mount in objects.container.get("volumeMounts", []):
        if "subPath" in mount:
            yield f"mount {mount['mountPath']}: a subPath never changes, so neither would the certificate"


def secrets_are_made_and_closed(objects):
    made = {(one["metadata"].get("namespace"), one["spec"]["secretName"]) for one in objects.of("Certificate")}
    here = objects.deployment["metadata"].get("namespace")
    for volume in objects.pod.get("volumes", []):
        if "secret" in volume:
            if (here, volume["secret"]["secretName"]) not in made:
                yield f"Secret {volume['secret']['secretName']} is made by no Certificate"
            if volume["secret"].get("defaultMode") != 0o440:
                yield f"volume {volume['name']}: mode {volume['secret'].get('defaultMode', 0o644):o} instead of 440"
            if objects.pod["securityContext"].get("fsGroup") != 10001:
                yield f"volume {volume['name']}: quantd's group 10001 cannot read it"
    yield from issuers_exist(objects)
    for one in objects.of("Issuer", "ClusterIssuer"):
        wanted = (one["metadata"].get("namespace", CERT_MANAGER), one["spec"].get("ca", {}).get("secretName"))
        if "ca" in one["spec"] and wanted not in made:
            yield f"{title(one)}: no Certificate makes Secret {wanted[1]} in namespace {wanted[0]}"


def issuers_exist(objects):
    """An Issuer serves its own namespace, a ClusterIssuer all of them."""
    for one in objects.of("Certificate"):
        reference = one["spec"]["issuerRef"]
        found = objects.named(reference.get("kind", "Issuer"), reference["name"])
        if not any(issuer["metadata"].get("namespace", one["metadata"].get("namespace"))
                   == one["metadata"].get("namespace") for issuer in found):
            yield f"{title(one)}: no {reference.get('kind', 'Issuer')} {reference['name']} for its namespace"


def server_certificate_has_the_service_names(objects):
    for mounted in [volume["secret"]["secretName"] for volume in objects.pod.get("volumes", []) if "secret" in volume]:
        for one in objects.of("Certificate"):
            for service in objects.of("Service"):
                name = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
                if one["spec"]["secretName"] == mounted and name not in one["spec"].get("dnsNames", []):
                    yield f"{title(one)} is not for {name}"


def network_is_closed(objects):
    policies = objects.of("NetworkPolicy")
    if not policies:
        yield "no NetworkPolicy"
    for one in policies:
        spec = one["spec"]
        if set(spec["policyTypes"]) != {"Ingress", "Egress"} or spec.get("egress"):
            yield f"{title(one)}: egress is open"
        for rule in spec["ingress"]:
            if not rule.get("from") or not rule.get("ports"):
                yield f"{title(one)}: ingress from everywhere or to every port"


def service_is_headless(objects):
    for one in objects.of("Service"):
        if one["spec"].get("clusterIP") != "None":
            yield f"{title(one)}: clusterIP {one['spec'].get('clusterIP')}: a connection would stay with one pod"


def references_exist(objects):
    for source in objects.container.get("envFrom", []):
        if not objects.named("ConfigMap", source["configMapRef"]["name"]):
            yield f"ConfigMap {source['configMapRef']['name']} does not exist"
    for one in objects.autoscalers():
        target = one["spec"]["scaleTargetRef"]
        if not objects.named(target.get("kind", "Deployment"), target["name"]):
            yield f"{title(one)}: no {target.get('kind', 'Deployment')}/{target['name']}"


def replicas_have_one_owner(objects):
    scalers, replicas = objects.autoscalers(), objects.deployment["spec"].get("replicas")
    if len(scalers) > 1:
        yield f"{' and '.join(title(one) for one in scalers)} would fight"
    if scalers and replicas is not None:
        yield f"replicas {replicas} beside {title(scalers[0])}"
    if not scalers and replicas is None:
        yield "nobody says how many replicas"


def a_lost_prometheus_scales_nothing_down(objects):
    for one in objects.of("ScaledObject"):
        if one["spec"].get("fallback", {}).get("behavior") != "currentReplicasIfHigher":
            yield f"{title(one)}: no fallback that keeps what is there"
        for trigger in one["spec"]["triggers"]:
            if trigger["metadata"].get("ignoreNullValues") != "false":
                yield f"{title(one)}: trigger {trigger['name']} takes an absent metric for zero"
            if trigger.get("metricType") != "AverageValue":
                yield f"{title(one)}: trigger {trigger['name']} is not per replica"


def queries(objects):
    return [trigger["metadata"]["query"] for one in objects.of("ScaledObject") for trigger in one["spec"]["triggers"]]


def alert_expressions(objects):
    return [rule["expr"] for one in objects.of("PrometheusRule") for group in one["spec"]["groups"]
            for rule in group["rules"]]


@functools.cache
def known_metrics():
    with open(os.path.join(ROOT, "server", "telemetry", "metric_table.h"), encoding="utf-8") as file:
        return set(re.findall(r'"(quantd_[a-z_]+)"', file.read()))


def metrics_exist(objects):
    named = [name for query in queries(objects) for name in re.findall(r"\bquantd_[a-z_]+", query)]
    for one in objects.of("HorizontalPodAutoscaler"):
        named += [metric["pods"]["metric"]["name"] for metric in one["spec"]["metrics"]]
    for name in named:
        if name not in known_metrics():
            yield f"{name} is no metric of quantd"


RULES = (
    pod_security_is_restricted, namespace_enforces_pod_security, no_token_is_mounted, objects_can_be_applied,
    images_are_pinned, everything_is_in_one_namespace, selectors_match, port_names_exist,
    declared_ports_are_listened_on, probes_ask_the_health_port, pods_have_time_to_leave, rollouts_wait_for_clients,
    memory_follows_the_budget, cpu_is_requested_not_limited, options_exist, plain_text_or_tls,
    secrets_are_made_and_closed, server_certificate_has_the_service_names, network_is_closed, service_is_headless,
    references_exist, replicas_have_one_owner, a_lost_prometheus_scales_nothing_down, metrics_exist,
)


def findings(objects, rules=RULES):
    """"RULE: complaint" of all rules."""
    checked = Objects(objects)
    return [f"{rule.__name__}: {complaint}" for rule in rules for complaint in rule(checked)]
