//! Rules for the Kafka Streams application that Interlock is compared with: it reads the topics of the contract, and
//! the fields that it reads by position are those of the schemas. Java is not needed to check that.

use std::fs;

use interlock_schemas::topics::{BOOKING_REQUESTS, TRAIN_SERVICES};
use serde_json::Value;

use super::{report, root};

/// Java's constant of fields, the schema's file, and the array within it that the fields are of.
const FIELDS: &[(&str, &str, Option<&str>)] = &[
    ("BOOKING_FIELDS", "booking_request.avsc", None),
    ("PASSENGER_FIELDS", "booking_request.avsc", Some("passengers")),
    ("CANCELLATION_FIELDS", "cancellation_request.avsc", None),
];

#[test]
fn the_peer_reads_the_topics_and_fields_of_the_contract() {
    let read = |file: &str| fs::read_to_string(root().join(file)).expect("the file exists");
    let java = read("benches/kafka-streams/src/main/java/peer/Contract.java");
    let mut wrong = Vec::new();
    for (constant, topic) in [("REQUESTS", BOOKING_REQUESTS), ("PLANS", TRAIN_SERVICES)] {
        if !java.contains(&format!("String {constant} = \"{topic}\";")) {
            wrong.push(format!("{constant} is not {topic}"));
        }
    }
    for (constant, file, array) in FIELDS {
        let schema: Value = serde_json::from_str(&read(&format!("schemas/{file}"))).expect("a schema is JSON");
        let record = array.map_or(&schema, |array| {
            let field = schema["fields"].as_array().expect("fields").iter();
            &field
                .into_iter()
                .find(|field| field["name"] == array)
                .expect("the field exists")["type"]["items"]
        });
        let fields = record["fields"].as_array().expect("a record has fields").iter();
        let fields: Vec<&str> = fields.filter_map(|field| field["name"].as_str()).collect();
        let listed = listed_in(&java, constant);
        if listed != fields {
            wrong.push(format!("{constant} is {listed:?}, but {file} has {fields:?}"));
        }
    }
    report("contract of the peer", &wrong);
}

/// Returns the texts that a Java constant lists.
fn listed_in<'a>(java: &'a str, constant: &str) -> Vec<&'a str> {
    let (_, list) = java
        .split_once(&format!("{constant} = List.of("))
        .expect("the constant exists");
    let (list, _) = list.split_once(");").expect("the list ends");
    list.split('"').skip(1).step_by(2).collect()
}
