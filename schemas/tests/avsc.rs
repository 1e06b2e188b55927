//! The `.avsc` files keep to the rules of the contract.

use std::collections::BTreeSet;

use interlock_schemas::{RecordType, topics};
use serde_json::Value;

fn schema(record: RecordType) -> Value {
    serde_json::from_str(record.schema()).expect("an avsc file is JSON")
}

fn fields(schema: &Value) -> &[Value] {
    schema["fields"].as_array().expect("a record has fields")
}

fn walk(schema: &Value, visit: &mut impl FnMut(&Value)) {
    visit(schema);
    for field in schema["fields"].as_array().into_iter().flatten() {
        walk(&field["type"], visit);
    }
    if schema["type"] == "array" {
        walk(&schema["items"], visit);
    }
}

#[test]
fn every_file_is_self_contained_and_named_as_its_type() {
    for record in RecordType::ALL {
        let name = record.parsed().name().unwrap();
        assert_eq!(name.fullname(None), record.name());
        assert_eq!(record.name(), format!("interlock.{record:?}"));
    }
}

#[test]
fn every_type_and_field_says_what_it_is() {
    for record in RecordType::ALL {
        walk(&schema(record), &mut |schema| {
            if schema["type"] == "record" || schema["type"] == "enum" {
                assert!(schema["doc"].is_string(), "{record}: {} has no doc", schema["name"]);
            }
            for field in schema["fields"].as_array().into_iter().flatten() {
                assert!(
                    field["doc"].is_string(),
                    "{record}: {}.{} has no doc",
                    schema["name"],
                    field["name"]
                );
            }
        });
    }
}

#[test]
fn dates_and_instants_have_logical_types() {
    for record in RecordType::ALL {
        walk(&schema(record), &mut |schema| {
            for field in schema["fields"].as_array().into_iter().flatten() {
                let name = field["name"].as_str().unwrap();
                let (schema, expected) = match name {
                    "travel_date" => (&field["type"], "date"),
                    "running_dates" => (&field["type"]["items"], "date"),
                    "event_time" | "requested_at" | "departure_time" | "arrival_time" => {
                        (&field["type"], "timestamp-millis")
                    }
                    _ => continue,
                };
                assert_eq!(schema["logicalType"], expected, "{record}: {name}");
            }
        });
    }
}

#[test]
fn events_share_their_head() {
    let head = schema(RecordType::BookingRejected);
    let head = &fields(&head)[..21];
    assert_eq!(head[20]["name"], "currency");
    for topic in topics::EVENTS {
        let (_, records) = topics::TOPICS.iter().find(|(name, _)| *name == topic).unwrap();
        for record in *records {
            assert_eq!(&fields(&schema(*record))[..21], head, "{record}");
        }
    }
}

#[test]
fn the_opened_plan_is_the_train_service() {
    let opened = schema(RecordType::TrainDateOpened);
    let plan = &fields(&opened)[21];
    assert_eq!(plan["name"], "plan");
    let mut service = schema(RecordType::TrainService);
    service.as_object_mut().unwrap().remove("namespace");
    assert_eq!(plan["type"], service);
}

#[test]
fn a_type_is_the_same_wherever_it_is_used() {
    let mut seen: Vec<(String, Value)> = Vec::new();
    for record in RecordType::ALL {
        walk(&schema(record), &mut |schema| {
            let Some(name) = schema["name"].as_str() else { return };
            let mut schema = schema.clone();
            schema.as_object_mut().unwrap().remove("namespace");
            match seen.iter().find(|(other, _)| other == name) {
                Some((_, other)) => assert_eq!(&schema, other, "{name} differs in {record}"),
                None => seen.push((name.to_owned(), schema)),
            }
        });
    }
}

#[test]
fn only_wishes_have_an_enum_default() {
    let mut with_default = BTreeSet::new();
    for record in RecordType::ALL {
        walk(&schema(record), &mut |schema| {
            if schema["type"] == "enum" && schema.get("default").is_some() {
                with_default.insert(schema["name"].as_str().unwrap().to_owned());
            }
        });
    }
    assert_eq!(with_default, BTreeSet::from(["BerthPreference".to_owned()]));
}
