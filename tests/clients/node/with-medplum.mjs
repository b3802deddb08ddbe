// @medplum/core against Custodia: its client with another server's URLs and token.

import { MedplumClient, OperationOutcomeError } from '@medplum/core';

import { FHIR, OBSERVATIONS, PAGE, PORTAL, chart, failure, patient, step, token } from './clinic.mjs';

const code = (call) => failure(call, (error) => (error instanceof OperationOutcomeError ? error.outcome.issue?.[0]?.code ?? 'none' : String(error)));

async function client(user) {
  return new MedplumClient({
    baseUrl: `${PORTAL}/`,
    fhirUrlPath: 'fhir',
    fetch,
    accessToken: user ? await token(user) : undefined,
    // What it has read it would answer from memory; here the server is asked.
    cacheTime: 0,
  });
}

const physician = await client('physician');
step('builds the server\'s URLs', physician.fhirUrl('Patient').toString() === `${FHIR}/Patient`);

const made = await physician.createResource(patient('Medplum'));
step('creates a patient', Boolean(made.id) && made.meta.versionId === '1');
const read = await physician.readResource('Patient', made.id);
step('reads her as she was written', JSON.stringify(read) === JSON.stringify(made));
const same = await physician.createResourceIfNoneExist(patient('Medplum'), `_id=${made.id}`);
step('creates nobody where she is (If-None-Exist)', same.id === made.id);

const done = await physician.executeBatch(chart(`Patient/${made.id}`));
const statuses = done.entry.map((entry) => entry.response.status.slice(0, 3));
step('transaction: all are created', statuses.length === OBSERVATIONS + 1 && statuses.every((one) => one === '201'));

async function all() {
  const pages = [];
  for await (const page of physician.searchResourcePages('Observation', { patient: made.id, _count: PAGE })) pages.push([...page]);
  return pages;
}
const pages = await all();
const everything = pages.flat();
step('pages are as long as was asked', pages.length === Math.ceil(OBSERVATIONS / PAGE) && pages[0].length === PAGE);
step('all pages bring each once', everything.length === OBSERVATIONS && new Set(everything.map((one) => one.id)).size === OBSERVATIONS);
const one = await physician.searchOne('Observation', `patient=${made.id}&date=2024-01-03`);
step('finds one by date', one?.effectiveDateTime === '2024-01-03');
const bundle = await physician.search('Observation', `patient=${made.id}&_count=2&_include=Observation:patient`);
step('inclusions come along', bundle.entry.map((entry) => entry.search.mode).join() === 'match,match,include');
const encounter = await physician.readReference(one.encounter);
step('resolves a reference', encounter.resourceType === 'Encounter');

const changed = await physician.updateResource({ ...read, birthDate: '1980-03-01' }, { headers: { 'If-Match': 'W/"1"' } });
step('updates the version it read', changed.meta.versionId === '2');
const stale = await failure(
  () => physician.updateResource({ ...read, birthDate: '1980-03-05' }, { headers: { 'If-Match': 'W/"1"' } }),
  () => 'refused',
);
const now = await physician.readResource('Patient', made.id);
step('an update on an old version is refused', stale === 'refused' && now.meta.versionId === '2' && now.birthDate === '1980-03-01');
const patched = await physician.patchResource('Patient', made.id, [{ op: 'replace', path: '/birthDate', value: '1980-03-02' }]);
step('patches her', patched.birthDate === '1980-03-02' && patched.meta.versionId === '3');
const upserted = await physician.upsertResource({ ...patient('Medplum'), birthDate: '1980-03-03' }, { _id: made.id });
step('conditional update', upserted.id === made.id && upserted.meta.versionId === '4');
const first = await physician.readVersion('Patient', made.id, '1');
step('reads the first version', first.birthDate === '1980-02-29');
const history = await physician.readHistory('Patient', made.id);
step('reads the history', history.entry.map((entry) => entry.resource.meta.versionId).join() === '4,3,2,1');
const everythingOfHers = await physician.readPatientEverything(made.id);
step('$everything', everythingOfHers.entry.some((entry) => entry.resource.resourceType === 'Patient'));
const outcome = await physician.validateResource(patient('Medplum'));
step('$validate', outcome.resourceType === 'OperationOutcome');

const stranger = await client('stranger');
step('to a stranger she is not there', (await code(() => stranger.readResource('Patient', made.id))) === 'not-found');
const nothing = await stranger.searchResources('Observation', { patient: made.id });
step('nor is there anything about her', nothing.length === 0);
const nobody = await client(undefined);
step('nobody gets in without a token', (await failure(() => nobody.readResource('Patient', made.id), () => 'refused')) === 'refused');

for (const observation of everything) await physician.deleteResource('Observation', observation.id);
step('deletes the observations', (await all()).flat().length === 0);
const gone = await failure(() => physician.readResource('Observation', everything[0].id), () => 'gone');
step('what is deleted is gone', gone === 'gone');
await physician.deleteResource('Patient', made.id);
step('and so is a patient', (await code(() => physician.readResource('Patient', made.id))) === 'not-found');
