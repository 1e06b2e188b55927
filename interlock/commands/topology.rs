//! `interlock topology`: prints the topologies.

use std::io::{self, Write as _};
use std::sync::Arc;

use interlock_schemas::RecordType;
use interlock_schemas::registry::{Ids, MemoryRegistry};
use interlock_streams::Topology;
use interlock_streams::topology::mermaid;
use interlock_topologies::{Context, Definition};
use serde::Serialize;

use crate::Status;
use crate::cli::Topology as Arguments;

/// A topology, for programs.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    reads: Vec<String>,
    follows: Vec<String>,
    writes: Vec<String>,
    description: String,
    mermaid: String,
}

/// Describes the topologies, without any service.
pub(crate) fn call(arguments: &Arguments) -> anyhow::Result<Status> {
    let definitions = choose(&arguments.names)?;
    let built = definitions
        .iter()
        .map(|definition| Ok((*definition, (definition.build)(&nowhere())?)));
    let built = built.collect::<anyhow::Result<Vec<(Definition, Topology)>>>()?;
    let mut out = io::stdout().lock();
    if arguments.json {
        let rows: Vec<Row> = built
            .iter()
            .map(|(definition, topology)| row(definition, topology))
            .collect();
        serde_json::to_writer_pretty(&mut out, &rows).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if arguments.mermaid {
        write!(out, "{}", mermaid(built.iter().map(|(_, topology)| topology)))?;
    } else {
        for (index, (definition, topology)) in built.iter().enumerate() {
            let space = if index == 0 { "" } else { "\n" };
            let (name, about) = (definition.name, definition.about);
            write!(out, "{space}# {name}: {about}\n{}", topology.describe())?;
        }
    }
    out.flush()?;
    Ok(Status::Held)
}

/// Returns the topologies with these names; all if no name is given.
pub(crate) fn choose(names: &[String]) -> anyhow::Result<Vec<Definition>> {
    let all = interlock_topologies::all();
    for name in names {
        if all.iter().all(|definition| definition.name != name) {
            let known = all
                .iter()
                .map(|definition| definition.name)
                .collect::<Vec<_>>()
                .join(", ");
            anyhow::bail!("there is no topology `{name}`; there are {known}");
        }
    }
    let wanted = |definition: &&Definition| names.is_empty() || names.iter().any(|name| name == definition.name);
    Ok(all.iter().filter(wanted).copied().collect())
}

/// Returns all topologies, for inspection.
pub(crate) fn shapes() -> anyhow::Result<Vec<Topology>> {
    let all = interlock_topologies::all().iter();
    all.map(|definition| Ok((definition.build)(&nowhere())?)).collect()
}

/// Returns a context without services; the shape of a topology does not depend on it.
fn nowhere() -> Context {
    let mut ids = Ids::default();
    RecordType::ALL.iter().for_each(|record| ids.set(*record, 0));
    Context {
        registry: Arc::new(MemoryRegistry::default()),
        ids,
    }
}

fn row(definition: &Definition, topology: &Topology) -> Row {
    Row {
        name: definition.name,
        about: definition.about,
        reads: topology.source_topics(),
        follows: topology.global_topics(),
        writes: topology
            .output_topics()
            .into_iter()
            .chain(topology.dlq_topics())
            .collect(),
        description: topology.describe(),
        mermaid: topology.mermaid(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_in_the_documentation_is_the_one_that_is_printed() {
        let built: Vec<Topology> = choose(&[])
            .unwrap()
            .iter()
            .map(|definition| (definition.build)(&nowhere()).unwrap())
            .collect();
        let picture = mermaid(&built);
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/topologies.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page.contains(&format!("```mermaid\n{picture}```")),
            "docs/topologies.md should have the output of `interlock topology --mermaid`:\n{picture}"
        );
    }

    #[test]
    fn all_topologies_can_be_built_and_unknown_ones_are_named() {
        let all = choose(&[]).unwrap();
        assert!(all.iter().all(|definition| (definition.build)(&nowhere()).is_ok()));
        assert_eq!(choose(&["revenue".into()]).unwrap().len(), 1);
        let Err(error) = choose(&["bookings".into()]) else {
            panic!("accepted")
        };
        assert!(error.to_string().contains("booking, "), "{error}");
    }
}
