DROP FUNCTION destroy_audit_keys;
DROP FUNCTION spent_audit_keys;
DROP TABLE legal_hold;
