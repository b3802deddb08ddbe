"""What the Python clients share: who they are, whom they write about, and how a step is told.

The environment names the server: PORTAL (https://host:port), CA (a file), and for each of physician and stranger a
password. Nothing here knows more of Custodia than its token endpoint.
"""

import os
import sys

import requests

PORTAL = os.environ["PORTAL"]
FHIR = PORTAL + "/fhir"
CA = os.environ["CA"]
PRACTITIONER = os.environ["PRACTITIONER"]
OBSERVATIONS = 25
PAGE = 7


def token(user):
    """An access token of the token endpoint (RFC 6749 section 4.3)."""
    form = {"grant_type": "password", "username": user, "password": os.environ[user.upper() + "_PASSWORD"]}
    reply = requests.post(PORTAL + "/auth/token", data=form, verify=CA, timeout=60)
    reply.raise_for_status()
    return reply.json()["access_token"]


def patient(family):
    """Somebody whose general practitioner is the physician who registers her."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "https://clients.example/ids", "value": family}],
        "name": [{"family": family, "given": ["Zoë", "Ann"]}],
        "birthDate": "1980-02-29",
        "generalPractitioner": [{"reference": PRACTITIONER}],
    }


def chart(subject):
    """A transaction of observations about her, linked by urn:uuid to an encounter that it creates."""
    visit = "urn:uuid:0c3b1f6e-6b0e-4a6d-8f6e-6a1f0c5d7e01"
    entries = [{
        "fullUrl": visit,
        "request": {"method": "POST", "url": "Encounter"},
        "resource": {
            "resourceType": "Encounter", "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": {"reference": subject},
        },
    }]
    for number in range(OBSERVATIONS):
        entries.append({
            "request": {"method": "POST", "url": "Observation"},
            "resource": {
                "resourceType": "Observation", "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
                "subject": {"reference": subject}, "encounter": {"reference": visit},
                "effectiveDateTime": f"2024-01-{number + 1:02}",
                "valueQuantity": {"value": 36.5, "unit": "C"},
            },
        })
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def step(says, holds):
    """Tells one step, and ends the run where one does not hold."""
    print(("ok    " if holds else "WRONG ") + says, flush=True)
    if not holds:
        sys.exit(1)


def raises(expected, call, status=None):
    """Whether a call fails so; by class, and by HTTP status where the client tells it."""
    try:
        call()
    except expected as error:
        response = getattr(error, "response", None)
        return status is None or getattr(response, "status_code", None) == status
    return False
