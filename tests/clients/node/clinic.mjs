// What the Node clients share: who they are, whom they write about, and how a step is told. The environment names the
// server (PORTAL), the physician (PRACTITIONER) and two passwords; NODE_EXTRA_CA_CERTS makes Node trust its authority.

export const { PORTAL, PRACTITIONER } = process.env;
export const FHIR = `${PORTAL}/fhir`;
export const OBSERVATIONS = 25;
export const PAGE = 7;

/** An access token of the token endpoint (RFC 6749 section 4.3). */
export async function token(user) {
  const password = process.env[`${user.toUpperCase()}_PASSWORD`];
  const body = new URLSearchParams({ grant_type: 'password', username: user, password });
  const reply = await fetch(`${PORTAL}/auth/token`, { method: 'POST', body });
  if (!reply.ok) throw new Error(`no token: ${reply.status}`);
  return (await reply.json()).access_token;
}

/** Somebody whose general practitioner is the physician who registers her. */
export function patient(family) {
  return {
    resourceType: 'Patient',
    identifier: [{ system: 'https://clients.example/ids', value: family }],
    name: [{ family, given: ['Zoë', 'Ann'] }],
    birthDate: '1980-02-29',
    generalPractitioner: [{ reference: PRACTITIONER }],
  };
}

/** A transaction of observations about her, linked by urn:uuid to an encounter that it creates. */
export function chart(subject) {
  const visit = 'urn:uuid:0c3b1f6e-6b0e-4a6d-8f6e-6a1f0c5d7e02';
  const encounter = {
    resourceType: 'Encounter',
    status: 'finished',
    class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'AMB' },
    subject: { reference: subject },
  };
  const observation = (number) => ({
    resourceType: 'Observation',
    status: 'final',
    code: { coding: [{ system: 'http://loinc.org', code: '8310-5' }] },
    subject: { reference: subject },
    encounter: { reference: visit },
    effectiveDateTime: `2024-01-${String(number + 1).padStart(2, '0')}`,
    valueQuantity: { value: 36.5, unit: 'C' },
  });
  const entry = [{ fullUrl: visit, request: { method: 'POST', url: 'Encounter' }, resource: encounter }];
  for (let number = 0; number < OBSERVATIONS; number += 1) {
    entry.push({ request: { method: 'POST', url: 'Observation' }, resource: observation(number) });
  }
  return { resourceType: 'Bundle', type: 'transaction', entry };
}

/** Tells one step, and ends the run where one does not hold. */
export function step(says, holds) {
  console.log(`${holds ? 'ok    ' : 'WRONG '}${says}`);
  if (!holds) process.exit(1);
}

/** What a call fails with, by the reading of its error; undefined where it does not fail. */
export async function failure(call, reading) {
  try {
    await call();
  } catch (error) {
    return reading(error);
  }
  return undefined;
}
