DROP TABLE ledger_tile, ledger_entry, ledger_head, assertion_seen, account_name, account, relation, record_link,
    record_version, record, audit_key, data_key, tenant;
DROP FUNCTION refuse_change, refuse_shrinking;
DROP DOMAIN sealed;
