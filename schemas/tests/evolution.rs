//! Data of other versions of the schemas, and of other hands, are read as ours.

mod support;

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use interlock_schemas::registry::{MemoryRegistry, Registry};
use interlock_schemas::*;
use serde_json::{Value as Json, json};
use support::{Mirror, Source};

fn ours(record: RecordType) -> Json {
    serde_json::from_str(record.schema()).expect("an avsc file is JSON")
}

fn fields(schema: &mut Json) -> &mut Vec<Json> {
    schema["fields"].as_array_mut().expect("a record has fields")
}

/// The field of this name.
fn field<'a>(schema: &'a mut Json, name: &str) -> &'a mut Json {
    fields(schema)
        .iter_mut()
        .find(|field| field["name"] == name)
        .expect("the record has this field")
}

/// Decodes data of a writer schema.
struct Check<P: Payload> {
    decoder: Decoder<P>,
    id: u32,
}

impl<P: Payload> Check<P> {
    async fn new(schema: &Json) -> Self {
        let registry = Arc::new(MemoryRegistry::default());
        let id = registry
            .register("test", &schema.to_string())
            .await
            .expect("a valid schema");
        Check {
            decoder: Decoder::new(registry),
            id,
        }
    }

    async fn datum(&mut self, datum: &[u8]) -> Result<P, DecodeError> {
        let mut value = Vec::new();
        frame(self.id, &mut value);
        value.extend_from_slice(datum);
        self.decoder.decode(&value).await
    }
}

fn write(schema: &Json, value: Value) -> Vec<u8> {
    let schema = Schema::parse(schema).expect("a valid schema");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a valid schema");
    writer.write_value_to_vec(value).expect("a value of the schema")
}

fn request() -> BookingRequest {
    let passenger = |name: &str, berth_preference| Passenger {
        name: name.into(),
        age: 41,
        berth_preference,
        preference_is_hard: true,
    };
    BookingRequest {
        request_id: "r-1".into(),
        train_id: "12951".into(),
        travel_date: 20_788,
        user_id: "ada".into(),
        from_station: "NDLS".into(),
        to_station: "BCT".into(),
        travel_class: "3A".into(),
        quota: "GN".into(),
        passengers: vec![
            passenger("Ada", BerthPreference::Lower),
            passenger("हरि", BerthPreference::None),
        ],
        partial_confirmation: true,
        requested_at: 1_795_000_000_123,
    }
}

fn record_fields(value: Value) -> Vec<(String, Value)> {
    match value {
        Value::Record(fields) => fields,
        _ => unreachable!("a record"),
    }
}

#[tokio::test]
async fn an_older_version_without_optional_fields() {
    let mut schema = ours(RecordType::BookingRequest);
    fields(&mut schema).retain(|field| field["name"] != "partial_confirmation");
    let passenger = &mut field(&mut schema, "passengers")["type"]["items"];
    fields(passenger).retain(|field| field["name"] != "berth_preference" && field["name"] != "preference_is_hard");

    let mut value = record_fields(request().value());
    value.retain(|(name, _)| name != "partial_confirmation");
    let passengers = value.iter_mut().find(|(name, _)| name == "passengers");
    let Some((_, Value::Array(passengers))) = passengers else {
        unreachable!("passengers are an array")
    };
    for passenger in passengers {
        let Value::Record(fields) = passenger else {
            unreachable!("a passenger is a record")
        };
        fields.truncate(2);
    }

    let datum = write(&schema, Value::Record(value));
    let mut expected = request();
    expected.partial_confirmation = false;
    for passenger in &mut expected.passengers {
        passenger.berth_preference = BerthPreference::None;
        passenger.preference_is_hard = false;
    }
    let read = Check::<Command>::new(&schema).await.datum(&datum).await;
    assert_eq!(read, Ok(Command::Book(expected)));
}

#[tokio::test]
async fn a_newer_version_with_more_fields_in_another_order() {
    let mut schema = ours(RecordType::BookingRequest);
    fields(&mut schema).reverse();
    fields(&mut schema).insert(
        3,
        json!({"name": "voucher", "type": ["null", "string"], "default": null}),
    );
    fields(&mut schema).push(json!({"name": "tags", "type": {"type": "map", "values": "string"}, "default": {}}));
    // Last, where apache-avro would forgive that it is missing.
    fields(&mut schema).push(json!({"name": "comment", "type": "string", "default": ""}));

    let mut value = record_fields(request().value());
    value.push((
        "voucher".into(),
        Value::Union(1, Box::new(Value::String("WELCOME".into()))),
    ));
    value.push((
        "tags".into(),
        Value::Map([("campaign".to_owned(), Value::String("x".into()))].into()),
    ));

    value.push(("comment".into(), Value::String("by the window".into())));

    let datum = write(&schema, Value::Record(value));
    let mut check = Check::<Command>::new(&schema).await;
    assert_eq!(check.datum(&datum).await, Ok(Command::Book(request())));

    for cut in 0..datum.len() {
        let error = check.datum(&datum[..cut]).await.expect_err("a datum that ends early");
        assert_eq!(error.remedy(), Remedy::Reject);
    }
    let error = check
        .datum(&[&datum[..], b"more"].concat())
        .await
        .expect_err("bytes after the datum");
    assert!(error.to_string().ends_with("4 bytes follow the record"), "{error}");
}

#[tokio::test]
async fn a_wish_of_a_newer_version_counts_as_none() {
    let mut schema = ours(RecordType::BookingRequest);
    let passenger = &mut field(&mut schema, "passengers")["type"]["items"];
    let symbols = &mut field(passenger, "berth_preference")["type"]["symbols"];
    *symbols = json!(["QUIET", "LOWER", "NONE"]);

    let value = Value::Record(
        record_fields(request().value())
            .into_iter()
            .map(|(name, value)| match name.as_str() {
                "passengers" => (
                    name,
                    Value::Array(["QUIET", "LOWER", "NONE"].map(passenger_with).to_vec()),
                ),
                _ => (name, value),
            })
            .collect(),
    );
    let datum = write(&schema, value);
    let Ok(Command::Book(read)) = Check::<Command>::new(&schema).await.datum(&datum).await else {
        panic!("it should be read")
    };
    let wishes: Vec<BerthPreference> = read.passengers.iter().map(|p| p.berth_preference).collect();
    assert_eq!(
        wishes,
        [BerthPreference::None, BerthPreference::Lower, BerthPreference::None]
    );
}

fn passenger_with(wish: &str) -> Value {
    let index = ["QUIET", "LOWER", "NONE"]
        .iter()
        .position(|symbol| *symbol == wish)
        .expect("one of these");
    Value::Record(vec![
        ("name".into(), Value::String("Ada".into())),
        ("age".into(), Value::Int(41)),
        ("berth_preference".into(), Value::Enum(index as u32, wish.into())),
        ("preference_is_hard".into(), Value::Boolean(false)),
    ])
}

#[tokio::test]
async fn a_foreign_hand_uses_other_words_for_the_same_bytes() {
    let mut schema = ours(RecordType::BookingRequest);
    schema["doc"] = json!("from Java");
    for name in ["request_id", "user_id"] {
        field(&mut schema, name)["type"] = json!({"type": "string", "avro.java.string": "String"});
    }
    field(&mut schema, "train_id")["type"] = json!({"type": "string", "logicalType": "trimmed"});
    field(&mut schema, "travel_date")["type"] = json!("int");
    field(&mut schema, "requested_at")["type"] = json!("long");

    let mut datum = Vec::new();
    request().encode(&mut datum);
    let read = Check::<BookingRequest>::new(&schema).await.datum(&datum).await;
    assert_eq!(read, Ok(request()));
}

#[tokio::test]
async fn a_uuid_narrower_numbers_and_unions_are_read_too() {
    let mut schema = ours(RecordType::BookingRequest);
    field(&mut schema, "request_id")["type"] = json!({"type": "string", "logicalType": "uuid"});
    field(&mut schema, "requested_at")["type"] = json!("int");
    field(&mut schema, "quota")["type"] = json!(["null", "string"]);
    let mut check = Check::<BookingRequest>::new(&schema).await;

    let mut expected = request();
    expected.request_id = "f47ac10b-58cc-4372-a567-0e02b2c3d479".into();
    expected.requested_at = 7;
    let with_quota = |quota: Value| {
        let mut value = record_fields(expected.value());
        for (name, value) in &mut value {
            match name.as_str() {
                "request_id" => *value = Value::Uuid(expected.request_id.parse().expect("a UUID")),
                "requested_at" => *value = Value::Int(7),
                "quota" => *value = quota.clone(),
                _ => {}
            }
        }
        write(&schema, Value::Record(value))
    };

    let datum = with_quota(Value::Union(1, Box::new(Value::String("GN".into()))));
    assert_eq!(check.datum(&datum).await, Ok(expected.clone()));

    let datum = with_quota(Value::Union(0, Box::new(Value::Null)));
    let error = check.datum(&datum).await.expect_err("there is no quota");
    assert_eq!(error.remedy(), Remedy::Reject);
}

#[tokio::test]
async fn events_of_other_versions() {
    let mut schema = ours(RecordType::TrainDateOpened);
    fields(&mut schema).push(json!({"name": "opened_by", "type": "string", "default": ""}));
    let plan = &mut field(&mut schema, "plan")["type"];
    fields(plan).retain(|field| field["name"] != "sale");

    let bytes: Vec<u8> = (0..400u32).map(|i| (i * 37 % 251) as u8).collect();
    let mut expected = TrainDateOpened::arbitrary(&mut Source::new(&bytes));
    expected.plan.sale.clear();
    let mut value = record_fields(expected.value());
    value.push(("opened_by".into(), Value::String("w-1".into())));
    let Some((_, Value::Record(plan))) = value.iter_mut().find(|(name, _)| name == "plan") else {
        unreachable!("a plan is a record")
    };
    plan.retain(|(name, _)| name != "sale");

    let datum = write(&schema, Value::Record(value));
    let read = Check::<Event>::new(&schema).await.datum(&datum).await;
    assert_eq!(read, Ok(Event::Opened(expected)));
}

async fn refused<P: Payload + std::fmt::Debug>(schema: &Json) -> String {
    let error = Check::<P>::new(schema)
        .await
        .datum(&[])
        .await
        .expect_err("a schema that can't be used");
    assert_eq!(error.remedy(), Remedy::Reject);
    error.to_string()
}

#[tokio::test]
async fn schemas_that_cannot_be_used_say_why() {
    let mut incompatible = ours(RecordType::BookingRequest);
    fields(&mut incompatible).retain(|field| field["name"] != "quota");
    let error = refused::<Command>(&incompatible).await;
    assert!(
        error.contains("interlock.BookingRequest") && error.contains("'quota'"),
        "{error}"
    );

    let error = refused::<Command>(&ours(RecordType::TrainService)).await;
    assert_eq!(
        error,
        "schema 1 can't be used: it describes interlock.TrainService, expected interlock.BookingRequest or \
         interlock.CancellationRequest"
    );

    let error = refused::<Command>(&json!("string")).await;
    assert!(error.contains("a value of kind String"), "{error}");

    let mut micros = ours(RecordType::BookingRequest);
    field(&mut micros, "requested_at")["type"]["logicalType"] = json!("timestamp-micros");
    let error = refused::<Command>(&micros).await;
    assert!(
        error.contains("interlock.BookingRequest.requested_at is a TimestampMicros"),
        "{error}"
    );

    let mut recursive = ours(RecordType::BookingRequest);
    let parent = json!({"name": "parent", "type": ["null", "interlock.BookingRequest"], "default": null});
    fields(&mut recursive).push(parent);
    let error = refused::<Command>(&recursive).await;
    assert!(error.contains("interlock.BookingRequest contains itself"), "{error}");
}

/// Damaged data of a foreign schema are refused, without a panic and without taking the memory that they claim.
#[tokio::test]
async fn damaged_foreign_data_are_refused() {
    let mut schema = ours(RecordType::BookingRequest);
    fields(&mut schema).push(json!({"name": "notes", "type": {"type": "array", "items": "bytes"}, "default": []}));
    let mut value = record_fields(request().value());
    value.push(("notes".into(), Value::Array(vec![Value::Bytes(vec![1, 2, 3])])));
    let datum = write(&schema, Value::Record(value));
    let mut check = Check::<Command>::new(&schema).await;
    for at in 0..datum.len() {
        for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut damaged = datum.clone();
            damaged[at] = byte;
            if let Err(error) = check.datum(&damaged).await {
                assert_eq!(error.remedy(), Remedy::Reject);
            }
        }
    }
}
