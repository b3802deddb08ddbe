// fhir-kit-client against Custodia.

import { Client } from 'fhir-kit-client';

import { FHIR, OBSERVATIONS, PAGE, chart, failure, patient, step, token } from './clinic.mjs';

const status = (call) => failure(call, (error) => error.response?.status);

const physician = new Client({ baseUrl: FHIR, bearerToken: await token('physician') });

const capability = await physician.capabilityStatement();
step('reads the capabilities', capability.fhirVersion === '4.0.1');
const smart = await physician.smartAuthMetadata();
step('finds the token endpoint', String(smart.tokenUrl).endsWith('/auth/token'));

const made = await physician.create({ resourceType: 'Patient', body: patient('Fhirkit') });
step('creates a patient', Boolean(made.id) && made.meta.versionId === '1');
const place = { resourceType: 'Patient', id: made.id };
const read = await physician.read(place);
step('reads her as she was written', JSON.stringify(read) === JSON.stringify(made));
const { response } = Client.httpFor(read);
step('with an ETag and a receipt', response.headers.get('etag') === 'W/"1"' && response.headers.has('custodia-receipt'));

const done = await physician.transaction({ body: chart(`Patient/${made.id}`) });
const statuses = done.entry.map((entry) => entry.response.status.slice(0, 3));
step('transaction: all are created', statuses.length === OBSERVATIONS + 1 && statuses.every((one) => one === '201'));

async function pages(options) {
  const searchParams = { patient: made.id, _count: PAGE };
  const found = [];
  let bundle = await physician.search({ resourceType: 'Observation', searchParams, options });
  while (bundle) {
    found.push((bundle.entry ?? []).map((entry) => entry.resource));
    bundle = await physician.nextPage({ bundle });
  }
  return found;
}

for (const [how, options] of [['GET', {}], ['POST', { postSearch: true }]]) {
  const found = await pages(options);
  const ids = found.flat().map((one) => one.id);
  step(`search by ${how}: pages are as long as was asked`, found.every((page, at) => at === found.length - 1 || page.length === PAGE));
  step(`search by ${how}: all pages bring each once`, ids.length === OBSERVATIONS && new Set(ids).size === OBSERVATIONS);
}
const everything = (await pages({})).flat();
const inside = await physician.search({ resourceType: 'Observation', compartment: place, searchParams: { _summary: 'count' } });
step('counts in her compartment', inside.total === OBSERVATIONS);
const resolved = await physician.resolve({ reference: everything[0].encounter.reference });
step('resolves a reference', resolved.resourceType === 'Encounter');

const changed = await physician.update({
  ...place,
  body: { ...read, birthDate: '1980-03-01' },
  options: { headers: { 'If-Match': response.headers.get('etag') } },
});
step('updates the version it read', changed.meta.versionId === '2');
const stale = { ...place, body: read, options: { headers: { 'If-Match': 'W/"1"' } } };
step('an update on an old version is refused with 412', (await status(() => physician.update(stale))) === 412);
const jsonPatch = [{ op: 'replace', path: '/birthDate', value: '1980-03-02' }];
const patched = await physician.patch({ ...place, jsonPatch });
step('patches her', patched.birthDate === '1980-03-02' && patched.meta.versionId === '3');
const first = await physician.vread({ ...place, version: '1' });
step('reads the first version', first.birthDate === '1980-02-29');
const history = await physician.history(place);
step('reads the history', history.entry.map((entry) => entry.resource.meta.versionId).join() === '3,2,1');

const batch = await physician.batch({
  body: {
    resourceType: 'Bundle',
    type: 'batch',
    entry: [
      { request: { method: 'GET', url: `Patient/${made.id}` } },
      { request: { method: 'GET', url: 'Patient/nobody-of-this-name' } },
    ],
  },
});
step('batch: each for itself', batch.entry.map((entry) => entry.response.status.slice(0, 3)).join() === '200,404');

const stranger = new Client({ baseUrl: FHIR, bearerToken: await token('stranger') });
step('to a stranger she is not there', (await status(() => stranger.read(place))) === 404);
const nothing = await stranger.search({ resourceType: 'Observation', searchParams: { patient: made.id } });
step('nor is there anything about her', nothing.total === 0 && (nothing.entry ?? []).length === 0);
step('nobody gets in without a token', (await status(() => new Client({ baseUrl: FHIR }).read(place))) === 401);

for (const one of everything) await physician.delete({ resourceType: 'Observation', id: one.id });
step('deletes the observations', (await pages({})).flat().length === 0);
const gone = () => physician.read({ resourceType: 'Observation', id: everything[0].id });
step('what is deleted is gone (410)', (await status(gone)) === 410);
await physician.delete(place);
step('and so is a patient', (await status(() => physician.read(place))) === 404);
