//! The codec against apache-avro and the `.avsc` files: equal bytes, equal records, and no panic on any bytes.

mod support;

use apache_avro::writer::datum::GenericDatumWriter;
use interlock_schemas::*;
use proptest::prelude::*;
use support::{Mirror, Source};

/// apache-avro's bytes are ours, and ours are read back.
fn check<T: AvroRecord + Mirror + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    let record = T::arbitrary(&mut Source::new(bytes));
    let theirs = GenericDatumWriter::builder(T::TYPE.parsed())
        .build()
        .and_then(|writer| writer.write_value_to_vec(record.value()))
        .map_err(|error| TestCaseError::fail(format!("{} does not fit its schema: {error}", T::NAME)))?;

    let mut ours = Vec::new();
    record.encode(&mut ours);
    prop_assert_eq!(&ours, &theirs, "{} is encoded differently", T::NAME);
    prop_assert_eq!(T::decode(&theirs), Ok(record));

    for cut in 0..ours.len() {
        prop_assert!(
            T::decode(&ours[..cut]).is_err(),
            "{} of {} bytes were accepted",
            cut,
            ours.len()
        );
    }
    ours.push(0);
    prop_assert!(T::decode(&ours).is_err(), "a trailing byte was accepted");
    Ok(())
}

/// Reading damaged bytes ends, and what it accepts it writes and reads again.
fn damage<T: AvroRecord + Mirror + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    hits: &[(prop::sample::Index, u8)],
) -> Result<(), TestCaseError> {
    let mut datum = Vec::new();
    T::arbitrary(&mut Source::new(bytes)).encode(&mut datum);
    for (at, byte) in hits {
        let at = at.index(datum.len());
        datum[at] = *byte;
    }
    for datum in [&datum[..], bytes] {
        if let Ok(record) = T::decode(datum) {
            let mut again = Vec::new();
            record.encode(&mut again);
            prop_assert_eq!(T::decode(&again), Ok(record));
        }
    }
    Ok(())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

fn hits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4)
}

macro_rules! each_record {
    ($($name:ident: $record:ident),+ $(,)?) => {
        $(mod $name {
            use super::*;

            proptest! {
                #[test]
                fn equals_apache_avro(bytes in bytes()) {
                    check::<$record>(&bytes)?;
                }

                #[test]
                fn survives_damage(bytes in bytes(), hits in hits()) {
                    damage::<$record>(&bytes, &hits)?;
                }
            }
        })+
    };
}

each_record!(
    booking_request: BookingRequest,
    cancellation_request: CancellationRequest,
    booking_confirmed: BookingConfirmed,
    booking_waitlisted: BookingWaitlisted,
    booking_cancelled: BookingCancelled,
    booking_rejected: BookingRejected,
    train_date_opened: TrainDateOpened,
    train_service: TrainService,
);

#[test]
fn an_error_names_field_and_place() {
    let request = CancellationRequest {
        request_id: "r1".into(),
        train_id: "12951".into(),
        travel_date: 20_788,
        booking_request_id: "b1".into(),
        passengers: vec![0],
        user_id: "u".into(),
        requested_at: 0,
    };
    let mut datum = Vec::new();
    request.encode(&mut datum);
    datum[4] = 0xff;
    assert_eq!(
        CancellationRequest::decode(&datum).unwrap_err().to_string(),
        "CancellationRequest.train_id at byte 4: the string is not UTF-8 after 0 bytes"
    );
}
