"""fhirpy against Custodia, as its documentation uses it."""

import fhirpy
from fhirpy.base.exceptions import (
    AuthorizationError,
    ForbiddenError,
    MultipleResourcesFound,
    OperationOutcome,
    ResourceNotFound,
)

from clinic import CA, FHIR, OBSERVATIONS, PAGE, chart, patient, raises, step, token


def client(user):
    authorization = f"Bearer {token(user)}" if user else None
    return fhirpy.SyncFHIRClient(FHIR, authorization=authorization, requests_config={"verify": CA})


def resource(client, content):
    return client.resource(content["resourceType"], **{k: v for k, v in content.items() if k != "resourceType"})


def observations_of(physician, reference):
    return physician.resources("Observation").search(patient=reference)


def main():
    physician = client("physician")

    made = resource(physician, patient("Fhirpy")).create()
    step("creates a patient", made.id and made.meta.versionId == "1")
    read = physician.reference("Patient", made.id).to_resource()
    step("reads her as she was written", read.name == made.name and read.birthDate == "1980-02-29")
    again = physician.resources("Patient").search(_id=made.id).get()
    step("finds her by id", again.id == made.id)
    mine = physician.resources("Patient").search(identifier="https://clients.example/ids|Fhirpy")
    step("finds her by identifier", made.id in [one.id for one in mine.fetch_all()])

    same, is_new = mine.search(_id=made.id).get_or_create(resource(physician, patient("Fhirpy")))
    step("creates nobody where she is (POST with a condition)", not is_new and same.id == made.id)

    done = physician.execute("", method="post", data=chart(f"Patient/{made.id}"))
    statuses = [entry["response"]["status"][:3] for entry in done["entry"]]
    step("transaction: all are created", statuses == ["201"] * (OBSERVATIONS + 1))

    found = observations_of(physician, f"Patient/{made.id}").limit(PAGE)
    first = found.fetch()
    step("a page is as long as was asked", len(first) == PAGE)
    everything = found.fetch_all()
    step("all pages bring each once", len({one.id for one in everything}) == len(everything) == OBSERVATIONS)
    step("the count is that of all", observations_of(physician, f"Patient/{made.id}").count() == OBSERVATIONS)
    early = found.search(date__le="2024-01-05").sort("date").fetch_all()
    dates = [one.effectiveDateTime for one in early]
    step("dates narrow and sort", len(dates) == 5 and dates == sorted(dates))
    with_her = observations_of(physician, made.id).include("Observation", "patient").limit(2).fetch_raw()
    modes = sorted(entry.search.mode for entry in with_her.entry)
    step("inclusions come along", modes == ["include", "match", "match"])
    linked = early[0].encounter.to_resource()
    step("references in transactions lead on", linked.resourceType == "Encounter")
    having = physician.resources("Patient").has("Observation", "patient", code="8310-5").search(_id=made.id)
    step("_has finds her", [one.id for one in having.fetch_all()] == [made.id])

    made["birthDate"] = "1980-03-01"
    made.save()
    step("updates her", made.meta.versionId == "2")
    made.refresh()
    step("asks whether she has changed (If-None-Match)", made.meta.versionId == "2")
    stale = {"If-Match": 'W/"1"'}
    path = f"Patient/{made.id}"
    conflict = raises(MultipleResourcesFound, lambda: physician._do_request("put", path, made.serialize(), extra_headers=stale))
    step("an update on an old version is refused with 412", conflict)
    changed, is_new = mine.search(_id=made.id).update(resource(physician, {**patient("Fhirpy"), "birthDate": "1980-03-02"}))
    step("conditional update", not is_new and changed.id == made.id and changed.meta.versionId == "3")
    step("$validate", resource(physician, patient("Fhirpy")).is_valid())
    wrong = physician.resource("Patient", birthDate="yesterday")
    step("$validate says what is wrong", not wrong.is_valid())
    step("and so does a create, as an OperationOutcome", raises(OperationOutcome, wrong.create))

    stranger = client("stranger")
    step("to a stranger she is not there", raises(ResourceNotFound, lambda: stranger.reference("Patient", made.id).to_resource()))
    step("and no search finds her", stranger.resources("Patient").search(_id=made.id).fetch_all() == [])
    step("nor is there anything about her", observations_of(stranger, made.id).fetch_all() == [])
    organization = stranger.resource("Organization", name="Elsewhere")
    step("what no policy permits is refused", raises(ForbiddenError, organization.create))
    step("nobody gets in without a token", raises(AuthorizationError, client(None).resources("Patient").fetch))

    for one in everything:
        one.delete()
    step("deletes the observations", observations_of(physician, made.id).fetch_all() == [])
    made.delete()
    step("a deleted patient is gone", raises(ResourceNotFound, lambda: physician.reference("Patient", made.id).to_resource()))


if __name__ == "__main__":
    main()
