//! Any bytes as a record: they are decoded or refused, as apache-avro would, and nothing worse happens.

use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use interlock_fuzz::Target;
use interlock_schemas::registry::{MemoryRegistry, Registry, register_all};
use interlock_schemas::*;

/// Our decoder and apache-avro's say the same of a datum.
fn datum<T: AvroRecord + PartialEq + std::fmt::Debug>(datum: &[u8]) {
    let ours = T::decode(datum);
    let theirs = theirs(T::TYPE, datum);
    match (&ours, &theirs) {
        (Ok(record), Some(theirs)) => {
            let mut again = Vec::new();
            record.encode(&mut again);
            assert_eq!(again, *theirs, "read or written differently");
            assert_eq!(T::decode(&again).as_ref(), Ok(record), "not read back");
            // Shorter or longer only by how numbers and blocks may be written.
            assert!(
                again.len() <= datum.len() + 16 * 8,
                "{} bytes became {}",
                datum.len(),
                again.len()
            );
        }
        (Err(_), None) => {}
        // apache-avro looks neither at the sizes that blocks may state, nor at bits beyond the 64th.
        (Err(error), Some(_))
            if matches!(
                error.problem,
                Problem::BlockSize { .. } | Problem::Length { .. } | Problem::Varint
            ) => {}
        (ours, theirs) => panic!("{}: we say {ours:?}, apache-avro {theirs:?}", T::NAME),
    }
}

/// Decodes the whole datum with apache-avro, and encodes it again.
fn theirs(record: RecordType, mut datum: &[u8]) -> Option<Vec<u8>> {
    let reader = GenericDatumReader::builder(record.parsed()).build().ok()?;
    let value = reader.read_value(&mut datum).ok().filter(|_| datum.is_empty())?;
    let writer = GenericDatumWriter::builder(record.parsed()).build().ok()?;
    writer.write_value_to_vec(value).ok()
}

/// The first byte says which record it is to be.
fn any_datum(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 8 {
        0 => datum::<BookingRequest>(bytes),
        1 => datum::<CancellationRequest>(bytes),
        2 => datum::<TrainService>(bytes),
        3 => datum::<BookingConfirmed>(bytes),
        4 => datum::<BookingWaitlisted>(bytes),
        5 => datum::<BookingCancelled>(bytes),
        6 => datum::<BookingRejected>(bytes),
        _ => datum::<TrainDateOpened>(bytes),
    }
}

#[test]
fn any_bytes_are_a_record_or_refused() {
    let target = Target {
        name: "datum",
        runs: 60_000,
        bytes_max: 2_000,
        words: &[b"12951", b"NDLS", "é".as_bytes(), &[0xc3, 0x28]],
    };
    target.run(any_datum);
}

/// A booking request of another version: one more field, so that it is resolved by apache-avro.
fn newer() -> String {
    let schema = RecordType::BookingRequest.schema();
    let field =
        r#""fields": [{"name": "channel", "type": ["null", {"type": "array", "items": "string"}], "default": null},"#;
    let newer = schema.replacen(r#""fields": ["#, field, 1);
    assert_ne!(newer, schema);
    newer
}

#[test]
fn any_bytes_are_a_value_of_a_topic_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
    let mut decoder = Decoder::<Command>::new(Arc::clone(&registry));
    let (ids, other) = runtime.block_on(async {
        let ids = register_all(&*registry, &topics::contract()).await.expect("registered");
        let other = registry.register("newer", &newer()).await.expect("registered");
        (ids, other)
    });
    let known = [
        ids.get(RecordType::BookingRequest),
        ids.get(RecordType::CancellationRequest),
        Some(other),
    ];
    for id in known.into_iter().flatten() {
        runtime.block_on(decoder.fetch(id.into())).expect("fetched");
    }
    let target = Target {
        name: "value",
        runs: 30_000,
        bytes_max: 2_000,
        words: &[b"12951", &[0, 0, 0, 0], br#"{"request_id":"#],
    };
    target.run(|input| {
        if let Ok(command) = decoder.try_decode(input) {
            let mut again = Vec::new();
            Encoder::new(ids).encode(&command, &mut again).expect("registered");
            assert_eq!(decoder.try_decode(&again), Ok(command));
        }
    });
}
