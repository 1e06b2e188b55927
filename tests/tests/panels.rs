//! Tests the dashboards: reads them as Grafana would, and runs their queries against a real TimescaleDB and a real
//! Prometheus.
//!
//! `eval "$(scripts/services env)"; cargo test -p interlock-tests --test panels`. Tests whose requirements are missing
//! print a message and are skipped: `INTERLOCK_DATABASE_URL` for the SQL, the programs `promtool` and `prometheus` for
//! the PromQL.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

#[path = "panels/exporter.rs"]
mod exporter;
#[path = "panels/sales.rs"]
mod sales;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use interlock_inventory::invariants::EventAuditor;
use interlock_sinks::timescale::{TimescaleOptions, TimescaleSink};
use interlock_tests::panels::{
    Dashboard, Query, Scope, TimeRange, Totals, check_panels, check_promql, dashboards, expand, folder, parse_promql,
    problems_of,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

const DATABASE: &str = "INTERLOCK_DATABASE_URL";

#[test]
fn grafana_can_show_the_dashboards() {
    let dashboards = dashboards().unwrap();
    let titles: Vec<_> = dashboards.iter().map(|dashboard| dashboard.title.as_str()).collect();
    assert_eq!(titles, ["Occupancy", "Pipeline", "Revenue"]);
    let uids: BTreeSet<_> = dashboards.iter().map(|dashboard| &dashboard.uid).collect();
    assert_eq!(uids.len(), dashboards.len(), "a uid occurs twice");
    let problems: Vec<_> = dashboards.iter().flat_map(problems_of).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn what_grafana_would_stumble_over_is_found() {
    let panel = |id: i64, x: i64, description: &str| {
        let source = json!({ "type": "t", "uid": "timescaledb" });
        let target = json!({ "refId": "A", "datasource": source, "format": "table", "rawSql": "SELECT 1;" });
        let grid = json!({ "x": x, "y": 0, "w": 12, "h": 4 });
        json!({ "id": id, "title": "T", "type": "timeseries", "description": description, "gridPos": grid,
                "datasource": source, "targets": [target] })
    };
    let panels = [panel(1, 0, "What?"), panel(1, 11, "This."), panel(3, 20, "What?")];
    let json = json!({ "uid": "u", "title": "D", "templating": { "list": [] }, "panels": panels });
    let problems = problems_of(&Dashboard::read("d.json".into(), json).unwrap()).join("\n");
    for expected in [
        "no id of its own",
        "overlaps another panel",
        "outside of the 24 columns",
        "asks no question",
        "a semicolon",
        "needs the format time_series",
    ] {
        assert!(problems.contains(expected), "{expected} in\n{problems}");
    }
}

#[test]
fn data_sources_are_provisioned() {
    let provisioning = folder().join("provisioning");
    let file = provisioning.join("datasources/interlock.yml");
    let text = std::fs::read_to_string(&file).unwrap();
    let uids: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("uid: "))
        .collect();
    // Dashboard::read refuses every other.
    assert_eq!(uids, BTreeSet::from(["prometheus", "timescaledb"]));
    assert!(text.contains("timescaledb: true"), "time_bucket, as `expand` writes it");
    for (uid, variable) in [
        ("timescaledb", "INTERLOCK_POSTGRES_ADDRESS"),
        ("prometheus", "INTERLOCK_PROMETHEUS_URL"),
    ] {
        assert!(text.contains(&format!("url: ${variable}")), "{uid}");
        let compose = std::fs::read_to_string(folder().join("../docker-compose.yml")).unwrap();
        assert!(
            compose.contains(&format!("{variable}: ")),
            "{variable} is what docker-compose.yml sets"
        );
    }
    let dashboards = std::fs::read_to_string(provisioning.join("dashboards/interlock.yml")).unwrap();
    assert!(
        dashboards.contains("path: /var/lib/grafana/dashboards"),
        "where docker-compose.yml mounts them"
    );
}

/// Every panel is in the README with its question, so that none goes unexplained.
#[test]
fn the_readme_lists_every_panel() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for dashboard in dashboards().unwrap() {
        for panel in &dashboard.panels {
            let title = panel.title.replace(" (${currency})", "");
            assert!(
                readme.contains(&format!("| {title} |")),
                "{} / {title}",
                dashboard.title
            );
        }
    }
}

/// Every metric is one that the engine defines, a histogram's by one of its series.
#[test]
fn metrics_are_defined() {
    let kinds = exporter::definitions();
    let mut used = BTreeSet::new();
    for dashboard in dashboards().unwrap() {
        let variables = dashboard.variables.iter().filter_map(|variable| match &variable.query {
            Query::PromQl(query) => Some(query.as_str()),
            Query::Sql(_) => None,
        });
        for expr in dashboard.promql().map(|(_, _, expr)| expr).chain(variables) {
            let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            used.extend(words.filter(|word| word.starts_with("interlock_")).map(str::to_owned));
        }
    }
    assert!(used.len() > 10, "{used:?}");
    for name in &used {
        let histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        let defined = match histogram.and_then(|base| kinds.get(base)) {
            Some(kind) => kind == "Histogram",
            None => kinds.get(name).is_some_and(|kind| kind != "Histogram"),
        };
        assert!(
            defined,
            "{name} isn't in metric_definitions.rs, or not as what it is used for"
        );
    }
}

#[test]
fn promtool_reads_every_expression() {
    let range = TimeRange { from: 0, to: 3_600_000 };
    let mut rules = Vec::new();
    for dashboard in dashboards().unwrap() {
        let scope = Scope::new(&range, &dashboard.variables);
        for (_, _, expr) in dashboard.promql() {
            rules.push(json!({ "record": format!("panel:{}", rules.len()), "expr": expand(expr, &scope).unwrap() }));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(
        &file,
        json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string(),
    )
    .unwrap();
    let Ok(output) = Command::new("promtool").args(["check", "rules"]).arg(&file).output() else {
        eprintln!("SKIPPED: promtool isn't installed; apt-get install prometheus and run it again");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// A Prometheus that scrapes what a worker exports finds something for every panel; before the first scrape it doesn't.
#[tokio::test]
async fn every_promql_panel_finds_something() {
    let Some(prometheus) = exporter::Prometheus::start().await else {
        eprintln!("SKIPPED: prometheus isn't installed; apt-get install prometheus and run it again");
        return;
    };
    prometheus.wait_for("interlock_tasks offset 8s").await;
    let report = check_promql(&prometheus.url).await.unwrap();
    assert!(report.figures > 100, "{report}");
    eprintln!("{report}");

    let idle = exporter::Prometheus::start_idle().await.unwrap();
    parse_promql(&idle.url).await.unwrap();
    let problems = check_promql(&idle.url).await.unwrap_err().to_string();
    assert!(problems.contains("Pipeline / Lag: finds nothing"), "{problems}");
    assert!(problems.contains("variable topology offers nothing"), "{problems}");
    assert!(!problems.contains("Refused records"), "{problems}");
}

/// The real rules, the real window queries, the real sink and the real database: what the panels show is what was sold.
#[tokio::test]
async fn every_sql_panel_shows_what_was_sold() {
    let Ok(url) = std::env::var(DATABASE) else {
        eprintln!("SKIPPED: {DATABASE} is not set; eval \"$(scripts/services env)\" and run it again");
        return;
    };
    let schema = format!("panels_{}", std::process::id());
    execute(&url, &format!("CREATE SCHEMA {schema}")).await;
    // `public` is where the extension's functions are.
    let separator = if url.contains('?') { '&' } else { '?' };
    let own = format!("{url}{separator}options[search_path]={schema},public");
    let ended = tokio::spawn(async move { sold_and_shown(&own).await }).await;
    execute(&url, &format!("DROP SCHEMA {schema} CASCADE")).await;
    if let Err(failed) = ended {
        std::panic::resume_unwind(failed.into_panic());
    }
}

async fn sold_and_shown(url: &str) {
    let (events, range) = sales::history();
    let sink = TimescaleSink::connect(url, &TimescaleOptions::default()).await.unwrap();
    let nothing = check_panels(url, &range, &Totals::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(nothing.contains("Occupancy / Load factor: no rows"), "{nothing}");
    sales::load(&sink, &events).await;

    let mut totals = Totals::default();
    totals.extend(&events);
    let mut auditor = EventAuditor::new();
    let violations: Vec<_> = events.iter().flat_map(|event| auditor.observe(event)).collect();
    assert!(violations.is_empty(), "{violations:?}");
    let audited: BTreeMap<_, _> = auditor
        .revenue()
        .map(|(currency, net)| (currency.to_owned(), net))
        .collect();
    let net = totals
        .money
        .iter()
        .map(|(currency, money)| (currency.clone(), money.collected_minor - money.refunded_minor));
    assert_eq!(net.collect::<BTreeMap<_, _>>(), audited);
    assert_eq!(totals.money.keys().collect::<Vec<_>>(), ["INR", "JPY", "PLN"]);
    assert!(
        totals.waiting > 0 && totals.promoted > 0 && totals.rejected > 0 && totals.released > 0,
        "{totals:?}"
    );

    let report = check_panels(url, &range, &totals).await.unwrap();
    assert!(report.figures > 80, "{report}");
    eprintln!("{report}");

    // A paisa too much in one place is seen by every panel that shows it, and a seat likewise.
    let tamper = "UPDATE revenue_minute SET collected_minor = collected_minor + 1 WHERE ctid = (SELECT min(ctid) FROM \
                  revenue_minute WHERE currency = 'INR'); UPDATE capacity SET seats = seats + 1 WHERE train_id = 'JP-1'";
    execute(url, tamper).await;
    let wrong = check_panels(url, &range, &totals).await.unwrap_err().to_string();
    for expected in [
        "Gross (${currency}), INR: gross adds up",
        "By train and class",
        "By travel date",
        "Net so far",
        "Every currency",
        "seats adds up",
    ] {
        assert!(wrong.contains(expected), "{expected} in\n{wrong}");
    }
    assert!(
        !wrong.contains("Refunds (${currency}), INR") && !wrong.contains("Gross (${currency}), PLN"),
        "{wrong}"
    );
    // A column that is gone is an error. (For a table that is gone, `public` may have another.)
    execute(url, "ALTER TABLE rejections_minute RENAME COLUMN code TO gone").await;
    let wrong = check_panels(url, &range, &totals).await.unwrap_err();
    assert!(
        format!("{wrong:#}").contains("column \"code\" does not exist"),
        "{wrong:#}"
    );
}

async fn execute(url: &str, sql: &str) {
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("an address");
    let mut connection = options.connect().await.expect("a database");
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
        .await
        .expect(sql);
    connection.close().await.expect("closed");
}
