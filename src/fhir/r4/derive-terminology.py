#!/usr/bin/env python3
"""Derives terminology.ndjson.gz from the official FHIR R4 CodeSystems, ValueSets and ConceptMaps.

    derive-terminology.py CODESYSTEMS VALUESETS CONCEPTMAPS > terminology.ndjson.gz

Each argument is newline-delimited JSON (gzip) from the npm package hl7.fhir.r4.examples@4.0.1. Kept is what the server
answers with: codes, displays, hierarchy, rules of ValueSets, maps. The same input gives the same bytes.
"""
import gzip
import json
import sys

PROPERTIES = {"notSelectable", "status", "inactive"}
KEPT = {
    "CodeSystem": "resourceType id url version name status caseSensitive valueSet hierarchyMeaning content supplements",
    "ValueSet": "resourceType id url version name status compose expansion",
    "ConceptMap": "resourceType id url version name status sourceUri sourceCanonical targetUri targetCanonical group",
}


def concept(full):
    short = {name: full[name] for name in ("code", "display") if name in full}
    properties = [p for p in full.get("property", []) if p["code"] in PROPERTIES]
    if properties:
        short["property"] = properties
    if "concept" in full:
        short["concept"] = [concept(child) for child in full["concept"]]
    return short


def main(*paths):
    lines = []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as resources:
            for line in filter(str.strip, resources):
                full = json.loads(line)
                short = {name: full[name] for name in KEPT[full["resourceType"]].split() if name in full}
                if full["resourceType"] == "CodeSystem" and "concept" in full:
                    short["concept"] = [concept(child) for child in full["concept"]]
                lines.append(json.dumps(short, ensure_ascii=False, separators=(",", ":")))
    sys.stdout.buffer.write(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
