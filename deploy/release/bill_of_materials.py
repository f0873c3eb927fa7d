#!/usr/bin/env python3
"""A software bill of materials in CycloneDX 1.5 of what is linked into the host, from `cargo metadata` and Cargo.lock.

Crates that only tests, build scripts or macros use are left out: nothing of them is delivered. librdkafka and OpenSSL
are no crates, and stand in it by the versions that are linked.

    bill_of_materials.py TARGET > millrace.cdx.json
"""

import json
import os
import re
import subprocess
import sys
import uuid
from datetime import datetime, timezone

ROOT = "millrace"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(metadata):
    """The ids of the packages that the root links, with what each of them links."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

    def is_macro(package):
        return any("proc-macro" in target["kind"] for target in packages[package]["targets"])

    def needs(package):
        for dependency in nodes[package]["deps"]:
            kinds = [kind["kind"] for kind in dependency["dep_kinds"]]
            if None in kinds and not is_macro(dependency["pkg"]):
                yield dependency["pkg"]

    (root,) = [package for package, its in packages.items() if its["name"] == ROOT]
    graph, left = {}, [root]
    while left:
        package = left.pop()
        if package not in graph:
            graph[package] = sorted(needs(package))
            left.extend(graph[package])
    return root, packages, graph


def locked_checksums():
    # A reader of TOML came with Python 3.11; cargo writes each package in this very form.
    with open("Cargo.lock", encoding="utf-8") as lock:
        blocks = lock.read().split("[[package]]")[1:]
    fields = [dict(re.findall(r'^(\w+) = "(.*)"$', block, re.MULTILINE)) for block in blocks]
    return {(each["name"], each["version"]): each.get("checksum") for each in fields}


def licences(expression):
    # The form with a slash is older than SPDX's expressions, and means the same.
    return [{"expression": " ".join(expression.replace("/", " OR ").split())}] if expression else []


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    found = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        "licenses": licences(package["license"]),
    }
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def native(packages):
    """The libraries that are no crates, with the crate that links each."""
    by_name = {package["name"]: package for package in packages}
    rdkafka = by_name["rdkafka-sys"]
    # Its own version carries librdkafka's behind a plus sign.
    version = rdkafka["version"].split("+")[1]
    yield rdkafka, "librdkafka", version, "BSD-2-Clause"
    if "openssl-sys" in by_name:
        version = output("pkg-config", "--modversion", "openssl").strip()
        yield by_name["openssl-sys"], "openssl", version, "Apache-2.0"


def main(target):
    options = ("--locked", "--format-version", "1", "--filter-platform", target)
    metadata = json.loads(output("cargo", "metadata", *options))
    checksums = locked_checksums()
    root, packages, graph = linked(metadata)
    crates = [packages[package] for package in graph if package != root]
    components = [component(package, checksums) for package in crates]
    depends = {purl(packages[of]): [purl(packages[on]) for on in sorted(needs)] for of, needs in graph.items()}
    for crate, name, version, licence in native(crates):
        reference = f"pkg:generic/{name}@{version}"
        depends[purl(crate)].append(reference)
        components.append(
            {
                "type": "library",
                "bom-ref": reference,
                "name": name,
                "version": version,
                "purl": reference,
                "licenses": licences(licence),
            }
        )
    components.sort(key=lambda each: each["bom-ref"])
    made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), timezone.utc)
    host = component(packages[root], checksums) | {"type": "application"}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same contents make the same number.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([target, components]))}",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": host,
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": components,
        "dependencies": [{"ref": of, "dependsOn": sorted(set(on))} for of, on in sorted(depends.items())],
    }
    json.dump(bill, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: bill_of_materials.py TARGET, as in x86_64-unknown-linux-gnu")
    main(sys.argv[1])
