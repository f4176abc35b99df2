"""The cluster examples: what they name exists, and fits together."""

import ast
from pathlib import Path

import yaml

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "cluster"


def test_kubernetes_workers_find_the_scheduler():
    service, *deployments = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    pods = [one["spec"]["template"] for one in deployments]
    for one, pod in zip(deployments, pods, strict=True):
        assert one["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert service["spec"]["selector"] == pods[0]["metadata"]["labels"]
    scheduler, worker = (pod["spec"]["containers"][0]["command"] for pod in pods)
    ports = {each["name"]: each["port"] for each in service["spec"]["ports"]}
    assert scheduler[:4] == ["dask", "scheduler", "--port", str(ports["scheduler"])]
    address = f"tcp://{service['metadata']['name']}:{ports['scheduler']}"
    assert worker[:5] == ["dask", "worker", address, "--nthreads", "1"]


def test_slurm_example_starts_single_thread_workers():
    tree = ast.parse((EXAMPLES / "slurm.py").read_text())
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SLURMCluster"
    )
    given = {one.arg: getattr(one.value, "value", None) for one in call.keywords}
    assert given["cores"] == given["processes"] == 1
