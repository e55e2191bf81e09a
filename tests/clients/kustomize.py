"""Renders the part of kustomize that deploy/kustomize uses, and refuses the rest.

The registries that the tests may use have no kustomize. Where the machine has one, test_kubernetes.py compares the two.
"""

import copy
import pathlib

import yaml

KINDS = {"Kustomization", "Component"}
KNOWN = {"apiVersion", "kind", "resources", "components", "patches", "configMapGenerator", "generatorOptions"}
KNOWN |= {"namespace", "images"}
CLUSTER_WIDE = {"Namespace"}
# By which field the items of a list are told apart, as Kubernetes' own merge has it; other lists are replaced.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "hostAliases": "ip",
}


def documents(path):
    return [document for document in yaml.safe_load_all(pathlib.Path(path).read_text()) if document]


def render(folder, given=()):
    """All objects of the kustomization in `folder`; a component works on those that are `given`."""
    folder = pathlib.Path(folder)
    (wanted,) = documents(folder / "kustomization.yaml")
    assert wanted["kind"] in KINDS, wanted["kind"]
    assert not wanted.keys() - KNOWN, f"{folder}: {wanted.keys() - KNOWN} is not known here"
    objects = list(given)
    for name in wanted.get("resources", []):
        path = folder / name
        objects += render(path) if path.is_dir() else documents(path)
    for name in wanted.get("components", []):
        objects = render(folder / name, objects)
    for generator in wanted.get("configMapGenerator", []):
        assert wanted["generatorOptions"] == {"disableNameSuffixHash": True}, folder
        generate(objects, folder, generator)
    for patch in wanted.get("patches", []):
        apply_patch(objects, folder, patch)
    for found in objects if "namespace" in wanted else []:
        if found["kind"] not in CLUSTER_WIDE:
            found["metadata"]["namespace"] = wanted["namespace"]
    for image in wanted.get("images", []):
        for container in (each for found in objects for each in containers_of(found)):
            if container["image"].partition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    keys = [(found["kind"], found["metadata"]["name"]) for found in objects]
    assert len(keys) == len(set(keys)), f"{folder}: something is there twice"
    return objects


def containers_of(found):
    pod = found.get("spec", {}).get("template", {}).get("spec", {})
    return pod.get("initContainers", []) + pod.get("containers", [])


def generate(objects, folder, generator):
    data = {pathlib.Path(file).name: (folder / file).read_text() for file in generator["files"]}
    if generator.get("behavior") == "merge":
        (earlier,) = (
            found for found in objects if found["kind"] == "ConfigMap" and found["metadata"]["name"] == generator["name"]
        )
        earlier["data"] |= data
        return
    assert "behavior" not in generator, generator
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data})


def apply_patch(objects, folder, patch):
    text = patch["patch"] if "patch" in patch else (folder / patch["path"]).read_text()
    change = yaml.safe_load(text)
    targets = [found for found in objects if is_target(found, patch["target"])]
    assert targets, f"{folder}: nothing to patch"
    for found in targets:
        if isinstance(change, list):
            for step in change:
                apply_step(found, step)
        else:
            named = {"name": found["metadata"]["name"]}
            merge(found, change | {"metadata": change["metadata"] | named})


def is_target(found, target):
    assert not target.keys() - {"kind", "name", "labelSelector"}, target
    labels = found["metadata"].get("labels", {})
    wanted = dict([target["labelSelector"].split("=")]) if "labelSelector" in target else {}
    return (
        found["kind"] == target.get("kind", found["kind"])
        and found["metadata"]["name"] == target.get("name", found["metadata"]["name"])
        and wanted.items() <= labels.items()
    )


def apply_step(found, step):
    assert step["op"] == "add", step
    *way, last = step["path"].strip("/").split("/")
    for part in way:
        found = found[int(part)] if isinstance(found, list) else found[part]
    if isinstance(found, list):
        assert last == "-", step
        found.append(copy.deepcopy(step["value"]))
    else:
        found[last] = copy.deepcopy(step["value"])


def merge(into, change):
    """A strategic merge of what has no directives."""
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        elif name in MERGE_KEYS and isinstance(into.get(name), list):
            merge_list(into[name], value, MERGE_KEYS[name])
        else:
            into[name] = copy.deepcopy(value)


def merge_list(into, change, key):
    """What is new comes first."""
    known = {item[key]: item for item in into}
    for item in change:
        if item[key] in known:
            merge(known[item[key]], item)
    into[:0] = [copy.deepcopy(item) for item in change if item[key] not in known]
