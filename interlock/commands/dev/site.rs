//! The gateway over the parts of this process, and what to try with it.

use std::net::SocketAddr;
use std::sync::Arc;

use interlock_gateway::json::date_text;
use interlock_gateway::{Parts, observe};
use interlock_schemas::TrainService;
use interlock_streams::runtime::group_name;
use interlock_topologies::BOOKING;
use tokio::net::TcpListener;

use crate::cli::Dev as Arguments;
use crate::embedded::{APPLICATION, Embedded, Workers};

/// Listens, unless the demonstration ends by itself. This comes first, so that a taken port is reported at once.
pub(super) async fn listen(arguments: &Arguments) -> anyhow::Result<Option<TcpListener>> {
    if arguments.exit {
        return Ok(None);
    }
    Ok(Some(
        observe::listen("the live page", "--listen", arguments.listen).await?,
    ))
}

/// Serves from now on; gives the address.
pub(super) async fn serve(listener: TcpListener, embedded: &Embedded, workers: &Workers) -> anyhow::Result<SocketAddr> {
    let gateway = interlock_gateway::router(Parts {
        log: Arc::new(embedded.log.clone()),
        ledgers: Arc::new(embedded.ledgers.clone()),
        registry: embedded.registry.clone(),
        ids: embedded.ids,
        group: format!("{APPLICATION}-gateway"),
        deciders: group_name(APPLICATION, BOOKING),
        health: workers.health.clone(),
    });
    let metrics = observe::router(workers.health.clone(), observe::install_recorder()?);
    let address = observe::serve(listener, gateway.await?.merge(metrics))?;
    eprintln!("live on http://{address}/");
    Ok(address)
}

/// Lines that can be pasted, about a train-date that the demonstration has hardly touched: the last one.
pub(super) fn what_to_try(address: SocketAddr, plans: &[TrainService]) -> String {
    let url = format!("http://{address}");
    let head = format!("It stays up; Ctrl-C ends it. The seat maps, live: {url}/");
    let train_date = plans.iter().find_map(|plan| {
        let date = plan.running_dates.last().and_then(|date| date_text(*date))?;
        let ends = (&plan.route.first()?.code, &plan.route.last()?.code);
        Some((&plan.train_id, date, ends, &plan.coaches.first()?.travel_class))
    });
    let Some((train, date, (from, to), class)) = train_date else {
        return head;
    };
    format!(
        r#"{head}
What to try next:

curl '{url}/trains/{train}/{date}/availability?from={from}&to={to}'
curl -H 'Content-Type: application/json' {url}/topics/booking-requests \
  -d '{{"request_id": "try-1", "user_id": "ada", "requested_at": 0,
  "train_id": "{train}", "travel_date": "{date}",
  "from_station": "{from}", "to_station": "{to}",
  "travel_class": "{class}", "quota": "GN",
  "passengers": [{{"name": "Ada", "age": 36}}]}}'
curl {url}/trains/{train}/{date}/requests/try-1
curl '{url}/topics/confirmed?limit=2'
"#
    )
}
