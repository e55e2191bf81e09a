"""One overlay of deploy/kustomize as the tests look at it."""

import pathlib

from kustomize import containers_of, render
from shipped import settings
from world import ROOT

FOLDER = ROOT / "deploy/kustomize"


class Rendered:
    """One overlay: its objects, the pod with Tollgate in it and the configuration in effect there."""

    def __init__(self, name, folder):
        self.objects = render(FOLDER / "overlays" / name)
        pairs = [(found, each) for found in self.all("Deployment") for each in containers_of(found)]
        ((self.workload, self.container),) = (pair for pair in pairs if pair[1]["name"] == "tollgate")
        self.pod = self.workload["spec"]["template"]["spec"]
        volume = next(each for each in self.pod["volumes"] if each["name"] == "tollgate-config")
        (source,) = (each for each in self.all("ConfigMap") if each["metadata"]["name"] == volume["configMap"]["name"])
        (self.file_name,) = source["data"]
        self.file = folder / self.file_name
        self.file.write_text(source["data"][self.file_name])
        self.settings = settings(self.file)

    def all(self, kind):
        return [found for found in self.objects if found["kind"] == kind]

    def named(self, kind, name):
        (one,) = (found for found in self.all(kind) if found["metadata"]["name"] == name)
        return one

    def port(self, name):
        return next(port["containerPort"] for port in self.container["ports"] if port["name"] == name)

    def probes(self):
        return {kind: self.container[kind]["httpGet"] for kind in self.container if kind.endswith("Probe")}

    def volume_at(self, directory):
        """The volume in which `directory` of the configuration lies."""
        mounts = [mount for mount in self.container["volumeMounts"] if pathlib.Path(directory).is_relative_to(mount["mountPath"])]
        (mount,) = mounts
        return next(each for each in self.pod["volumes"] if each["name"] == mount["name"])
