//! [`TimescaleSink`] against a real database: set `INTERLOCK_DATABASE_URL`, such as
//! `postgres://interlock@127.0.0.1:5432/interlock` (`eval "$(scripts/services env)"`). Each test has a schema of its
//! own and drops it.

mod database;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use async_trait::async_trait;
use interlock_sinks::timescale::{Restart, TaskPosition, TimescaleOptions, TimescaleSink};
use interlock_streams::ledger::Token;
use interlock_streams::record::TopicPartition;
use interlock_streams::sink::{Advance, Merge, Partials, Sink, SinkError, WindowTable};
use interlock_streams::testing::conformance::sink::{SinkUnderTest, tables};

use database::{Database, in_schema, options};

struct UnderTest {
    database: Database,
    sink: TimescaleSink,
}

#[async_trait]
impl SinkUnderTest for UnderTest {
    fn sink(&self) -> &dyn Sink {
        &self.sink
    }

    async fn rows(&self, table: &WindowTable) -> Vec<String> {
        let columns = table.keys.iter().chain(table.measures.iter().map(|(name, _)| name));
        let text = |column: &String| match column.as_str() {
            "minute" | "last_at" => format!("(extract(epoch FROM {column}) * 1000)::bigint::text"),
            _ => format!("coalesce({column}::text, '')"),
        };
        let columns: Vec<_> = columns.map(text).collect();
        let query = format!("SELECT concat_ws('|', {}) FROM {}", columns.join(", "), table.name);
        self.database.texts(&query).await
    }

    async fn clean_up(&self) {
        self.database.drop_schema().await;
    }
}

async fn under_test() -> Option<Arc<UnderTest>> {
    let database = Database::fresh().await?;
    database
        .execute(
            "CREATE TABLE conformance_sales (minute timestamptz, day date, shop text, total bigint NOT NULL, \
             least bigint, most bigint, last_at timestamptz, PRIMARY KEY (minute, day, shop)); \
             CREATE TABLE conformance_visits (id bigint PRIMARY KEY, n bigint NOT NULL)",
        )
        .await;
    let sink = TimescaleSink::connect(&database.url, &options(&database))
        .await
        .expect("connect");
    sink.check(&tables()).await.expect("the tables of the suite");
    Some(Arc::new(UnderTest { database, sink }))
}

interlock_streams::sink_conformance!(under_test().await);

/// Workers that start together: one migrates, the others wait.
#[tokio::test]
async fn many_start_at_once_and_again() {
    in_schema(|database| async move {
        let options = options(&database);
        let connect = || TimescaleSink::connect(&database.url, &options);
        let (a, b, c, d) = tokio::join!(connect(), connect(), connect(), connect());
        for sink in [a, b, c, d] {
            sink.expect("connect");
        }
        connect().await.expect("connect again");
        let hypertables = "SELECT hypertable_name::text FROM timescaledb_information.hypertables \
                       WHERE hypertable_schema = current_schema() ORDER BY 1";
        if database.has_timescale().await {
            let expected = ["occupancy_minute", "rejections_minute", "revenue_minute"];
            assert_eq!(database.texts(hypertables).await, expected);
        }
    })
    .await;
}

/// Windows start over: rows and positions are removed together, and the writer begins with the first event.
#[tokio::test]
async fn windows_begin_anew_under_their_writers() {
    in_schema(|database| async move {
        let sink = TimescaleSink::connect(&database.url, &options(&database))
            .await
            .expect("connect");
        let source = TopicPartition::new("confirmed", 3);
        let (own, other) = ("app-occupancy/confirmed/3", "app-revenue/confirmed/3");
        let (old, fresh) = (Token("old".into()), Token("fresh".into()));
        let advance = [Advance {
            source: source.clone(),
            from: 0,
            to: 7,
        }];
        for (task, partials) in [(own, occupancy(0)), (other, revenue(0))] {
            let begun = sink.acquire(task, &old, &[(source.clone(), 0)]).await;
            begun.expect("acquire");
            sink.write(task, &old, &advance, &[partials]).await.expect("write");
        }
        let groups = ["app-occupancy", "app-revenue"].map(str::to_owned);
        let tables = ["occupancy_minute", "rejections_minute", "capacity"].map(str::to_owned);
        let restart = async |known: &[String]| {
            let (tables, groups, token) = (&tables[..], &groups[..1], &fresh);
            let restart = Restart {
                tables,
                groups,
                known,
                token,
            };
            sink.restart(&restart).await
        };
        let foreign = restart(&groups[..1]).await.expect_err("somebody else's rows are here");
        assert!(foreign.to_string().contains(other), "{foreign}");
        sink.take_for_application(&groups)
            .await
            .expect("all tasks are this application's");
        let foreign = sink
            .take_for_application(&groups[..1])
            .await
            .expect_err("another application writes here");
        assert!(matches!(foreign, SinkError::Fatal { .. }), "{foreign}");
        assert!(foreign.to_string().contains(other), "{foreign}");
        assert_eq!(database.texts("SELECT train_id FROM occupancy_minute").await.len(), 1);

        let before = restart(&groups).await.expect("restart");
        let position = TaskPosition {
            task: own.to_owned(),
            source: source.clone(),
            next_offset: 7,
        };
        assert_eq!(before, [position]);
        assert!(database.texts("SELECT train_id FROM occupancy_minute").await.is_empty());
        assert_eq!(database.texts("SELECT train_id FROM revenue_minute").await.len(), 1);
        let late = sink.write(own, &old, &[], &[]).await;
        assert!(matches!(late, Err(SinkError::Fenced { .. })), "{late:?}");
        sink.write(other, &old, &[], &[]).await.expect("the other goes on");

        let again = sink.acquire(own, &Token("new".into()), &[(source.clone(), 2)]).await;
        assert_eq!(
            again.expect("acquire"),
            [(source, 2)],
            "it begins where its topic begins now"
        );
        let progress = sink.progress(&groups).await.expect("progress");
        let at: Vec<i64> = progress.iter().map(|position| position.next_offset).collect();
        assert_eq!(at.iter().sum::<i64>(), 9);
    })
    .await;
}

/// Applications that start together on empty tables: one gets them, and keeps them.
#[tokio::test]
async fn of_applications_that_start_together_one_gets_the_tables() {
    in_schema(|database| async move {
        let options = options(&database);
        let mut starting = Vec::new();
        for number in 0..8 {
            let sink = TimescaleSink::connect(&database.url, &options).await.expect("connect");
            let groups = vec![format!("app-{number}-occupancy"), format!("app-{number}-revenue")];
            starting.push((sink, groups));
        }
        let take = |(sink, groups): (TimescaleSink, Vec<String>)| {
            tokio::spawn(async move {
                let taken = sink.take_for_application(&groups).await;
                (sink, groups, taken)
            })
        };
        let starting: Vec<_> = starting.into_iter().map(take).collect();
        let mut started = Vec::new();
        for start in starting {
            started.push(start.await.expect("no panic"));
        }
        let (winners, others): (Vec<_>, Vec<_>) = started.into_iter().partition(|(.., taken)| taken.is_ok());
        let [(sink, groups, _)] = &winners[..] else {
            panic!("{} of them have the tables", winners.len())
        };
        for (_, own, taken) in others {
            let refused = taken.expect_err("another one has the tables");
            assert!(matches!(refused, SinkError::Fatal { .. }), "{own:?}: {refused}");
            let named = groups.iter().any(|group| refused.to_string().contains(group.as_str()));
            assert!(named, "{own:?}: {refused}");
        }
        // Its other workers, and itself after a restart.
        sink.take_for_application(groups).await.expect("they are its own");
    })
    .await;
}

/// Checks the views over some rows, and over none.
#[tokio::test]
async fn views_answer_the_questions_of_the_dashboards() {
    in_schema(|database| async move {
    let sink = TimescaleSink::connect(&database.url, &options(&database))
        .await
        .expect("connect");
    let source = TopicPartition::new("confirmed", 0);
    let token = Token("a".into());
    sink.acquire("t", &token, &[(source.clone(), 0)])
        .await
        .expect("acquire");
    for from in 0..2 {
        let advance = Advance {
            source: source.clone(),
            from,
            to: from + 1,
        };
        let partials = [occupancy(from * 60_000), revenue(from * 60_000), capacity()];
        sink.write("t", &token, &[advance], &partials).await.expect("write");
    }
    let rows = |view: &'static str| database.texts(view);
    assert_eq!(
        rows("SELECT concat_ws('|', train_id, travel_date, travel_class, seats_sold, load_percent) FROM load_factor")
            .await,
        ["12951|2026-12-01|SL|6|1.51"] // 2 × 1,500 km of 144 × 1,384 km
    );
    assert_eq!(
        rows("SELECT concat_ws('|', train_id, travel_class, currency, gross, refunds, net, bookings, passengers, average_fare) \
              FROM revenue_by_train_class").await,
        ["12951|SL|INR|2400.5|601|1799.5|2|4|600.13"]
    );
    assert_eq!(
        rows("SELECT concat_ws('|', travel_date, gross, refunds, net) FROM revenue_by_train_date").await,
        ["2026-12-01|2400.5|601|1799.5"]
    );
    assert_eq!(
        rows("SELECT concat_ws('|', quota, waiting) FROM waitlist_depth").await,
        ["GN|2"]
    );
    assert_eq!(
        rows("SELECT concat_ws('|', extract(epoch FROM minute)::int, seats_sold, waiting) FROM selling_pace ORDER BY minute").await,
        ["0|3|1", "60|6|2"]
    );
    })
    .await;
}

/// Errors say what, where and what to do, and keep the password to themselves.
#[tokio::test]
async fn errors_are_sorted() {
    in_schema(|database| async move {
        let application = format!("interlock-test-{}", std::process::id());
        let url = database.url_of(&application);
        let sink = TimescaleSink::connect(&url, &options(&database))
            .await
            .expect("connect");
        let token = Token("a".into());
        sink.acquire("t", &token, &[]).await.expect("acquire");
        database.execute("ALTER TABLE revenue_minute RENAME TO elsewhere").await;
        let missing = sink
            .write("t", &token, &[], &[revenue(0)])
            .await
            .expect_err("no such table");
        assert!(matches!(missing, SinkError::Fatal { .. }), "{missing}");
        for part in ["task t", "revenue_minute", "42P01", "migrations"] {
            assert!(missing.to_string().contains(part), "{part}: {missing}");
        }
        let unmatched = sink.check(&[revenue(0).table]).await.expect_err("no such table");
        assert!(unmatched.to_string().contains("revenue_minute"), "{unmatched}");

        // A server that goes away is a passing error, and the next call connects again.
        sink.write("t", &token, &[], &[]).await.expect("write");
        assert_eq!(database.end_sessions_of(&application).await, 1);
        let lost = sink
            .write("t", &token, &[], &[])
            .await
            .expect_err("the session was ended");
        assert!(matches!(lost, SinkError::Unavailable { .. }), "{lost}");
        sink.write("t", &token, &[], &[])
            .await
            .expect("write on a new connection");

        // A session that holds the task's row is waited for only until the time-out.
        let short = TimescaleOptions {
            migrate: false,
            deadline: Duration::from_millis(700),
            ..options(&database)
        };
        let hasty = TimescaleSink::connect(&database.url, &short).await.expect("connect");
        let mut holder = database.connect().await;
        Database::run_on(&mut holder, "BEGIN; SELECT FROM sink_tasks FOR UPDATE").await;
        let since = Instant::now();
        let late = hasty.write("t", &token, &[], &[]).await.expect_err("the row is held");
        assert!(matches!(late, SinkError::Unavailable { .. }), "{late}");
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
        Database::run_on(&mut holder, "ROLLBACK").await;
        hasty.write("t", &token, &[], &[]).await.expect("write once it's free");
    })
    .await;
}

/// No database at all, an address that is none, a wrong password.
#[tokio::test]
async fn addresses_that_lead_nowhere() {
    let options = TimescaleOptions {
        migration_deadline: Duration::from_secs(5),
        ..TimescaleOptions::default()
    };
    let refused = TimescaleSink::connect("postgres://me:s3cret@127.0.0.1:1/nowhere", &options).await;
    let refused = refused.expect_err("nobody listens at port 1");
    assert!(matches!(refused, SinkError::Unavailable { .. }), "{refused}");
    assert!(refused.to_string().contains("me@127.0.0.1:1/nowhere"), "{refused}");
    let wrong = TimescaleSink::connect("postgres://me:s3cret@host:port/x", &options)
        .await
        .expect_err("no address");
    assert!(matches!(wrong, SinkError::Fatal { .. }), "{wrong}");
    for error in [refused, wrong] {
        assert!(
            !error.to_string().contains("s3cret") && !format!("{error:?}").contains("s3cret"),
            "{error:?}"
        );
    }
}

/// Run by hand: `cargo test --release -p interlock-sinks -- --ignored --nocapture upsert_speed`.
#[tokio::test]
#[ignore = "measures, asserts nothing"]
async fn upsert_speed() {
    in_schema(|database| async move {
        const ROWS: usize = 2_000;
        let sink = TimescaleSink::connect(&database.url, &options(&database))
            .await
            .expect("connect");
        let source = TopicPartition::new("confirmed", 0);
        let token = Token("a".into());
        sink.acquire("t", &token, &[(source.clone(), 0)])
            .await
            .expect("acquire");
        for from in 0..12 {
            let advance = Advance {
                source: source.clone(),
                from,
                to: from + 1,
            };
            let since = Instant::now();
            let partials = [occupancy_of(ROWS, from / 6 * 60_000)];
            sink.write("t", &token, &[advance], &partials).await.expect("write");
            let kind = if from % 6 == 0 { "inserted" } else { "updated" };
            println!("{ROWS} rows {kind} in {:?}", since.elapsed());
        }
        for from in 12..24 {
            let advance = Advance {
                source: source.clone(),
                from,
                to: from + 1,
            };
            let since = Instant::now();
            sink.write("t", &token, &[advance], &[occupancy(0), revenue(0)])
                .await
                .expect("write");
            println!("two tables of one row in {:?}", since.elapsed());
        }
    })
    .await;
}

fn table(name: &str, keys: &[&str], measures: &[&str], merge: Merge) -> WindowTable {
    WindowTable {
        name: name.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        measures: measures.iter().map(|name| ((*name).to_owned(), merge)).collect(),
    }
}

fn text(rows: usize, value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value; rows]))
}

fn integer(rows: usize, value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value; rows]))
}

fn date(rows: usize) -> ArrayRef {
    Arc::new(Date32Array::from(vec![20_788; rows]))
}

fn instant(rows: usize, value: i64) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(vec![value; rows]).with_timezone("UTC"))
}

fn partials(table: WindowTable, columns: Vec<ArrayRef>) -> Partials {
    let names = table
        .keys
        .iter()
        .chain(table.measures.iter().map(|(name, _)| name))
        .cloned();
    let rows = RecordBatch::try_from_iter(names.zip(columns)).expect("columns of one length");
    Partials { table, rows }
}

const SEATS: [&str; 7] = [
    "confirmed",
    "promoted",
    "released",
    "waitlisted",
    "waitlist_left",
    "seats_sold",
    "seat_metres_sold",
];

/// Three seats sold and one passenger left waiting in a minute.
fn occupancy(minute: i64) -> Partials {
    occupancy_of(1, minute)
}

fn occupancy_of(rows: usize, minute: i64) -> Partials {
    let keys = ["minute", "train_id", "travel_date", "travel_class", "quota"];
    let trains: ArrayRef = match rows {
        1 => text(1, "12951"),
        _ => Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("{row}")))),
    };
    let keys_columns = vec![
        instant(rows, minute),
        trains,
        date(rows),
        text(rows, "SL"),
        text(rows, "GN"),
    ];
    let measures = [3, 1, 1, 3, 1, 3, 1_500_000].map(|value| integer(rows, value));
    partials(
        table("occupancy_minute", &keys, &SEATS, Merge::Sum),
        [keys_columns, measures.to_vec()].concat(),
    )
}

fn revenue(minute: i64) -> Partials {
    let keys = ["minute", "train_id", "travel_date", "travel_class", "quota", "currency"];
    let measures = ["collected_minor", "refunded_minor", "bookings", "passengers"];
    let columns = vec![
        instant(1, minute),
        text(1, "12951"),
        date(1),
        text(1, "SL"),
        text(1, "GN"),
        text(1, "INR"),
    ];
    let sums = [120_025, 30_050, 1, 2].map(|value| integer(1, value));
    partials(
        table("revenue_minute", &keys, &measures, Merge::Sum),
        [columns, sums.to_vec()].concat(),
    )
}

fn capacity() -> Partials {
    let measures = ["seats", "seat_metres_offered", "departure_time"];
    let columns = vec![text(1, "12951"), date(1), text(1, "SL")];
    let offered = vec![
        integer(1, 144),
        integer(1, 144 * 1_384_000),
        instant(1, 1_796_124_600_000),
    ];
    partials(
        table(
            "capacity",
            &["train_id", "travel_date", "travel_class"],
            &measures,
            Merge::Max,
        ),
        [columns, offered].concat(),
    )
}
