//! Against a real registry, where `INTERLOCK_SCHEMA_REGISTRY_URL` names one (`scripts/services start` starts one).

#![cfg(feature = "registry")]

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use interlock_schemas::registry::{
    ConfluentRegistry, Registry, RegistryError, RegistrySettings, check_all, register_all, register_all_within,
};
use interlock_schemas::*;
use schema_registry_converter::async_impl::schema_registry::{SrSettings, post_schema};
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedReference, SuppliedSchema};

const VARIABLE: &str = "INTERLOCK_SCHEMA_REGISTRY_URL";

/// The registry's URL, and a topic that no other run uses.
fn service(test: &str) -> Option<(String, String)> {
    let Ok(url) = std::env::var(VARIABLE) else {
        // Past the test harness, which swallows what passing tests print.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: needs a schema registry. Run `scripts/services start`, then \
             `{VARIABLE}=http://127.0.0.1:8081/apis/ccompat/v7 cargo test -p interlock-schemas --all-features`"
        );
        return None;
    };
    #[expect(clippy::disallowed_methods, reason = "a name that no earlier run used")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos();
    Some((url, format!("test-{test}-{now}")))
}

fn connect(url: &str) -> ConfluentRegistry {
    ConfluentRegistry::new(RegistrySettings::new(url)).expect("a good URL")
}

fn cancellation() -> CancellationRequest {
    CancellationRequest {
        request_id: "c-1".into(),
        train_id: "12951".into(),
        travel_date: 20_788,
        booking_request_id: "b-1".into(),
        passengers: vec![],
        user_id: "ada".into(),
        requested_at: 1_795_000_000_000,
    }
}

fn version(fields: &str) -> String {
    format!(r#"{{"type": "record", "name": "Note", "namespace": "interlock.test", "fields": [{fields}]}}"#)
}

#[tokio::test]
async fn the_contract_is_registered_and_read_back() {
    let Some((url, topic)) = service("contract") else {
        return;
    };
    let registry: Arc<dyn Registry> = Arc::new(connect(&url));
    let entries = RecordType::ALL.map(|record| (topic.as_str(), record));

    assert_eq!(
        check_all(&*registry, &entries).await,
        Ok(vec![]),
        "new subjects take anything"
    );
    let ids = register_all_within(Duration::from_secs(30), &*registry, &entries)
        .await
        .expect("registered");
    assert_eq!(
        register_all(&*registry, &entries).await,
        Ok(ids),
        "the same again gives the same ids"
    );
    assert_eq!(check_all(&*registry, &entries).await, Ok(vec![]));

    let mut value = Vec::new();
    Encoder::new(ids)
        .encode(&cancellation(), &mut value)
        .expect("registered");
    let mut decoder = Decoder::<Command>::new(Arc::clone(&registry));
    assert_eq!(decoder.decode(&value).await, Ok(Command::Cancel(cancellation())));

    for record in RecordType::ALL {
        let stored = registry
            .schema_by_id(ids.get(record).expect("registered"))
            .await
            .expect("registered");
        let stored: serde_json::Value = serde_json::from_str(&stored).expect("JSON");
        let ours: serde_json::Value = serde_json::from_str(record.schema()).expect("JSON");
        assert_eq!(stored, ours, "{record}");
    }
}

#[tokio::test]
async fn an_incompatible_change_is_refused() {
    let Some((url, subject)) = service("incompatible") else {
        return;
    };
    let registry = connect(&url);
    let first = version(r#"{"name": "text", "type": "string", "default": ""}"#);
    let id = registry
        .register(&subject, &first)
        .await
        .expect("a new subject takes anything");
    registry.require_full_compatibility(&subject).await.expect("accepted");
    assert_eq!(registry.register(&subject, &first).await, Ok(id));

    let breaking = version(r#"{"name": "text", "type": "long"}"#);
    for error in [
        registry
            .check(&subject, &breaking)
            .await
            .expect_err("a string is no long"),
        registry
            .register(&subject, &breaking)
            .await
            .expect_err("a string is no long"),
    ] {
        let RegistryError::Incompatible {
            subject: found,
            problems,
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(found, &subject);
        assert!(problems.iter().any(|problem| problem.contains("text")), "{error}");
    }

    let widened =
        version(r#"{"name": "text", "type": "string", "default": ""}, {"name": "n", "type": "int", "default": 0}"#);
    registry.check(&subject, &widened).await.expect("compatible");
    let second = registry.register(&subject, &widened).await.expect("compatible");
    assert_ne!(second, id);

    // Compatible with the second version, not with the first: transitive means all of them.
    let renumbered = version(r#"{"name": "n", "type": "int", "default": 0}"#);
    let third = registry
        .register(&subject, &renumbered)
        .await
        .expect("compatible with both");
    let retyped =
        version(r#"{"name": "n", "type": "int", "default": 0}, {"name": "text", "type": "boolean", "default": false}"#);
    let error = registry
        .register(&subject, &retyped)
        .await
        .expect_err("text was a string in the first version");
    assert!(matches!(error, RegistryError::Incompatible { .. }), "{error}");
    assert_ne!(third, second);
}

#[tokio::test]
async fn a_schema_in_parts_is_put_together() {
    let Some((url, subject)) = service("references") else {
        return;
    };
    let mut schema: serde_json::Value = serde_json::from_str(RecordType::BookingRequest.schema()).expect("JSON");
    let fields = schema["fields"].as_array_mut().expect("fields");
    let passengers = fields
        .iter_mut()
        .find(|field| field["name"] == "passengers")
        .expect("passengers");
    let mut passenger = passengers["type"]["items"].take();
    passengers["type"]["items"] = "interlock.Passenger".into();
    passenger["namespace"] = "interlock".into();

    let part = SuppliedReference::new(
        "interlock.Passenger".into(),
        format!("{subject}-part"),
        passenger.to_string(),
    );
    let whole = SuppliedSchema::new(None, SchemaType::Avro, schema.to_string()).with_references(vec![part]);
    let registered = post_schema(&SrSettings::new(url.clone()), subject, whole)
        .await
        .expect("registered");

    let mut value = Vec::new();
    frame(registered.id, &mut value);
    let request = BookingRequest {
        request_id: "r-1".into(),
        train_id: "12951".into(),
        travel_date: 20_788,
        user_id: "ada".into(),
        from_station: "NDLS".into(),
        to_station: "BCT".into(),
        travel_class: "3A".into(),
        quota: "GN".into(),
        passengers: vec![Passenger {
            name: "Ada".into(),
            age: 36,
            berth_preference: BerthPreference::SideUpper,
            preference_is_hard: false,
        }],
        partial_confirmation: false,
        requested_at: 1,
    };
    request.encode(&mut value);
    let mut decoder = Decoder::<Command>::new(Arc::new(connect(&url)));
    assert_eq!(decoder.decode(&value).await, Ok(Command::Book(request)));
}

#[tokio::test]
async fn an_unknown_id_and_a_wrong_path_are_told_apart() {
    let Some((url, _)) = service("unknown-id") else { return };
    let id = 2_000_000_000;
    let error = connect(&url).schema_by_id(id).await.expect_err("nobody registered it");
    assert!(
        matches!(error, RegistryError::NotRegistered { id: 2_000_000_000, .. }),
        "{error}"
    );

    let error = connect(&format!("{url}/wrong"))
        .schema_by_id(id)
        .await
        .expect_err("no registry there");
    assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
}
