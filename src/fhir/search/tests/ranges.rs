//! Dates, numbers and quantities, and composites of them.

use super::*;

#[test]
fn dates_are_compared_as_the_ranges_they_stand_for() {
    let at = |date: &str| json!({"resourceType": "Observation", "effectiveDateTime": date});
    for (value, held) in [
        ("2024-02", ["lt", "le", "ne", "eb", "", ""]),
        ("2024-03-15", ["eq", "ge", "le", "", "", ""]),
        ("2024-03", ["eq", "ge", "le", "", "", ""]),
        ("2024", ["gt", "ge", "lt", "le", "ne", ""]),
        ("2024-04-01T00:00:00Z", ["gt", "ge", "ne", "sa", "", ""]),
    ] {
        for prefix in ["eq", "ne", "gt", "ge", "lt", "le", "sa", "eb"] {
            let query = good("Observation", &format!("date={prefix}2024-03"));
            assert_eq!(query.holds(&at(value)), held.contains(&prefix), "{value} {prefix}");
        }
    }
    let period = |period: Value| json!({"resourceType": "Observation", "effectivePeriod": period});
    check(
        &period(json!({"start": "2013-01-21"})),
        &["date=ge2013-03-14", "date=le2013-03-14", "date=gt2020", "date=sa2013-01-20", "date=ap2013-03-14"],
        &["date=2013", "date=sa2013-03-14", "date=eb2013-03-14", "date=lt2013"],
    );
    check(
        &period(json!({"end": "2013-01-21"})),
        &["date=lt2000", "date=le2013-01-21", "date=eb2013-01-22", "date=ne2013-01-21"],
        &["date=2013-01-21", "date=sa2000", "date=gt2013-01-21", "date=eb2013-01-21"],
    );
    let timing = json!({"resourceType": "ServiceRequest", "occurrenceTiming":
        {"event": ["2020-01-05", "2020-03-01"], "repeat": {"boundsPeriod": {"start": "2020-01-01", "end": "2020-02-01"}}}});
    check(
        &timing,
        &["occurrence=2020", "occurrence=ap2020-02-15", "occurrence=ge2020-02-28"],
        &["occurrence=2020-01"],
    );
    // 100 days before now: ten days on each side.
    check(&at("2024-02-12"), &["date=ap2024-02-22"], &[]);
    check(&at("2024-02-11"), &[], &["date=ap2024-02-22"]);
    check(&json!({"resourceType": "Observation"}), &["date:missing=true"], &["date=ne2020", "date=lt2020"]);
}

#[test]
fn numbers_and_quantities_count_the_digits_they_are_written_with() {
    let weight: Value = serde_json::from_str(
        r#"{"resourceType": "Observation", "code": {"coding": [{"code": "w"}]}, "valueQuantity":
            {"value": 5.40, "unit": "milligram", "system": "http://unitsofmeasure.org", "code": "mg"}}"#,
    )
    .unwrap();
    check(
        &weight,
        &[
            "value-quantity=5.4",
            "value-quantity=5.40",
            "value-quantity=5",
            "value-quantity=5.4||mg",
            "value-quantity=5.4||milligram",
            "value-quantity=0.0054|http://unitsofmeasure.org|g",
            "value-quantity=5.40e-6|http://unitsofmeasure.org|kg",
            "value-quantity=gt5399|http://unitsofmeasure.org|ug",
            "value-quantity=5400|http://unitsofmeasure.org|ug",
            "code-value-quantity=w$le0.0054|http://unitsofmeasure.org|g",
            "value-quantity=5.4|http://unitsofmeasure.org|mg",
            "value-quantity=gt5.39",
            "value-quantity=ge5.4",
            "value-quantity=le5.4",
            "value-quantity=lt5.41",
            "value-quantity=ne5.3",
            "value-quantity=sa5",
            "value-quantity=eb6",
            "value-quantity=ap5",
            "value-quantity=0.54e1",
            "code-value-quantity=w$gt5",
            "combo-code-value-quantity=w$5.4||mg",
        ],
        &[
            "value-quantity=5.3",
            "value-quantity=5.41",
            "value-quantity=6",
            "value-quantity=5.4||g",
            "value-quantity=5.4|http://unitsofmeasure.org|g",
            "value-quantity=5.4|http://unitsofmeasure.org|mL",
            "value-quantity=5401|http://unitsofmeasure.org|ug",
            "value-quantity=gt0.0054|http://unitsofmeasure.org|g",
            "value-quantity=0.0054||g",
            "value-quantity=5.4|http://other|mg",
            "value-quantity=gt5.4",
            "value-quantity=lt5.4",
            "value-quantity=ne5.4",
            "value-quantity=sa5.4",
            "value-quantity=ap4",
            "code-value-quantity=x$gt5",
            "code-value-quantity=w$gt6",
            "component-code-value-quantity=w$gt5",
        ],
    );
    let risk: Value =
        serde_json::from_str(r#"{"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.1000000000000000000001}]}"#)
            .unwrap();
    check(&risk, &["probability=0.1", "probability=gt0.1"], &["probability=le0.1", "probability=0.2"]);
    let claim: Value = serde_json::from_str(
        r#"{"resourceType": "Invoice", "totalGross": {"value": 100.00, "currency": "EUR"}}"#,
    )
    .unwrap();
    check(
        &claim,
        &["totalgross=100||EUR", "totalgross=100|urn:iso:std:iso:4217|EUR"],
        &["totalgross=100||USD", "totalgross=101"],
    );
}

#[test]
fn composites_hold_in_one_element() {
    let pressure = json!({"resourceType": "Observation", "component": [
        {"code": {"coding": [{"code": "sys"}]}, "valueQuantity": {"value": 120}},
        {"code": {"coding": [{"code": "dia"}]}, "valueQuantity": {"value": 80}}]});
    check(
        &pressure,
        &[
            "component-code-value-quantity=sys$gt100",
            "combo-code-value-quantity=dia$80",
            "component-code-value-quantity=x$1,dia$lt100",
            "component-code=sys&component-value-quantity=lt100",
        ],
        &["component-code-value-quantity=dia$gt100", "code-value-quantity=sys$gt100"],
    );
}
