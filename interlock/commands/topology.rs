//! `interlock topology`: prints the topologies.

use std::io::{self, Write as _};

use interlock_streams::Topology;
use interlock_streams::topology::mermaid;
use interlock_topologies::Definition;
use serde::Serialize;

use crate::Status;
use crate::cli::Topology as Arguments;
use crate::topologies::{choose, without_services};

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
        .map(|definition| Ok((*definition, (definition.build)(&without_services())?)));
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
            .map(|definition| (definition.build)(&without_services()).unwrap())
            .collect();
        let picture = mermaid(&built);
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/topologies.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page.contains(&format!("```mermaid\n{picture}```")),
            "docs/topologies.md should have the output of `interlock topology --mermaid`:\n{picture}"
        );
    }
}
