//! Strings and URLs.

use super::*;

#[test]
fn strings_begin_contain_or_are_exactly() {
    let patient = json!({"resourceType": "Patient", "name": [
        {"family": "Müller-Łukasz", "given": ["Ann Marie", "Zoë"], "prefix": ["Dr."]}, {"text": "Nick, the  Elder"}
    ], "address": [{"line": ["1 High St"], "city": "Köln", "postalCode": "50667", "country": "DE"}]});
    check(
        &patient,
        &[
            "name=mull",
            "name=MÜLLER-lukasz",
            "family=mu",
            "given=zoe",
            "given=ann%20m",
            "name=dr",
            "name=nick",
            "name=x,zo",
            "name:contains=LUK",
            "name:contains=marie",
            "family:exact=Müller-Łukasz",
            "name=nick%5C,%20the%20eld",
            "given:contains=nn",
            "address=50667",
            "address-city=koln",
            "address=1%20h",
            "name:missing=false",
            "birthdate:missing=true",
            "name=mu&given=zo",
            "given=%20Ann%20%20Marie%20",
        ],
        &[
            "name=marie",
            "name=lukasz",
            "family=ann",
            "family:exact=müller-łukasz",
            "family:exact=Müller",
            "name:contains=x",
            "address=high",
            "name:missing=true",
            "name=mu&given=x",
            "birthdate:missing=false",
            "given=annm",
        ],
    );
    // `nick, the` is two values: the second is ` the`.
    check(&patient, &["name=nick,the"], &["name=the"]);
}

#[test]
fn urls_are_equal_or_above_or_below() {
    let set = json!({"resourceType": "ValueSet", "url": "http://acme.org/fhir/ValueSet/123"});
    check(
        &set,
        &[
            "url=http://acme.org/fhir/ValueSet/123",
            "url:below=http://acme.org/fhir/",
            "url:below=http://acme.org/fhir",
            "url:above=http://acme.org/fhir/ValueSet/123/_history/5",
        ],
        &[
            "url=http://acme.org/fhir/ValueSet",
            "url=HTTP://acme.org/fhir/ValueSet/123",
            "url:below=http://acme.org/fh",
            "url:above=http://acme.org/fhir/ValueSet/1234",
        ],
    );
}
