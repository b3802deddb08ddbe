#!/usr/bin/env python3
"""Makes synthea.ndjson.zst, the records of the demo, from Synthea's R4 transaction bundles.

usage: prepare.py FOLDER [OUT]      FOLDER holds *.json or *.json.gz; needs `zstd`

The same input gives the same output, byte by byte. One transaction Bundle a line: the directory (organisations,
practitioners, the demo's own three practitioners) first, then one patient a line.
"""

import gzip
import json
import pathlib
import subprocess
import sys

# As in people.rs.
PHYSICIAN = "3f5d0e9a-6f0c-4c4e-9c3b-0d8f6a1b2c01"
STRANGER = "3f5d0e9a-6f0c-4c4e-9c3b-0d8f6a1b2c02"
NURSE = "3f5d0e9a-6f0c-4c4e-9c3b-0d8f6a1b2c03"
CHART = "22d7a9b8-7756-4eb7-a95f-6e86e0c93761"

OF_EACH_GENDER = 12
# Every sixth patient has no general practitioner here.
WITHOUT = 6
DIRECTORY = ("Organization", "Practitioner")
# Billing is not shown and is half of the bytes.
DROPPED = ("Claim", "ExplanationOfBenefit")


def load(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def of_type(bundle, kind):
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def choose(folder):
    """The smallest charts, as many women as men."""
    chosen = {"female": [], "male": []}
    files = [p for p in folder.iterdir() if p.name.endswith((".json", ".json.gz"))]
    for path in sorted(files, key=lambda p: (p.stat().st_size, p.name)):
        bundle = load(path)
        patients = of_type(bundle, "Patient")
        if len(patients) != 1:
            continue
        of_gender = chosen.get(patients[0]["gender"], [])
        if len(of_gender) < OF_EACH_GENDER:
            of_gender.append(bundle)
        if all(len(some) == OF_EACH_GENDER for some in chosen.values()):
            break
    return [bundle for pair in zip(chosen["female"], chosen["male"]) for bundle in pair]


def resolve(value, names):
    """Replaces urn:uuid references by Type/id."""
    if isinstance(value, dict):
        return {k: names[v] if k == "reference" and v.startswith("urn:uuid:") else resolve(v, names)
                for k, v in value.items()}
    if isinstance(value, list):
        return [resolve(item, names) for item in value]
    return value


def put(resource):
    url = f'{resource["resourceType"]}/{resource["id"]}'
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def transaction(resources):
    return {"resourceType": "Bundle", "type": "transaction", "entry": [put(r) for r in resources]}


def practitioner(ident, family, given, prefix):
    name = {"use": "official", "family": family, "given": [given], "prefix": [prefix]}
    return {"resourceType": "Practitioner", "id": ident, "active": True, "name": [name]}


def care_team(patient):
    """Who looks after the patient whose chart the tour reads."""
    member = [{"member": {"reference": f"Practitioner/{who}"}} for who in (PHYSICIAN, NURSE)]
    return {"resourceType": "CareTeam", "id": f"team-{patient}", "status": "active", "name": "Ward team",
            "subject": {"reference": f"Patient/{patient}"}, "participant": member}


def main(folder, out):
    directory = {
        PHYSICIAN: practitioner(PHYSICIAN, "Okafor", "Ada", "Dr."),
        STRANGER: practitioner(STRANGER, "Lindqvist", "Nils", "Dr."),
        NURSE: practitioner(NURSE, "Moreau", "Claire", "RN"),
    }
    charts = []
    for index, bundle in enumerate(choose(folder)):
        resources = [e["resource"] for e in bundle["entry"]]
        resources = [r for r in resources if r["resourceType"] not in DROPPED]
        names = {"urn:uuid:" + r["id"]: f'{r["resourceType"]}/{r["id"]}' for r in resources}
        chart = []
        for resource in (resolve(r, names) for r in resources):
            if resource["resourceType"] in DIRECTORY:
                directory.setdefault(resource["id"], resource)
                continue
            if resource["resourceType"] == "Patient":
                treated = index % WITHOUT != WITHOUT - 1 or resource["id"] == CHART
                if treated:
                    resource["generalPractitioner"] = [{"reference": f"Practitioner/{PHYSICIAN}"}]
                if resource["id"] == CHART:
                    chart.append(care_team(CHART))
            chart.append(resource)
        charts.append(transaction(chart))
    if not any(CHART == of_type(chart, "Patient")[0]["id"] for chart in charts):
        sys.exit(f"the patient of the tour, {CHART}, is not among the chosen")
    lines = [transaction(directory.values()), *charts]
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    pressed = subprocess.run(["zstd", "-19", "-c"], input=text.encode(), check=True, stdout=subprocess.PIPE)
    out.write_bytes(pressed.stdout)
    count = sum(len(line["entry"]) for line in lines)
    print(f"{len(charts)} patients, {count} resources, {len(text.encode())} bytes, {len(pressed.stdout)} pressed")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    beside = pathlib.Path(__file__).with_name("synthea.ndjson.zst")
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else beside)
