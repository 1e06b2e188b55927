//! One server that loses its functions, its connections, its memory, its role or its life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use interlock_redis::{RedisConfig, RedisLedgerStore};
use interlock_streams::ledger::{
    DocumentWrites, FieldWrite, Head, Holder, Index, LedgerCommit, LedgerError, LedgerState, LedgerStore, RebuildStep,
    Release, Token, demand_rebuild,
};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Server, eventually};
use crate::store::available;

const LIBRARY: &str = "interlock_ledger_6";

pub(crate) async fn acquire(store: &RedisLedgerStore, ledger: i32, text: &str) -> Result<Holder, LedgerError> {
    let token = Token(text.to_owned());
    let epoch = store.acquire(ledger, "w", &token).await?.epoch;
    Ok(Holder { ledger, epoch, token })
}

/// A server, if there can be one, a store on it, and a ledger that the store holds.
async fn held() -> Option<(Server, RedisLedgerStore, Holder)> {
    if !available() {
        return None;
    }
    let server = Server::start(&[]).await;
    let store = server.store().await;
    let holder = acquire(&store, 1, "a").await.unwrap();
    Some((server, store, holder))
}

/// The batch that follows this many writes under the present token: it sets a field of the document `d`.
pub(crate) fn batch(version: u64, applied: i64) -> LedgerCommit {
    let text = Bytes::from(applied.to_string());
    let write = FieldWrite {
        document: Bytes::from("d"),
        field: text.clone(),
        value: Some(text.clone()),
    };
    let mut index = Index::new();
    if applied > 1 {
        index.insert(Bytes::from("d"), Head::default());
    }
    LedgerCommit {
        version,
        applied,
        documents: DocumentWrites::new(&index, vec![write], applied, &Token::default(), [0; 8]),
        entry: text,
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
    let Some((server, store, holder)) = held().await else {
        return;
    };
    for lose in [format!("FUNCTION DELETE {LIBRARY}"), "FUNCTION FLUSH".to_owned()] {
        server.command::<()>(&lose).await.unwrap();
        let version = store.state(1).await.unwrap().version;
        server.command::<()>("FUNCTION FLUSH").await.unwrap();
        store
            .commit(&holder, &batch(version, version as i64 + 1))
            .await
            .unwrap();
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
    let Some((server, store, holder)) = held().await else {
        return;
    };
    for offset in 1..4 {
        server.command::<i64>("CLIENT KILL TYPE normal").await.unwrap();
        // The call that finds out can't tell whether it was executed; the next one is on a new connection.
        let _ = store.state(1).await;
        let version = store.state(1).await.unwrap().version;
        store.commit(&holder, &batch(version, offset)).await.unwrap();
    }
}

#[tokio::test]
async fn dead_server_is_unavailable_at_once_and_used_again_when_it_lives() {
    if !available() {
        return;
    }
    let mut server = Server::start(&[]).await;
    let store = server.store().await;
    let holder = acquire(&store, 1, "a").await.unwrap();
    server.kill();
    let began = Instant::now();
    for _ in 0..3 {
        unavailable(store.commit(&holder, &batch(0, 1)).await);
    }
    let many = futures::future::join_all((0..100).map(|ledger| store.state(ledger))).await;
    many.into_iter().for_each(|result| drop(unavailable(result)));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let refused = RedisLedgerStore::connect(server.config()).await;
    assert!(
        matches!(refused, Err(LedgerError::Unavailable { ledger: None, .. })),
        "{refused:?}"
    );

    server.restart().await;
    assert_eq!(store.state(1).await.unwrap(), LedgerState::default());
    let lost = store.commit(&holder, &batch(0, 1)).await;
    assert!(matches!(lost, Err(LedgerError::Fenced { epoch: 0, .. })), "{lost:?}");
}

#[tokio::test]
async fn frozen_server_times_out_and_the_applied_tells_what_happened() {
    let Some((server, store, holder)) = held().await else {
        return;
    };
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    server.signal("STOP");
    unavailable(store.commit(&holder, &batch(1, 2)).await);
    unavailable(store.state(1).await);
    server.signal("CONT");
    // The first one was in the server's socket all the time.
    eventually("the batch is applied", async || {
        matches!(store.state(1).await, Ok(LedgerState { applied: Some(2), .. }))
    })
    .await;
}

#[tokio::test]
async fn batches_pass_by_lua_until_somebody_else_touches_the_ledger() {
    let Some((server, store, holder)) = held().await else {
        return;
    };
    let other = server.store().await;
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    store.commit(&holder, &batch(1, 2)).await.unwrap();
    assert_eq!(calls(&server, "exec").await, 2);

    // The state read while watching is old: Redis refuses the transaction, and the function reports why.
    let before = calls(&server, "fcall").await;
    let theirs = acquire(&other, 1, "b").await.unwrap();
    let late = store.commit(&holder, &batch(2, 3)).await;
    assert!(matches!(late, Err(LedgerError::Fenced { epoch: 2, .. })), "{late:?}");
    assert_eq!(calls(&server, "fcall").await, before + 2);
    other.commit(&theirs, &batch(0, 3)).await.unwrap();
    let behind = other.commit(&theirs, &batch(0, 4)).await;
    assert!(
        matches!(behind, Err(LedgerError::Behind { found: 1, .. })),
        "{behind:?}"
    );
    assert_eq!(
        other.load(1, &[Bytes::from("d")], None).await.unwrap()[0].fields.len(),
        3
    );

    // No client has removed anything, so the function applies the batch, and later batches are transactions again.
    let (functions, transactions) = (calls(&server, "fcall").await, calls(&server, "exec").await);
    other.forget_owners(&theirs, &["w".to_owned()]).await.unwrap();
    other.commit(&theirs, &batch(1, 4)).await.unwrap();
    other.commit(&theirs, &batch(2, 5)).await.unwrap();
    assert_eq!(calls(&server, "fcall").await, functions + 2);
    assert_eq!(calls(&server, "exec").await, transactions + 2);
}

/// Returns how often the server executed this command.
async fn calls(server: &Server, command: &str) -> u64 {
    let stats: String = server.command("INFO commandstats").await.unwrap();
    let head = format!("cmdstat_{command}:calls=");
    let count = stats
        .lines()
        .find_map(|line| line.strip_prefix(&head)?.split(',').next());
    count.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn a_ledgers_connection_that_was_closed_while_idle_is_replaced() {
    let Some((server, store, holder)) = held().await else {
        return;
    };
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    kill_connection_with_a_transaction(&server).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    store.commit(&holder, &batch(1, 2)).await.unwrap();

    // In use, it is an error of a connection, which says nothing about what happened.
    kill_connection_with_a_transaction(&server).await;
    unavailable(store.commit(&holder, &batch(2, 3)).await);
    assert_eq!(store.state(1).await.unwrap().applied, Some(2));
    store.commit(&holder, &batch(2, 3)).await.unwrap();
}

async fn kill_connection_with_a_transaction(server: &Server) {
    let clients: String = server.command("CLIENT LIST TYPE normal").await.unwrap();
    let mut open = clients.lines().filter(|line| !line.contains(" multi=-1 "));
    let id = open.next().and_then(|line| line.strip_prefix("id=")?.split(' ').next());
    let killed = server.command::<i64>(&format!("CLIENT KILL ID {}", id.unwrap())).await;
    assert_eq!((killed, open.next()), (Ok(1), None));
}

/// A time to live that somebody set for a key of the ledger is removed, unless the key is gone by then.
#[tokio::test]
async fn keys_are_made_to_last() {
    let Some((server, store, holder)) = held().await else {
        return;
    };
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    let keys = ["{il:1}:meta", "{il:1}:log", "{il:1}:d:d", "{il:1}:d:other"];
    for key in keys {
        server.command::<()>(&format!("HSET {key} x 1")).await.unwrap();
        server.command::<()>(&format!("EXPIRE {key} 3600")).await.unwrap();
    }
    store
        .persist(1, &[Bytes::from("d"), Bytes::from("none")])
        .await
        .unwrap();
    let mut left = Vec::new();
    for key in keys {
        left.push(server.command::<i64>(&format!("TTL {key}")).await.unwrap());
    }
    assert_eq!(left, [-1, -1, -1, 3600], "the last one is not the ledger's");
}

/// Somebody switches eviction on while workers run.
#[tokio::test]
async fn eviction_is_noticed_while_it_lasts() {
    let Some((server, store, _)) = held().await else {
        return;
    };
    store.check_fitness(1).await.unwrap();
    server
        .command::<()>("CONFIG SET maxmemory-policy volatile-ttl")
        .await
        .unwrap();
    match store.check_fitness(1).await {
        Err(LedgerError::Unfit { ledger: 1, reason }) => {
            assert!(
                reason.contains("volatile-ttl") && reason.contains("noeviction"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    server
        .command::<()>("CONFIG SET maxmemory-policy noeviction")
        .await
        .unwrap();
    store.check_fitness(1).await.unwrap();
}

/// After `meta` was lost, nothing names the documents of before; the rebuild removes them.
#[tokio::test]
async fn a_rebuild_removes_documents_that_nothing_names() {
    let Some((server, store, holder)) = held().await else {
        return;
    };
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    server.command::<()>("DEL {il:1}:meta").await.unwrap();
    let holder = acquire(&store, 1, "b").await.unwrap();
    let begin = RebuildStep::Begin {
        version: 0,
        token: Token("c".to_owned()),
        keep: false,
    };
    store.rebuild(&holder, &begin).await.unwrap();
    let keys: Vec<String> = server.command("KEYS {il:1}:*").await.unwrap();
    assert_eq!(keys, ["{il:1}:meta"]);
}

/// A ledger of an earlier format names the way on, which keeps what the comparison with Kafka needs.
#[tokio::test]
async fn an_earlier_format_is_renewed_on_demand() {
    let Some((server, store, holder)) = held().await else {
        return;
    };
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    for command in [
        "HSET {il:1}:meta format 1",
        "SADD {il:1}:docs x",
        "HSET {il:1}:outbox 1 x",
    ] {
        server.command::<()>(command).await.unwrap();
    }
    let refused = fatal(acquire(&store, 1, "b").await);
    assert!(refused.contains("`interlock replay --ledgers`"), "{refused}");
    let mut config = server.config();
    config.application = "other".to_owned();
    let other = RedisLedgerStore::connect(config).await.unwrap();
    assert!(fatal(other.renew(1).await).contains("belongs to the application"));

    let epoch = demand_rebuild(&store, 1, "operator", || Token("t".to_owned())).await;
    assert_eq!(epoch.unwrap(), 2);
    let state = store.state(1).await.unwrap();
    assert_eq!((state.applied, state.rebuilding), (Some(1), true));
    assert_eq!(state.owners, ["w"]);
    let keys: Vec<String> = server.command("KEYS {il:1}:*").await.unwrap();
    assert_eq!(keys, ["{il:1}:meta"]);
    store.renew(1).await.unwrap();
    assert_eq!(store.state(1).await.unwrap(), state, "once is enough");
}

/// Reads on one connection and writes on another must reach the same server, though a fail-over leads those made after
/// it to another one that has the same.
#[tokio::test]
async fn a_batch_is_not_written_to_another_server_than_was_read() {
    if !available() {
        return;
    }
    let (master, replica) = (Server::start(&[]).await, Server::start(&[]).await);
    let front = Front::start(master.port).await;
    let url = format!("redis://127.0.0.1:{}", front.port);
    let store = RedisLedgerStore::connect(RedisConfig::new(url, "test")).await.unwrap();
    let holder = acquire(&store, 1, "a").await.unwrap();
    replica
        .command::<()>(&format!("REPLICAOF 127.0.0.1 {}", master.port))
        .await
        .unwrap();
    eventually("it is replicated", async || {
        replica.command::<i64>("EXISTS {il:1}:meta").await == Ok(1)
    })
    .await;
    replica.command::<()>("REPLICAOF NO ONE").await.unwrap();
    front.lead_to(replica.port);

    let refused = unavailable(store.commit(&holder, &batch(0, 1)).await);
    assert!(refused.contains("different servers"), "{refused}");
    for server in [&master, &replica] {
        let applied = server.command::<Option<i64>>("HGET {il:1}:meta applied").await;
        assert_eq!(applied, Ok(None));
    }
    // From then on both lead to the new one.
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    assert_eq!(store.state(1).await.unwrap().applied, Some(1));
    assert_eq!(replica.command::<i64>("HGET {il:1}:meta applied").await, Ok(1));
}

/// The address that clients connect to; its target may change, while connections stay as they are.
struct Front {
    port: u16,
    server: Arc<AtomicU16>,
}

impl Front {
    async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(AtomicU16::new(server));
        let leads_to = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let to = ("127.0.0.1", leads_to.load(Ordering::SeqCst));
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { port, server }
    }

    fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn full_memory_refuses_batches_as_a_whole_but_not_handing_over() {
    let Some((server, store, holder)) = held().await else {
        return;
    };
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    let before = store.state(1).await.unwrap();
    server.command::<()>("CONFIG SET maxmemory 1").await.unwrap();
    assert!(unavailable(store.commit(&holder, &batch(1, 2)).await).contains("raise maxmemory"));
    assert_eq!(store.state(1).await.unwrap(), before);
    assert_eq!(store.log(1).await.unwrap().len(), 1);
    assert_eq!(
        store.load(1, &[Bytes::from("d")], None).await.unwrap()[0].fields.len(),
        1
    );
    let holder = acquire(&store, 1, "b").await.unwrap();
    let release = Release {
        transactional_id: "w".to_owned(),
        token: holder.token.clone(),
    };
    store.release(&holder, &release).await.unwrap();
    server.command::<()>("CONFIG SET maxmemory 0").await.unwrap();
    store.commit(&holder, &batch(0, 2)).await.unwrap();
}

#[tokio::test]
async fn replicas_answer_nothing_and_have_everything_when_promoted() {
    if !available() {
        return;
    }
    let (master, replica) = (Server::start(&[]).await, Server::start(&[]).await);
    let store = master.store().await;
    let holder = acquire(&store, 1, "a").await.unwrap();
    replica
        .command::<()>(&format!("REPLICAOF 127.0.0.1 {}", master.port))
        .await
        .unwrap();
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    eventually("it is replicated", async || {
        replica.command::<i64>("EXISTS {il:1}:d:d").await == Ok(1)
    })
    .await;

    let reader = replica.store().await;
    assert!(unavailable(reader.state(1).await).contains("replica"));
    unavailable(reader.load(1, &[Bytes::from("d")], None).await);
    unavailable(reader.log(1).await);
    unavailable(reader.commit(&holder, &batch(1, 2)).await);

    replica.command::<()>("REPLICAOF NO ONE").await.unwrap();
    master
        .command::<()>(&format!("REPLICAOF 127.0.0.1 {}", replica.port))
        .await
        .unwrap();
    reader.commit(&holder, &batch(1, 2)).await.unwrap();
    unavailable(store.state(1).await);
    unavailable(store.commit(&holder, &batch(1, 2)).await);
}

#[tokio::test]
async fn what_belongs_to_others_is_refused() {
    let Some((server, store, holder)) = held().await else {
        return;
    };
    let mut config = server.config();
    config.application = "other".to_owned();
    let other = RedisLedgerStore::connect(config).await.unwrap();
    for reason in [
        fatal(other.state(1).await),
        fatal(other.acquire(1, "w", &Token("b".to_owned())).await),
        fatal(other.load(1, &[Bytes::from("d")], None).await),
        fatal(other.log(1).await),
        fatal(other.commit(&holder, &batch(0, 1)).await),
    ] {
        assert!(
            reason.contains("\"test\"") && reason.contains("redis.namespace"),
            "{reason}"
        );
    }
    server.command::<()>("HSET {il:1}:meta format 3").await.unwrap();
    assert!(fatal(store.state(1).await).contains("format \"3\""));
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
    assert!(
        matches!(refused, Err(LedgerError::Fatal { ledger: None, .. })),
        "{refused:?}"
    );
    let mut config = server.config();
    config.urls = vec![format!("redis://:wrong@127.0.0.1:{}", server.port)];
    let refused = RedisLedgerStore::connect(config.clone()).await;
    assert!(
        matches!(refused, Err(LedgerError::Fatal { ledger: None, .. })),
        "{refused:?}"
    );
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
