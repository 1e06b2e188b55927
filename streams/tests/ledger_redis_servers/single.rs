//! One server that loses its functions, its connections, its memory, its role or its life.

use std::time::{Duration, Instant};

use bytes::Bytes;
use interlock_streams::ledger::redis::{RedisLedgerStore, RedisSetupError};
use interlock_streams::ledger::{
    Claim, FieldWrite, LedgerCommit, LedgerError, LedgerState, LedgerStore, Release, Token,
};

use crate::server::{Server, eventually};
use crate::store::available;

const LIBRARY: &str = "interlock_ledger_5";

pub(crate) async fn acquire(store: &RedisLedgerStore, ledger: i32, text: &str) -> Result<Claim, LedgerError> {
    let token = Token(text.to_owned());
    let epoch = store.acquire(ledger, "w", &token).await?.epoch;
    Ok(Claim { ledger, epoch, token })
}

pub(crate) fn batch(expected: Option<i64>, watermark: i64) -> LedgerCommit {
    let text = Bytes::from(watermark.to_string());
    let write = FieldWrite {
        document: Bytes::from("d"),
        field: text.clone(),
        value: Some(text.clone()),
    };
    let writes = vec![write];
    LedgerCommit {
        expected_watermark: expected,
        watermark,
        writes,
        outbox: text,
        ..LedgerCommit::default()
    }
}

pub(crate) fn unavailable<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> String {
    match result {
        Err(LedgerError::Unavailable { reason, .. }) => reason,
        other => panic!("expected Unavailable, got {other:?}"),
    }
}

fn fatal<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> String {
    match result {
        Err(LedgerError::Fatal { reason, .. }) => reason,
        other => panic!("expected Fatal, got {other:?}"),
    }
}

#[tokio::test]
async fn missing_functions_are_loaded_again() {
    if !available() {
        return;
    }
    let server = Server::start(&[]).await;
    let store = server.store().await;
    let claim = acquire(&store, 1, "a").await.unwrap();
    for lose in [format!("FUNCTION DELETE {LIBRARY}"), "FUNCTION FLUSH".to_owned()] {
        server.command::<()>(&lose).await.unwrap();
        let at = store.state(1).await.unwrap().watermark;
        server.command::<()>("FUNCTION FLUSH").await.unwrap();
        store.commit(&claim, &batch(at, at.unwrap_or(0) + 1)).await.unwrap();
        server.command::<()>("FUNCTION FLUSH").await.unwrap();
        assert_eq!(store.load(1, &[Bytes::from("d")], None).await.unwrap().len(), 1);
    }
    server.command::<()>("FLUSHALL").await.unwrap();
    assert_eq!(store.state(1).await.unwrap(), LedgerState::default());
}

#[tokio::test]
async fn other_code_of_the_same_version_is_replaced_when_connecting() {
    if !available() {
        return;
    }
    let server = Server::start(&[]).await;
    let other = format!(
        "#!lua name={LIBRARY}\nredis.register_function('{LIBRARY}_state', function() return {{'fenced','9',''}} end)"
    );
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FUNCTION")
        .arg(&["LOAD", &other])
        .exec_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(server.store().await.state(1).await.unwrap(), LedgerState::default());
}

#[tokio::test]
async fn killed_connections_are_replaced() {
    if !available() {
        return;
    }
    let server = Server::start(&[]).await;
    let store = server.store().await;
    let claim = acquire(&store, 1, "a").await.unwrap();
    for offset in 1..4 {
        server.command::<i64>("CLIENT KILL TYPE normal").await.unwrap();
        // The call that finds out can't tell whether it was executed; the next one is on a new connection.
        let _ = store.state(1).await;
        let at = store.state(1).await.unwrap().watermark;
        store.commit(&claim, &batch(at, offset)).await.unwrap();
    }
}

#[tokio::test]
async fn dead_server_is_unavailable_at_once_and_used_again_when_it_lives() {
    if !available() {
        return;
    }
    let mut server = Server::start(&[]).await;
    let store = server.store().await;
    let claim = acquire(&store, 1, "a").await.unwrap();
    server.kill();
    let began = Instant::now();
    for _ in 0..3 {
        unavailable(store.commit(&claim, &batch(None, 1)).await);
    }
    let many = futures::future::join_all((0..100).map(|ledger| store.state(ledger))).await;
    many.into_iter().for_each(|result| drop(unavailable(result)));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let refused = RedisLedgerStore::connect(server.config()).await;
    assert!(
        matches!(refused, Err(RedisSetupError::Unavailable { .. })),
        "{refused:?}"
    );

    server.restart().await;
    assert_eq!(store.state(1).await.unwrap(), LedgerState::default());
    let lost = store.commit(&claim, &batch(None, 1)).await;
    assert!(matches!(lost, Err(LedgerError::Fenced { epoch: 0, .. })), "{lost:?}");
}

#[tokio::test]
async fn frozen_server_times_out_and_the_watermark_tells_what_happened() {
    if !available() {
        return;
    }
    let server = Server::start(&[]).await;
    let store = server.store().await;
    let claim = acquire(&store, 1, "a").await.unwrap();
    server.signal("STOP");
    unavailable(store.commit(&claim, &batch(None, 1)).await);
    unavailable(store.state(1).await);
    server.signal("CONT");
    // The first one was in the server's socket all the time.
    eventually("the batch is applied", async || {
        matches!(store.state(1).await, Ok(LedgerState { watermark: Some(1), .. }))
    })
    .await;
}

#[tokio::test]
async fn full_memory_refuses_batches_as_a_whole_but_not_handing_over() {
    if !available() {
        return;
    }
    let server = Server::start(&[]).await;
    let store = server.store().await;
    let claim = acquire(&store, 1, "a").await.unwrap();
    store.commit(&claim, &batch(None, 1)).await.unwrap();
    let before = store.state(1).await.unwrap();
    server.command::<()>("CONFIG SET maxmemory 1").await.unwrap();
    assert!(unavailable(store.commit(&claim, &batch(Some(1), 2)).await).contains("raise maxmemory"));
    assert_eq!(store.state(1).await.unwrap(), before);
    assert_eq!(store.outbox(1).await.unwrap().len(), 1);
    assert_eq!(store.load(1, &[Bytes::from("d")], None).await.unwrap()[0].len(), 1);
    let claim = acquire(&store, 1, "b").await.unwrap();
    let release = Release {
        transactional_id: "w".to_owned(),
        token: claim.token.clone(),
    };
    store.release(&claim, &release).await.unwrap();
    server.command::<()>("CONFIG SET maxmemory 0").await.unwrap();
    store.commit(&claim, &batch(Some(1), 2)).await.unwrap();
}

#[tokio::test]
async fn replicas_answer_nothing_and_have_everything_when_promoted() {
    if !available() {
        return;
    }
    let (master, replica) = (Server::start(&[]).await, Server::start(&[]).await);
    let store = master.store().await;
    let claim = acquire(&store, 1, "a").await.unwrap();
    replica
        .command::<()>(&format!("REPLICAOF 127.0.0.1 {}", master.port))
        .await
        .unwrap();
    store.commit(&claim, &batch(None, 1)).await.unwrap();
    eventually("it is replicated", async || {
        replica.command::<i64>("EXISTS {il:1}:d:d").await == Ok(1)
    })
    .await;

    let reader = replica.store().await;
    assert!(unavailable(reader.state(1).await).contains("replica"));
    unavailable(reader.load(1, &[Bytes::from("d")], None).await);
    unavailable(reader.outbox(1).await);
    unavailable(reader.commit(&claim, &batch(Some(1), 2)).await);

    replica.command::<()>("REPLICAOF NO ONE").await.unwrap();
    master
        .command::<()>(&format!("REPLICAOF 127.0.0.1 {}", replica.port))
        .await
        .unwrap();
    reader.commit(&claim, &batch(Some(1), 2)).await.unwrap();
    unavailable(store.state(1).await);
    unavailable(store.commit(&claim, &batch(Some(1), 2)).await);
}

#[tokio::test]
async fn what_belongs_to_others_is_refused() {
    if !available() {
        return;
    }
    let server = Server::start(&[]).await;
    let store = server.store().await;
    let claim = acquire(&store, 1, "a").await.unwrap();
    let mut config = server.config();
    config.application = "other".to_owned();
    let other = RedisLedgerStore::connect(config).await.unwrap();
    for reason in [
        fatal(other.state(1).await),
        fatal(other.acquire(1, "w", &Token("b".to_owned())).await),
        fatal(other.load(1, &[Bytes::from("d")], None).await),
        fatal(other.outbox(1).await),
        fatal(other.commit(&claim, &batch(None, 1)).await),
    ] {
        assert!(
            reason.contains("\"test\"") && reason.contains("`namespace`"),
            "{reason}"
        );
    }
    server.command::<()>("HSET {il:1}:meta format 2").await.unwrap();
    assert!(fatal(store.state(1).await).contains("format \"2\""));
    server.command::<()>("SET {il:2}:meta x").await.unwrap();
    assert!(fatal(store.state(2).await).contains("choose another `namespace`"));
    server.command::<()>("HSET {il:3}:meta epoch x").await.unwrap();
    assert!(fatal(store.state(3).await).contains("where a number belongs"));
}

#[tokio::test]
async fn evicting_server_and_wrong_password_are_refused() {
    if !available() {
        return;
    }
    let server = Server::start(&["--requirepass", "s3cret"]).await;
    let refused = RedisLedgerStore::connect(server.config()).await;
    assert!(matches!(refused, Err(RedisSetupError::Fatal { .. })), "{refused:?}");
    let mut config = server.config();
    config.urls = vec![format!("redis://:wrong@127.0.0.1:{}", server.port)];
    let refused = RedisLedgerStore::connect(config.clone()).await;
    assert!(matches!(refused, Err(RedisSetupError::Fatal { .. })), "{refused:?}");
    config.urls = vec![format!("redis://:s3cret@127.0.0.1:{}", server.port)];
    let store = RedisLedgerStore::connect(config.clone()).await.unwrap();
    assert!(!format!("{store:?} {config:?}").contains("s3cret"));
    store.check_server().await.unwrap();

    let evicting = Server::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let refused = evicting.store().await.check_server().await;
    assert!(refused.unwrap_err().to_string().contains("noeviction"));
}

#[test]
fn store_outlives_the_runtime_that_connected() {
    if !available() {
        return;
    }
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let (server, store) = first.block_on(async {
        let server = Server::start(&[]).await;
        let store = server.store().await;
        (server, store)
    });
    drop(first);
    runtime().block_on(async {
        let _ = store.state(1).await;
        assert_eq!(store.state(1).await.unwrap(), LedgerState::default());
    });
    drop(server);
}
