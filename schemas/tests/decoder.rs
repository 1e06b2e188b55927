//! Tests the calls of a decoder to the registry, its memory, and its advice to the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use interlock_schemas::registry::{Answer, Ids, MemoryRegistry, Registry, RegistryError, check_all, register_all};
use interlock_schemas::*;

/// Counts the schemas that were asked for.
#[derive(Default)]
struct Counting {
    inner: MemoryRegistry,
    asked: AtomicUsize,
}

impl Counting {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Registry for Counting {
    fn register<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, u32> {
        self.inner.register(subject, schema)
    }
    fn schema_by_id(&self, id: u32) -> Answer<'_, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match id {
            1_000 => Box::pin(std::future::ready(Ok("{\"type\": \"recor".to_owned()))),
            2_000 => Box::pin(std::future::ready(Err(RegistryError::NotAvro {
                id: id.into(),
                found: "Protobuf".to_owned(),
            }))),
            _ => self.inner.schema_by_id(id),
        }
    }
    fn schema_by_guid(&self, guid: [u8; 16]) -> Answer<'_, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.inner.schema_by_guid(guid)
    }
    fn require_full_compatibility<'a>(&'a self, subject: &'a str) -> Answer<'a, ()> {
        self.inner.require_full_compatibility(subject)
    }
    fn check<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, ()> {
        self.inner.check(subject, schema)
    }
}

fn cancellation() -> CancellationRequest {
    CancellationRequest {
        request_id: "c-1".into(),
        train_id: "12951".into(),
        travel_date: 20_788,
        booking_request_id: "b-1".into(),
        passengers: vec![0, 2],
        user_id: "ada".into(),
        requested_at: 1_795_000_000_000,
    }
}

async fn set_up() -> (Arc<Counting>, Encoder, Vec<u8>) {
    let registry = Arc::new(Counting::default());
    let ids = register_all(&*registry, &topics::contract())
        .await
        .expect("nothing is registered yet");
    let encoder = Encoder::new(ids);
    let mut value = Vec::new();
    encoder
        .encode(&Command::Cancel(cancellation()), &mut value)
        .expect("registered");
    (registry, encoder, value)
}

fn framed(id: u32) -> Vec<u8> {
    let mut value = Vec::new();
    frame(id, &mut value);
    value
}

#[tokio::test]
async fn a_schema_is_fetched_once() {
    let (registry, encoder, value) = set_up().await;
    let mut decoder = Decoder::<Command>::new(registry.clone());

    let error = decoder.try_decode(&value).expect_err("nothing was fetched yet");
    let Remedy::Fetch(id) = error.remedy() else {
        panic!("{error} should ask for a fetch")
    };
    decoder.fetch(id).await.expect("registered");
    for _ in 0..3 {
        assert_eq!(decoder.try_decode(&value), Ok(Command::Cancel(cancellation())));
        assert_eq!(decoder.decode(&value).await, Ok(Command::Cancel(cancellation())));
    }
    assert_eq!(registry.asked(), 1);

    let mut alone = Vec::new();
    encoder.encode(&cancellation(), &mut alone).expect("registered");
    assert_eq!(
        alone, value,
        "a record and the same in its topic's enum are the same value"
    );
}

#[tokio::test]
async fn an_outage_is_not_remembered() {
    let (registry, _, value) = set_up().await;
    let mut decoder = Decoder::<Command>::new(registry.clone());
    registry.inner.set_down(true);
    for _ in 0..2 {
        let error = decoder.decode(&value).await.expect_err("the registry is down");
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    }
    assert_eq!(registry.asked(), 2);
    registry.inner.set_down(false);
    assert!(decoder.decode(&value).await.is_ok());

    registry.inner.set_down(true);
    assert!(decoder.decode(&value).await.is_ok(), "what is known needs no registry");
}

#[tokio::test]
async fn an_unknown_id_is_a_bad_value_and_not_remembered() {
    let (registry, ..) = set_up().await;
    let mut decoder = Decoder::<Command>::new(registry.clone());
    for _ in 0..2 {
        let error = decoder.decode(&framed(77)).await.expect_err("nobody registered it");
        assert_eq!(error.remedy(), Remedy::Reject);
        assert_eq!(
            error.to_string(),
            "the schema registry (in memory) has no schema of id 77"
        );
    }
    assert_eq!(registry.asked(), 2);
}

#[tokio::test]
async fn a_useless_schema_is_remembered() {
    let (registry, ..) = set_up().await;
    let mut decoder = Decoder::<Command>::new(registry.clone());
    for (id, reason) in [(1_000, "not an Avro schema"), (2_000, "of type Protobuf")] {
        let before = registry.asked();
        for _ in 0..3 {
            let error = decoder.decode(&framed(id)).await.expect_err("it can't be used");
            assert_eq!(error.remedy(), Remedy::Reject);
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert_eq!(registry.asked() - before, 1);
    }
}

#[tokio::test]
async fn a_value_that_is_not_framed_asks_nothing() {
    let (registry, ..) = set_up().await;
    let mut decoder = Decoder::<Command>::new(registry.clone());
    for value in [&b""[..], b"\0\0", b"{\"request_id\":\"r\"}"] {
        let error = decoder.decode(value).await.expect_err("not framed");
        assert_eq!(error.remedy(), Remedy::Reject);
    }
    assert_eq!(registry.asked(), 0);
}

/// The header that names a schema by id, and by GUID as Confluent's `HeaderSchemaIdSerializer` does.
fn headers_of(id: u32) -> [Vec<u8>; 2] {
    let guid = MemoryRegistry::guid_of(id);
    [framed(id), [&[1][..], &guid].concat()]
}

#[tokio::test]
async fn a_schema_named_in_a_header_leaves_the_value_a_bare_datum() {
    let (registry, _, value) = set_up().await;
    let (id, datum) = parse_frame(&value).expect("framed");
    for header in headers_of(id) {
        let before = registry.asked();
        let mut decoder = Decoder::<Command>::new(registry.clone());
        for _ in 0..2 {
            let decoded = decoder.decode_with(datum, Some(&header)).await;
            assert_eq!(decoded, Ok(Command::Cancel(cancellation())), "{header:?}");
        }
        assert_eq!(registry.asked() - before, 1, "fetched once");
    }

    let mut decoder = Decoder::<Command>::new(registry.clone());
    let error = decoder
        .decode_with(datum, Some(&[1; 17]))
        .await
        .expect_err("nobody registered it");
    assert_eq!(error.remedy(), Remedy::Reject);
    assert!(
        error
            .to_string()
            .ends_with("no schema of GUID 01010101-0101-0101-0101-010101010101"),
        "{error}"
    );
    let error = decoder.decode_with(&value, Some(b"7")).await.expect_err("no id");
    assert_eq!(error.remedy(), Remedy::Reject);
}

#[tokio::test]
async fn a_value_of_a_top_level_union_is_read_by_its_branch() {
    let (registry, _, value) = set_up().await;
    let (_, datum) = parse_frame(&value).expect("framed");
    let schemas = [RecordType::BookingRequest, RecordType::CancellationRequest].map(RecordType::schema);
    let union = format!("[\"null\",{}]", schemas.join(","));
    let id = registry
        .register("booking-requests-value", &union)
        .await
        .expect("a schema");
    let mut decoder = Decoder::<Command>::new(registry.clone());
    let of_branch = |branch: u8, datum: &[u8]| [&framed(id)[..], &[2 * branch], datum].concat();

    let decoded = decoder.decode(&of_branch(2, datum)).await;
    assert_eq!(decoded, Ok(Command::Cancel(cancellation())));
    for header in headers_of(id) {
        let decoded = decoder.decode_with(&of_branch(2, datum)[5..], Some(&header)).await;
        assert_eq!(decoded, Ok(Command::Cancel(cancellation())));
    }
    for (branch, reason) in [
        (0, "a value of kind Null"),
        (3, "there is none of index 3"),
        (1, "BookingRequest"),
    ] {
        let error = decoder.decode(&of_branch(branch, datum)).await.expect_err("not ours");
        assert_eq!(error.remedy(), Remedy::Reject);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn an_encoder_writes_only_what_was_registered() {
    let mut ids = Ids::default();
    ids.set(RecordType::BookingRequest, 7);
    let mut out = vec![1];
    let error = Encoder::new(ids)
        .encode(&cancellation(), &mut out)
        .expect_err("not registered");
    assert_eq!(
        error,
        Unregistered {
            record: RecordType::CancellationRequest
        }
    );
    assert_eq!(out, [1]);
}

#[tokio::test]
async fn registration_is_repeatable_and_refuses_a_breaking_change() {
    let registry = MemoryRegistry::default();
    let first = register_all(&registry, &topics::contract()).await;
    assert_eq!(register_all(&registry, &topics::contract()).await, first);
    assert_eq!(check_all(&registry, &topics::contract()).await, Ok(vec![]));

    let registry = MemoryRegistry::default();
    let subject = topics::subject(topics::BOOKING_REQUESTS, RecordType::CancellationRequest);
    let other = r#"{"type": "record", "name": "CancellationRequest", "namespace": "interlock", "fields": [
        {"name": "reason", "type": "string"}]}"#;
    registry
        .register(&subject, other)
        .await
        .expect("a new subject takes anything");
    let error = register_all(&registry, &topics::contract())
        .await
        .expect_err("a breaking change");
    let RegistryError::Incompatible {
        subject: found,
        problems,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(found, &subject);
    assert_eq!(problems.len(), 2, "{error}");
    assert!(
        error
            .to_string()
            .contains("version 1: the new version can't read what the old one wrote"),
        "{error}"
    );
    assert_eq!(check_all(&registry, &topics::contract()).await, Ok(vec![error]));
}
