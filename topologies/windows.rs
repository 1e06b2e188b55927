//! The common part of the window topologies: reads the ledger's events, runs the queries over each batch, merges into
//! the sink.

use interlock_schemas::Event;
use interlock_streams::window::{WindowError, WindowQuery};
use interlock_streams::{Stream, StreamsBuilder, Topology};

use crate::avro::Avro;
use crate::events::events_to_batch;
use crate::{Context, TopologyError};

/// Name of the sink that receives the windows.
pub const WINDOWS: &str = "windows";

pub(crate) fn build(
    context: &Context,
    name: &str,
    topics: &[&str],
    queries: fn() -> Result<Vec<WindowQuery>, WindowError>,
) -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new(name);
    let mut streams: Vec<Stream<Event>> = topics
        .iter()
        .map(|topic| {
            let registry = context.registry.clone();
            builder.stream(topic, move || Avro::<Event>::new(registry.clone()))
        })
        .collect();
    let first = streams.remove(0);
    first
        .merge(streams)
        .window_sql(name, queries, |messages| {
            Ok(events_to_batch(messages.iter().map(|message| &message.value)))
        })?
        .sink(WINDOWS);
    Ok(builder.build()?)
}
