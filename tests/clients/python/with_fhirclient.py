"""fhirclient (SMART Health IT) against Custodia: its models parse strictly what the server sends."""

from fhirclient import client
from fhirclient.models.bundle import Bundle
from fhirclient.models.capabilitystatement import CapabilityStatement
from fhirclient.models.fhirdate import FHIRDate
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import (
    FHIRNotFoundException,
    FHIRPermissionDeniedException,
    FHIRUnauthorizedException,
)
from requests import HTTPError

from clinic import CA, FHIR, OBSERVATIONS, PAGE, chart, patient, raises, step, token


def connect(user):
    """Its own login is SMART's with a browser; a token it is given goes into its session."""
    smart = client.FHIRClient(settings={"app_id": "clients", "api_base": FHIR})
    smart.server.session.verify = CA
    if user:
        smart.server.session.headers["Authorization"] = f"Bearer {token(user)}"
    return smart.server


def main():
    server = connect("physician")
    capability = CapabilityStatement.read_from("metadata", server)
    step("reads the capabilities", capability.fhirVersion == "4.0.1")
    kinds = {one.type for one in capability.rest[0].resource}
    step("which name the types", {"Patient", "Observation", "Encounter"} <= kinds)

    made = Patient(Patient(patient("Fhirclient")).create(server))
    step("creates a patient", made.id is not None and made.meta.versionId == "1")
    read = Patient.read(made.id, server)
    step("reads her as she was written", read.as_json() == made.as_json())

    done = Bundle(Bundle(chart(f"Patient/{made.id}")).create(server))
    statuses = [entry.response.status[:3] for entry in done.entry]
    step("transaction: all are created", statuses == ["201"] * (OBSERVATIONS + 1))

    search = Observation.where({"patient": f"Patient/{made.id}", "_count": str(PAGE)})
    pages = [len(page.entry or []) for page in search.perform_iter(server)]
    step("pages are as long as was asked", pages[0] == PAGE and sum(pages) == OBSERVATIONS)
    everything = list(search.perform_resources_iter(server))
    step("all pages bring each once", len({one.id for one in everything}) == len(everything) == OBSERVATIONS)
    late = Observation.where({"patient": made.id, "date": "gt2024-01-20"})
    step("dates narrow", len(list(late.perform_resources_iter(server))) == OBSERVATIONS - 20)
    either = Observation.where({"patient": made.id, "status": {"$or": ["amended", "final"]}, "_count": "100"})
    step("alternatives are alternatives", len(list(either.perform_resources_iter(server))) == OBSERVATIONS)
    along = Observation.where({"patient": made.id, "_count": "3"}).include("subject")
    page = next(along.perform_iter(server))
    kinds = sorted(entry.resource.resource_type for entry in page.entry)
    step("inclusions come along", kinds == ["Observation"] * 3 + ["Patient"])

    read.birthDate = FHIRDate("1980-03-01")
    server.session.headers["If-Match"] = f'W/"{read.meta.versionId}"'
    changed = Patient(read.update(server))
    step("updates the version it read", changed.meta.versionId == "2" and changed.birthDate.isostring == "1980-03-01")
    step("an update on an old version is refused with 412", raises(HTTPError, lambda: read.update(server), 412))
    del server.session.headers["If-Match"]
    nonsense = Patient(patient("Fhirclient"))
    nonsense.birthDate = FHIRDate("1980")
    nonsense.gender = "unheard of"
    step("a code that R4 does not have is refused with 422", raises(HTTPError, lambda: nonsense.create(server), 422))

    stranger = connect("stranger")
    step("to a stranger she is not there", raises(FHIRNotFoundException, lambda: Patient.read(made.id, stranger)))
    anyone = Observation.where({"patient": made.id})
    step("nor is there anything about her", list(anyone.perform_resources_iter(stranger)) == [])
    step("what no policy permits is refused", raises(FHIRPermissionDeniedException, lambda: stranger.request_json("AuditEvent")))
    step("nobody gets in without a token", raises(FHIRUnauthorizedException, lambda: Patient.read(made.id, connect(None))))

    for one in everything:
        one.delete(server)
    step("deletes the observations", list(search.perform_resources_iter(server)) == [])
    step("what is deleted is gone (410)", raises(HTTPError, lambda: Observation.read(everything[0].id, server), 410))
    # With her record goes the relationship that it stated: to this physician she is not there any more.
    changed.delete(server)
    step("and so is a patient, to whom she was one", raises(FHIRNotFoundException, lambda: Patient.read(made.id, server)))


if __name__ == "__main__":
    main()
