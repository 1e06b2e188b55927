//! Tests the mapping over all record types of the contract.

use apache_avro::types::Value;
use interlock_schemas::RecordType;
use serde_json::{Value as Json, json};

use super::*;

fn booking() -> Json {
    json!({
        "request_id": "b-1", "train_id": "12951", "travel_date": "2026-12-01", "user_id": "ada",
        "from_station": "MMCT", "to_station": "NDLS", "travel_class": "SL", "quota": "GN",
        "passengers": [{ "name": "Ada", "age": 36, "berth_preference": "LOWER" }],
        "requested_at": "2026-11-21T08:00:00.5Z",
    })
}

fn errors(json: &Json) -> Vec<String> {
    let refused = to_avro(RecordType::BookingRequest.parsed(), json).unwrap_err();
    refused.iter().map(ToString::to_string).collect()
}

#[test]
fn a_record_reads_back_with_its_defaults() {
    let value = to_avro(RecordType::BookingRequest.parsed(), &booking()).unwrap();
    let mut expected = booking();
    expected["passengers"][0]["preference_is_hard"] = json!(false);
    expected["partial_confirmation"] = json!(false);
    expected["requested_at"] = json!("2026-11-21T08:00:00.500Z");
    assert_eq!(serde_json::to_value(Shown(value)).unwrap(), expected);
}

#[test]
fn dates_and_instants_may_be_numbers() {
    let mut json = booking();
    (json["travel_date"], json["requested_at"]) = (json!(20_788), json!(1_795_000_000_000_i64));
    let Ok(Value::Record(fields)) = to_avro(RecordType::BookingRequest.parsed(), &json) else {
        panic!("refused")
    };
    assert!(fields.contains(&("travel_date".into(), Value::Date(20_788))));
    assert!(fields.contains(&("requested_at".into(), Value::TimestampMillis(1_795_000_000_000))));
}

#[test]
fn everything_that_is_wrong_is_named() {
    let mut json = booking();
    json["passengers"][0] = json!({ "name": 7, "berth_preference": "BALCONY" });
    json["travel_date"] = json!("2026-02-30");
    json["coach"] = json!("S1");
    let errors = errors(&json);
    for expected in [
        "coach: BookingRequest has no such field",
        "travel_date: expected a date",
        "passengers[0].name: expected a string, found 7",
        "passengers[0].age: is missing",
        "passengers[0].berth_preference: expected one of NONE, LOWER",
    ] {
        assert!(
            errors.iter().any(|error| error.starts_with(expected)),
            "{expected}: {errors:?}"
        );
    }
    assert_eq!(errors.len(), 5, "{errors:?}");
    assert!(self::errors(&json!([1]))[0].contains("an object (BookingRequest)"));
    json = booking();
    json["passengers"][0]["age"] = json!(3_000_000_000_u32);
    assert_eq!(self::errors(&json).len(), 1);
}

#[test]
fn every_record_type_can_be_written() {
    for record in RecordType::ALL {
        let refused = to_avro(record.parsed(), &json!({})).unwrap_err();
        assert!(
            refused.iter().all(|error| error.problem == "is missing"),
            "{record}: {refused:?}"
        );
    }
}

#[test]
fn nullable_is_null_or_the_value() {
    let schema = apache_avro::Schema::parse_str(r#"["null", "int"]"#).unwrap();
    let read = |json: Json| to_avro(&schema, &json).map(|value| serde_json::to_value(Shown(value)).unwrap());
    assert_eq!(read(json!(null)).unwrap(), json!(null));
    assert_eq!(read(json!(7)).unwrap(), json!(7));
    assert_eq!(read(json!("x")).unwrap_err().len(), 1);
}
