//! The codes AuditEvents are written in, with their systems.

use serde_json::{Value, json};

pub(super) const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
pub(super) const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
pub(super) const RESTFUL: &str = "http://hl7.org/fhir/restful-interaction";
pub(super) const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
pub(super) const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
pub(super) const ROLE_CLASS: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleClass";
pub(super) const REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
pub(super) const PROVENANCE: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
pub(super) const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
pub(super) const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
pub(super) const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
pub(super) const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
pub(super) const SNOMED: &str = "http://snomed.info/sct";
pub(super) const IHE_EVENT: &str = "urn:ihe:event-type-code";
pub(super) const BALP_AGENT: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes";
pub(super) const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
/// Words of the log that no standard has a code for.
pub(super) const OURS: &str = "urn:custodia:log";

/// A coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) &'static str, pub(super) &'static str, pub(super) &'static str);

impl Code {
    /// `Coding`.
    pub(super) fn coding(self) -> Value {
        json!({"system": self.0, "code": self.1, "display": self.2})
    }

    /// `CodeableConcept`.
    pub(super) fn concept(self) -> Value {
        concept(&[self])
    }
}

/// One `CodeableConcept` of several codings.
pub(super) fn concept(codes: &[Code]) -> Value {
    json!({"coding": codes.iter().map(|code| code.coding()).collect::<Vec<_>>()})
}

pub(super) const REST: Code = Code(EVENT_TYPE, "rest", "RESTful Operation");
pub(super) const APPLICATION_ACTIVITY: Code = Code(DCM, "110100", "Application Activity");
pub(super) const AUDIT_LOG_USED: Code = Code(DCM, "110101", "Audit Log Used");
pub(super) const EXPORT: Code = Code(DCM, "110106", "Export");
pub(super) const IMPORT: Code = Code(DCM, "110107", "Import");
pub(super) const SECURITY_ALERT: Code = Code(DCM, "110113", "Security Alert");
pub(super) const USER_AUTHENTICATION: Code = Code(DCM, "110114", "User Authentication");
pub(super) const START: Code = Code(DCM, "110120", "Application Start");
pub(super) const LOGIN: Code = Code(DCM, "110122", "Login");
pub(super) const LOGOUT: Code = Code(DCM, "110123", "Logout");
pub(super) const NODE_AUTHENTICATION: Code = Code(DCM, "110126", "Node Authentication");
pub(super) const EMERGENCY: Code = Code(DCM, "110127", "Emergency Override Started");
pub(super) const SECURITY_CONFIGURATION: Code = Code(DCM, "110129", "Security Configuration");
pub(super) const SOFTWARE_CONFIGURATION: Code = Code(DCM, "110131", "Software Configuration");
pub(super) const ROLES_CHANGED: Code = Code(DCM, "110136", "Security Roles Changed");
pub(super) const APPLICATION: Code = Code(DCM, "110150", "Application");
pub(super) const DESTINATION: Code = Code(DCM, "110152", "Destination Role ID");
pub(super) const SOURCE: Code = Code(DCM, "110153", "Source Role ID");
pub(super) const CUSTODIAN: Code = Code(PROVENANCE, "custodian", "Custodian");
pub(super) const RECORD_KEEPER: Code = Code(SNOMED, "159541003", "Record keeping/library clerk");
pub(super) const RECIPIENT: Code = Code(PARTICIPATION, "IRCP", "information recipient");
pub(super) const AUTHOR: Code = Code(PARTICIPATION, "AUT", "author (originator)");
pub(super) const PROVIDER: Code = Code(ROLE_CLASS, "PROV", "healthcare provider");
pub(super) const OAUTH_USER: Code = Code(BALP_AGENT, "UserOauthAgent", "User OAuth Agent participant");
pub(super) const OAUTH_SERVER: Code = Code(BALP_AGENT, "AuthzOauthService", "OAuth Authorization Server");
pub(super) const GET_TOKEN: Code = Code(IHE_EVENT, "ITI-71", "Get Access Token");
pub(super) const DISCLOSE: Code = Code(LIFECYCLE, "disclose", "Disclose Record Lifecycle Event");
pub(super) const DESTROY: Code = Code(LIFECYCLE, "destroy", "Destroy/Delete Record Lifecycle Event");
pub(super) const PERSON: Code = Code(ENTITY_TYPE, "1", "Person");
pub(super) const SYSTEM_OBJECT: Code = Code(ENTITY_TYPE, "2", "System Object");
pub(super) const REQUEST_ID: Code =
    Code(BALP_ENTITY, "XrequestId", "transport specific unique identifier where http X-Request-Id is used");
pub(super) const LOG_ENTRY: Code = Code(OURS, "entry", "Entry of the log of accesses");
pub(super) const PATIENT_ROLE: Code = Code(OBJECT_ROLE, "1", "Patient");
pub(super) const DOMAIN_RESOURCE: Code = Code(OBJECT_ROLE, "4", "Domain Resource");
pub(super) const SECURITY_RESOURCE: Code = Code(OBJECT_ROLE, "13", "Security Resource");
pub(super) const QUERY_ROLE: Code = Code(OBJECT_ROLE, "24", "Query");
pub(super) const APPLICATION_SERVER: Code = Code(SOURCE_TYPE, "4", "Application Server");
