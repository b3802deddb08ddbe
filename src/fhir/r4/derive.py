#!/usr/bin/env python3
"""Derives definitions.txt.gz from the official FHIR R4 definitions.

    derive.py STRUCTUREDEFINITIONS VALUESETS CODESYSTEMS > definitions.txt.gz

Each argument is newline-delimited JSON (gzip): the StructureDefinitions of all types, the ValueSets and the
CodeSystems of the npm package hl7.fhir.r4.examples@4.0.1. README.md says what the lines mean.
"""
import gzip
import json
import sys

MAGIC = "custodia-r4-definitions 2"
CODES_MAX = 1000
# Invariants the validator keeps without an expression: they stand at every element, or need more than FHIRPath.
NATIVE = {"ele-1", "ext-1", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6", "ref-1", "txt-1", "txt-2"}


def ndjson(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def codes_of(concepts):
    for concept in concepts:
        yield concept["code"]
        yield from codes_of(concept.get("concept", []))


def expand(value_set, code_systems):
    """[(system, [code])] of an enumerable ValueSet, or None."""
    compose = value_set.get("compose", {})
    if "exclude" in compose:
        return None
    systems = {}
    for include in compose.get("include", []):
        if "filter" in include or "valueSet" in include:
            return None
        system = include["system"]
        if "concept" in include:
            codes = [concept["code"] for concept in include["concept"]]
        elif code_systems.get(system, {}).get("content") == "complete":
            codes = list(codes_of(code_systems[system]["concept"]))
        else:
            return None
        systems.setdefault(system, set()).update(codes)
    if sum(map(len, systems.values())) > CODES_MAX:
        return None
    return sorted((system, sorted(codes)) for system, codes in systems.items())


def invariants(element):
    """The lines of an element's invariants."""
    for constraint in element.get("constraint", []):
        if constraint["key"] in NATIVE or "expression" not in constraint:
            continue
        texts = [" ".join(constraint[name].split()) for name in ("expression", "human")]
        yield ("I", constraint["severity"], constraint["key"], *texts)


def simple_quantities(element):
    """The invariant of SimpleQuantity, which elements name as the profile of their Quantity."""
    profiles = [p for kind in element.get("type", []) for p in kind.get("profile", [])]
    if any(p.endswith("/SimpleQuantity") for p in profiles):
        yield ("I", "error", "sqty-1", "comparator.empty()", "The comparator is not used on a SimpleQuantity")


def type_words(element, children, references):
    """How the line names each type an element may have."""
    if "contentReference" in element:
        return ["@" + element["contentReference"].split("#")[-1]]
    if children:
        return ["@" + element["path"]]
    words = []
    for kind in element["type"]:
        code = kind["code"]
        if code.startswith("http://hl7.org/fhirpath/"):
            # The compiler types: Resource.id is an id, Extension.url a uri, Element.id a string.
            code = {"Extension.url": "uri"}.get(element["path"], "string")
            if element["path"].count(".") == 1 and element["path"].split(".")[0] in references:
                code = "id"
        if code == "Resource":
            code = "*"
        targets = sorted({p.split("/")[-1] for p in kind.get("targetProfile", [])})
        if code == "Reference" and targets and "Resource" not in targets:
            code += ":" + ",".join(targets)
        words.append(code)
    return words


def main(structures_path, value_sets_path, code_systems_path):
    value_sets = {v["url"]: v for v in ndjson(value_sets_path)}
    code_systems = {c["url"]: c for c in ndjson(code_systems_path)}
    # Element is abstract, and what an underscore member such as _birthDate holds.
    structures = [
        s
        for s in ndjson(structures_path)
        if s["name"] == "Element" or not s["abstract"] and s["kind"] != "primitive-type"
    ]
    structures.sort(key=lambda s: s["name"])
    resources = {s["name"] for s in structures if s["kind"] == "resource"}
    bound, types = {}, []
    for structure in structures:
        elements = structure["snapshot"]["element"]
        parents = {e["path"].rpartition(".")[0] for e in elements}
        by_parent = {}
        for element in elements[1:]:
            path = element["path"]
            parent, _, name = path.rpartition(".")
            binding = element.get("binding", {})
            value_set = "-"
            if binding.get("strength") == "required":
                value_set = binding["valueSet"].split("|")[0]
                if value_set not in bound:
                    expansion = expand(value_sets[value_set], code_systems) if value_set in value_sets else None
                    bound[value_set] = expansion
            if element["max"] not in ("1", "*"):
                sys.exit(path + ": a maximum that the format has no word for")
            flags = "".join(
                letter for letter, key in (("m", "isModifier"), ("s", "isSummary")) if element.get(key)
            )
            words = type_words(element, path in parents, resources)
            into = by_parent.setdefault(parent, [])
            into.append(("E", name, str(element["min"]), element["max"], flags or "-", value_set, *words))
            if path not in parents:
                into.extend(invariants(element))
                into.extend(simple_quantities(element))
        for parent, lines in by_parent.items():
            kind = "B" if "." in parent else "R" if structure["kind"] == "resource" else "C"
            own = next(e for e in elements if e["path"] == parent)
            types.append([("T", kind, parent), *invariants(own), *lines])
    out = [MAGIC]
    for url in sorted(bound):
        out.append("V\t" + url)
        for system, codes in bound[url] or []:
            out.append("\t".join(["S", system, *codes]))
    for lines in types:
        out.extend("\t".join(line) for line in lines)
    sys.stdout.buffer.write(gzip.compress(("\n".join(out) + "\n").encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
