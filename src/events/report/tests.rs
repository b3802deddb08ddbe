#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use serde_json::Value;

use super::*;
use crate::events::samples;

fn head(names: Names) -> Head {
    Head {
        origin: "records.test/log".to_owned(),
        patient: "Patient/ann".to_owned(),
        tenant: "clinic".to_owned(),
        from_micros: 0,
        until_micros: 1_780_000_000_000_000,
        made_micros: 1_780_000_000_000_000,
        names,
    }
}

fn lines(names: Names) -> Vec<(String, Line)> {
    let all = samples::all().into_iter();
    all.filter_map(|(name, entry)| Some((name, Line::of(&samples::place(9), &entry, "Patient/ann", names)?)))
        .collect()
}

fn whole(form: Form, names: Names) -> String {
    let head = head(names);
    let mut text = form.head(&head);
    for (at, (_, line)) in lines(names).iter().enumerate() {
        text.push_str(&form.line(line, at));
    }
    text + &form.foot(lines(names).len(), Some("https://records.test/?a=1&b=\"2\""))
}

#[test]
fn a_report_is_of_one_patient_and_leaves_employees_names_and_questions_out() {
    assert!(lines(Names::Withheld).len() > 10);
    assert!(Line::of(&samples::place(9), &samples::all()[0].1, "Patient/bob", Names::Withheld).is_none());
    for form in [Form::Json, Form::Csv, Form::Html] {
        let text = whole(form, Names::Withheld);
        for absent in ["grey", "script", "=1+1", "GET /", "_search", "portal", "01890a5d", "2001:db8"] {
            assert!(!text.contains(absent), "{form:?} holds {absent}");
        }
        for present in ["physician", "North Clinic", "importer", "Observation"] {
            assert!(text.contains(present), "{form:?} lacks {present}");
        }
        assert!(whole(form, Names::Shown).contains("grey"), "{form:?}");
    }
}

#[test]
fn what_went_to_another_organisation_is_a_disclosure_and_for_treatment_not_accounted() {
    for (name, line) in lines(Names::Withheld) {
        let to_partner = name.contains("partner") && name.contains("read");
        if name.contains("read") || name.contains("create") {
            assert_eq!(line.disclosed, to_partner, "{name}");
            assert!(!line.accounted, "{name}");
        }
    }
    let (_, mut entry) =
        samples::all().into_iter().find(|(name, _)| name == "read of a patient by a partner").unwrap();
    for (purpose, accounted) in [(Some("TREAT"), false), (Some("HRESCH"), true), (None, true)] {
        entry.detail.purpose = purpose.map(str::to_owned);
        let line = Line::of(&samples::place(9), &entry, "Patient/ann", Names::Withheld).unwrap();
        assert_eq!((line.disclosed, line.accounted), (true, accounted), "{purpose:?}");
    }
}

#[test]
fn each_form_is_whole() {
    let json: Value = serde_json::from_str(&whole(Form::Json, Names::Shown)).unwrap();
    assert_eq!(json["lines"].as_array().unwrap().len(), lines(Names::Shown).len());
    assert_eq!(json["count"].as_u64(), Some(lines(Names::Shown).len() as u64));
    let head = head(Names::Shown);
    let empty = Form::Json.head(&head) + &Form::Json.foot(0, None);
    assert_eq!(serde_json::from_str::<Value>(&empty).unwrap()["lines"], serde_json::json!([]));
    // A name that would be markup, or a formula, is text.
    let html = whole(Form::Html, Names::Shown);
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
    assert!(html.contains("b=&quot;2&quot;") && html.ends_with("</html>\n"));
    assert!(whole(Form::Csv, Names::Shown).contains("\"'=1+1"));
}
